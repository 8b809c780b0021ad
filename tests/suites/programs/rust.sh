# rustc, as Debian packages it: compiling and running.
# packages: rustc gcc libc6-dev
# limit: 120
source "${0%/*}/checks.bash"
cat > main.rs <<'END'
use std::collections::{BTreeMap, HashMap}; use std::io::{Read, Write}; use std::net::{TcpListener, TcpStream}; use std::process::{Command, Stdio}; use std::sync::{mpsc, Arc, Barrier, Condvar, Mutex, RwLock}; use std::thread; use std::time::{Duration, Instant};
fn same<T: PartialEq + std::fmt::Debug>(name: &str, want: T, got: T) { if want == got { println!("ok {name}") } else { println!("FAIL {name}: got {got:?}, wanted {want:?}") } }
fn main() {
    let n = Arc::new(Mutex::new(0)); let ts: Vec<_> = (0..8).map(|_| { let n = n.clone(); thread::spawn(move || for _ in 0..10000 { *n.lock().unwrap() += 1 }) }).collect(); for t in ts { t.join().unwrap() } same("a mutex", 80000, *n.lock().unwrap());
    let (s, r) = mpsc::channel(); for i in 0..4u64 { let s = s.clone(); thread::spawn(move || for j in 0..1000 { s.send(i * j).unwrap() }); } drop(s); same("a channel", 2997000, r.iter().sum::<u64>());
    let pair = Arc::new((Mutex::new(0), Condvar::new())); let p = pair.clone(); let t = thread::spawn(move || for _ in 0..100 { *p.0.lock().unwrap() += 1; p.1.notify_one() }); let mut g = pair.0.lock().unwrap(); while *g < 100 { g = pair.1.wait(g).unwrap() } drop(g); t.join().unwrap(); same("a condition", 1, 1);
    let start = Instant::now(); let m = Mutex::new(()); let _ = Condvar::new().wait_timeout(m.lock().unwrap(), Duration::from_millis(50)); same("a timeout", true, start.elapsed() >= Duration::from_millis(50));
    let b = Arc::new(Barrier::new(5)); let ts: Vec<_> = (0..5).map(|_| { let b = b.clone(); thread::spawn(move || b.wait().is_leader()) }).collect(); same("a barrier", 1, ts.into_iter().filter(|_| true).map(|t| t.join().unwrap()).filter(|x| *x).count());
    let rw = Arc::new(RwLock::new(HashMap::new())); let ts: Vec<_> = (0..6).map(|i| { let rw = rw.clone(); thread::spawn(move || for j in 0..500 { rw.write().unwrap().insert(i * 1000 + j, j); rw.read().unwrap().len(); }) }).collect(); for t in ts { t.join().unwrap() } same("a lock of readers", 3000, rw.read().unwrap().len());
    let out = Command::new("sh").args(["-c", "echo out; exit 3"]).output().unwrap(); same("a command", (b"out\n".to_vec(), Some(3)), (out.stdout, out.status.code()));
    let mut c = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap(); let mut i = c.stdin.take().unwrap(); let t = thread::spawn(move || i.write_all(&vec![7; 1 << 20]).unwrap()); let mut v = Vec::new(); c.stdout.take().unwrap().read_to_end(&mut v).unwrap(); t.join().unwrap(); c.wait().unwrap(); same("a megabyte through cat", 1 << 20, v.len());
    let l = TcpListener::bind("127.0.0.1:0").unwrap(); let a = l.local_addr().unwrap(); let t = thread::spawn(move || for _ in 0..10 { let (mut s, _) = l.accept().unwrap(); let mut v = String::new(); s.read_to_string(&mut v).unwrap(); s.write_all(v.to_uppercase().as_bytes()).unwrap() });
    let good = (0..10).filter(|i| { let mut s = TcpStream::connect(a).unwrap(); s.write_all(format!("text{i}").as_bytes()).unwrap(); s.shutdown(std::net::Shutdown::Write).unwrap(); let mut v = String::new(); s.read_to_string(&mut v).unwrap(); v == format!("TEXT{i}") }).count(); t.join().unwrap(); same("sockets", 10, good);
    same("a panic", true, thread::spawn(|| panic!("expected")).join().is_err());
    let mut t = BTreeMap::new(); let mut x = 1u64; for i in 0..200000 { x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); t.insert(x >> 20, i); } println!("ok a tree {}", t.iter().take(1000).map(|(k, v)| k ^ v).fold(0, |a, b| a ^ b));
    std::process::exit(6)
}
END
rustc --edition 2021 -O -C codegen-units=2 main.rs 2> errors && ok "rustc" || fail "rustc" "$(head -n 2 errors | xargs)"
./main 2> panics; same "exit status of the program" 6 $?
rustc --edition 2021 -C debuginfo=2 --emit=obj,metadata -o debug.o main.rs 2> errors && ok "-g" || fail "-g" "$(head -n 2 errors | xargs)"
echo 'fn main() { let x: i32 = "text"; }' > wrong.rs; rustc wrong.rs 2> errors; same "an error" 1 $?
exit 0
