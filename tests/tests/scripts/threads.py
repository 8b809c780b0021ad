"""Threads, queues, subprocesses, signals."""
import os, queue, signal, subprocess, sys, threading, time

total, lock = 0, threading.Lock()
def add(n):
    global total
    for i in range(n):
        with lock:
            total += i
threads = [threading.Thread(target=add, args=(2000,)) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print("threads", total)

q, done = queue.Queue(10), queue.Queue()
def consume():
    while (item := q.get()) is not None:
        done.put(item * item)
workers = [threading.Thread(target=consume) for _ in range(4)]
[w.start() for w in workers]
for i in range(500): q.put(i)
for _ in workers: q.put(None)
[w.join() for w in workers]
print("queue", sum(done.get() for _ in range(500)))

event, barrier = threading.Event(), threading.Barrier(4)
hits = []
def meet(i):
    barrier.wait(); hits.append(i); event.wait(10)
met = [threading.Thread(target=meet, args=(i,)) for i in range(4)]
[m.start() for m in met]
while len(hits) < 4: time.sleep(0.001)
event.set(); [m.join() for m in met]
print("barrier", sorted(hits), event.wait(0.05))

print(subprocess.run(["sort"], input="c\na\nb\n", capture_output=True, text=True).stdout.split())
r = subprocess.run("echo out; echo err >&2; exit 5", shell=True, capture_output=True, text=True)
print(r.returncode, r.stdout.strip(), r.stderr.strip())
try:
    subprocess.run(["sleep", "10"], timeout=0.2)
except subprocess.TimeoutExpired:
    print("timeout")
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
big = os.urandom(1 << 20)
print("1 MiB through cat", p.communicate(big)[0] == big, p.returncode)
p = subprocess.Popen(["sleep", "100"], start_new_session=True); p.send_signal(signal.SIGTERM); print("signal", p.wait())
ps = [subprocess.Popen([sys.executable, "-S", "-E", "-c", f"import sys; sys.exit({i})"]) for i in range(6)]
print([p.wait() for p in ps])

got = []
signal.signal(signal.SIGUSR1, lambda s, f: got.append(s))
signal.setitimer(signal.ITIMER_REAL, 0.05); signal.signal(signal.SIGALRM, lambda s, f: got.append(s))
os.kill(os.getpid(), signal.SIGUSR1)
start = time.monotonic(); time.sleep(0.2)
print([int(s) for s in got], time.monotonic() - start >= 0.2)
r, w = os.pipe()
if (pid := os.fork()) == 0:
    os.write(w, b"child"); os._exit(9)
print(os.read(r, 5), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print("python done")
