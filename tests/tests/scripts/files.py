"""Files: mmap, sqlite3, tempfile, shutil, locks, select."""
import fcntl, hashlib, mmap, os, select, shutil, sqlite3, tempfile, zlib

with open("mapped", "w+b") as f:
    f.truncate(1 << 20)
    with mmap.mmap(f.fileno(), 0) as m:
        m[1000:1005] = b"hello"; m.flush(); print(m.find(b"hello"))
    f.seek(1000); print(f.read(5))
    with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as m:
        m[0:3] = b"cow"; print(m[0:3])
    f.seek(0); print(f.read(3))
    fcntl.flock(f, fcntl.LOCK_EX)
with mmap.mmap(-1, 1 << 16, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) as m:
    if (pid := os.fork()) == 0:
        m[0:5] = b"child"; os._exit(0)
    os.waitpid(pid, 0); print(m[0:5])

db = sqlite3.connect("db"); db.execute("pragma journal_mode=wal")
db.execute("create table t(id integer primary key, name text, n int)")
with db: db.executemany("insert into t(name, n) values (?, ?)", ((f"name{i}", i * i % 97) for i in range(5000)))
db.execute("create index i on t(n)")
print(db.execute("select count(*), sum(n), max(name) from t where n > 50").fetchone())
try:
    with db: db.execute("update t set n = 0"); raise KeyError
except KeyError: pass
print(db.execute("select sum(n) from t").fetchone(), db.execute("pragma integrity_check").fetchone())
db.close(); print(hashlib.sha256(sqlite3.connect("db").execute("select group_concat(name) from t").fetchone()[0].encode()).hexdigest())
os.unlink("db")

with tempfile.TemporaryDirectory() as d:
    for i in range(100): open(os.path.join(d, f"f{i}"), "w").write("x" * i)
    shutil.copytree(d, "copied"); print(sum(e.stat().st_size for e in os.scandir("copied")))
print(zlib.crc32(open("mapped", "rb").read())); shutil.make_archive("archive", "gztar", "copied"); os.unlink("archive.tar.gz")
r, w = os.pipe(); p = select.epoll(); p.register(r, select.EPOLLIN); print(p.poll(0.01)); os.write(w, b"x"); print(len(p.poll(1)))
for root, dirs, names in os.walk("copied"): print(len(names))
print("python done")
