"""asyncio: streams over TCP and AF_UNIX, timers, subprocesses; http.server and a client."""
import asyncio, http.server, socket, threading, urllib.request

async def handle(r, w):
    while line := await r.readline():
        w.write(line.upper()); await w.drain()
    w.close()

async def client(i, connect):
    r, w = await connect()
    out = []
    for k in range(20):
        w.write(f"client {i} line {k}\n".encode()); await w.drain(); out.append(await r.readline())
    w.close()
    return b"".join(out)

async def main():
    tcp = await asyncio.start_server(handle, "127.0.0.1", 0); port = tcp.sockets[0].getsockname()[1]
    unix = await asyncio.start_unix_server(handle, "sock")
    a = await asyncio.gather(*(client(i, lambda: asyncio.open_connection("127.0.0.1", port)) for i in range(20)))
    b = await asyncio.gather(*(client(i, lambda: asyncio.open_unix_connection("sock")) for i in range(20)))
    print(a == b, len(a[7]), a[7].splitlines()[19])
    tcp.close(); unix.close()
    loop = asyncio.get_running_loop(); t = loop.time(); await asyncio.gather(*(asyncio.sleep(0.1) for _ in range(50)))
    print(0.1 <= loop.time() - t < 2)
    p = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print(await p.communicate(b"through tr"), p.returncode)
    try: await asyncio.wait_for(asyncio.sleep(10), 0.05)
    except asyncio.TimeoutError: print("timeout")
asyncio.run(main())
import os; os.path.exists("sock") and os.unlink("sock")

class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.path.encode() * 1000
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H); threading.Thread(target=s.serve_forever, daemon=True).start()
print([len(urllib.request.urlopen(f"http://127.0.0.1:{s.server_port}/{i}").read()) for i in range(10)]); s.shutdown()
a, b = socket.socketpair(); socket.send_fds(a, [b"fd"], [0]); print(socket.recv_fds(b, 10, 1)[0])
print("python done")
