# Go: a program without libc that has goroutines, timers, children, sockets, and pre-empts itself with signals.
# packages: golang-go
# limit: 240
source "${0%/*}/checks.bash"
export GOCACHE=$PWD/cache GOFLAGS=-mod=mod GO111MODULE=off GOPATH=$PWD/go GOTOOLCHAIN=local
cat > main.go <<'END'
package main

import ("bytes"; "context"; "crypto/sha256"; "fmt"; "io"; "net"; "net/http"; "os"; "os/exec"; "os/signal"; "runtime"; "sort"; "sync"; "sync/atomic"; "syscall"; "time")

func same(name string, want, got interface{}) {
	if want == got { fmt.Println("ok " + name) } else { fmt.Printf("FAIL %s: got %v, wanted %v\n", name, got, want) }
}
func main() {
	var n int64; var wg sync.WaitGroup
	for i := 0; i < 1000; i++ { wg.Add(1); go func() { defer wg.Done(); for j := 0; j < 100; j++ { atomic.AddInt64(&n, 1); if j%10 == 0 { runtime.Gosched() } } }() }
	wg.Wait(); same("goroutines", int64(100000), n)
	c := make(chan int); go func() { for i := 0; i < 10000; i++ { c <- i }; close(c) }(); sum := 0; for x := range c { sum += x }; same("a channel", 49995000, sum)
	stop := int32(0); for i := 0; i < 4; i++ { go func() { for atomic.LoadInt32(&stop) == 0 { } }() }
	start := time.Now(); time.Sleep(100 * time.Millisecond); same("sleep while others spin", true, time.Since(start) >= 100*time.Millisecond); runtime.GC(); atomic.StoreInt32(&stop, 1); same("a collection while others spin", 1, 1)
	t := time.NewTicker(5 * time.Millisecond); for i := 0; i < 20; i++ { <-t.C }; t.Stop(); same("a ticker", 1, 1)
	var keep [][]byte; for i := 0; i < 2000; i++ { b := make([]byte, 64<<10); b[i] = 1; if i%100 == 0 { keep = append(keep, b) } }; same("garbage", 20, len(keep))
	out, err := exec.Command("sh", "-c", "cat; exit 0").Output(); same("a command", 0, len(out)); same("its error", nil, err)
	cmd := exec.Command("cat"); cmd.Stdin = bytes.NewReader(make([]byte, 1<<20)); out, _ = cmd.Output(); same("a megabyte through cat", 1<<20, len(out))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond); err = exec.CommandContext(ctx, "sleep", "30").Run(); cancel(); same("a killed command", "signal: killed", fmt.Sprint(err))
	same("an exit status", 7, func() int { e, _ := exec.Command("sh", "-c", "exit 7").Run().(*exec.ExitError); return e.ExitCode() }())
	sig := make(chan os.Signal, 10); signal.Notify(sig, syscall.SIGUSR1); for i := 0; i < 5; i++ { syscall.Kill(os.Getpid(), syscall.SIGUSR1); <-sig }; same("signals", 1, 1)
	l, _ := net.Listen("tcp", "127.0.0.1:0"); go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	var good int64; for i := 0; i < 20; i++ { wg.Add(1); go func(i int) { defer wg.Done(); b := fmt.Sprint("body", i); r, err := http.Post("http://"+l.Addr().String(), "text/plain", bytes.NewReader([]byte(b))); if err == nil { x, _ := io.ReadAll(r.Body); r.Body.Close(); if string(x) == b { atomic.AddInt64(&good, 1) } } }(i) }
	wg.Wait(); same("http", int64(20), good)
	conn, _ := net.Dial("tcp", l.Addr().String()); conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); _, err = conn.Read(make([]byte, 1)); ne, ok := err.(net.Error); same("a deadline", true, ok && ne.Timeout())
	v := make([]int, 300000); x := uint32(1); for i := range v { x = x*1664525 + 1013904223; v[i] = int(x) }; sort.Ints(v); h := sha256.New(); for _, y := range v { fmt.Fprint(h, y) }; fmt.Printf("ok sort %x\n", h.Sum(nil))
	func() { defer func() { same("a recovered fault", true, recover() != nil) }(); var p *int; fmt.Println(*p) }()
	done := make(chan bool); go func() { runtime.LockOSThread(); done <- true }(); <-done; same("a locked thread ends", 1, 1)
	os.Exit(5)
}
END
holds "go build" go build -o prog main.go
./prog; same "exit status of the program" 5 $?
GOMAXPROCS=1 ./prog | sed 's/^ok /ok one core: /; s/^FAIL /FAIL one core: /'
GOMAXPROCS=8 ./prog | sed 's/^ok /ok eight cores: /; s/^FAIL /FAIL eight cores: /'
holds "go vet" go vet main.go
exit 0
