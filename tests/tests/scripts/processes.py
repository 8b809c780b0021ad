"""multiprocessing: pools, pipes, queues, shared values, managers."""
import multiprocessing as mp, os, concurrent.futures as cf

def square(x): return x * x
def child(conn): conn.send([os.getppid() > 0, conn.recv() * 2]); conn.close()
def bump(v, l):
    for _ in range(200):
        with l: v.value += 1
def put(q, n):
    for i in range(n): q.put(i)

if __name__ == "__main__":
    for method in ("fork", "spawn"):
        ctx = mp.get_context(method)
        with ctx.Pool(3) as pool:
            print(method, sum(pool.map(square, range(200))), pool.apply_async(square, (12,)).get(20))
        a, b = ctx.Pipe(); p = ctx.Process(target=child, args=(b,)); p.start(); a.send(21); print(a.recv()); p.join(); print(p.exitcode)
    ctx = mp.get_context("fork")
    v, l = ctx.Value("i", 0), ctx.Lock(); ps = [ctx.Process(target=bump, args=(v, l)) for _ in range(4)]
    [p.start() for p in ps]; [p.join() for p in ps]; print("value", v.value)
    q = ctx.Queue(); p = ctx.Process(target=put, args=(q, 300)); p.start(); print("queue", sum(q.get() for _ in range(300))); p.join()
    with ctx.Manager() as m:
        d = m.dict(); d["a"] = 1; print("manager", dict(d))
    with cf.ProcessPoolExecutor(2, mp_context=ctx) as ex: print("executor", list(ex.map(square, range(5))))
    with cf.ThreadPoolExecutor(4) as ex: print("executor", sum(ex.map(square, range(100))))
    print("python done")
