# Node.js: timers, children, workers, streams, sockets, files, signals.
# packages: nodejs
source "${0%/*}/checks.bash"
cat > main.js <<'END'
const { execFile, spawn, fork, spawnSync } = require('child_process'), fs = require('fs'), http = require('http'), net = require('net'), zlib = require('zlib'), crypto = require('crypto');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads'), { promisify } = require('util'), { once } = require('events');
const same = (name, want, got) => console.log(want === got ? `ok ${name}` : `FAIL ${name}: got ${got}, wanted ${want}`);
const sleep = ms => new Promise(done => setTimeout(done, ms));
if (process.argv[2] === 'child') { process.on('message', m => { process.send(m * 2); process.disconnect(); }); }
else if (!isMainThread) { const a = new Int32Array(workerData); for (let i = 0; i < 10000; i++) Atomics.add(a, 0, 1); parentPort.postMessage('done'); }
else (async () => {
    const start = process.hrtime.bigint(); await sleep(100); same('a timer', true, process.hrtime.bigint() - start >= 99000000n);
    let ticks = 0; const t = setInterval(() => ticks++, 5); await sleep(200); clearInterval(t); same('an interval', true, ticks >= 3);
    same('execFile', 'hello\n', (await promisify(execFile)('echo', ['hello'])).stdout);
    const cat = spawn('cat'); let text = ''; cat.stdout.on('data', d => text += d); for (let i = 0; i < 100; i++) cat.stdin.write('x'.repeat(10000)); cat.stdin.end(); const [code] = await once(cat, 'close'); same('a megabyte through cat', 1000000, text.length); same('its status', 0, code);
    const sl = spawn('sleep', ['30']); sl.kill('SIGTERM'); const [, signal] = await once(sl, 'close'); same('a killed child', 'SIGTERM', signal);
    same('spawnSync', 7, spawnSync('sh', ['-c', 'exit 7']).status);
    const kid = fork(__filename, ['child']); kid.send(21); const [m] = await once(kid, 'message'); same('fork', 42, m); await once(kid, 'close');
    const shared = new SharedArrayBuffer(4); const workers = [1, 2, 3].map(() => new Worker(__filename, { workerData: shared })); await Promise.all(workers.map(w => once(w, 'exit'))); same('workers', 30000, new Int32Array(shared)[0]);
    const server = http.createServer((q, r) => { q.pipe(r); }).listen(0, '127.0.0.1'); await once(server, 'listening'); const port = server.address().port;
    const post = body => new Promise((done, bad) => { const q = http.request({ port, host: '127.0.0.1', method: 'POST' }, r => { let s = ''; r.on('data', d => s += d); r.on('end', () => done(s)); }); q.on('error', bad); q.end(body); });
    const bodies = await Promise.all([...Array(20).keys()].map(i => post('body' + i))); same('http', true, bodies.every((b, i) => b === 'body' + i)); server.close();
    const unix = net.createServer(c => c.pipe(c)).listen('socket'); await once(unix, 'listening'); const c = net.connect('socket'); c.end('through'); let s = ''; c.on('data', d => s += d); await once(c, 'close'); same('a unix socket', 'through', s); unix.close();
    const big = Buffer.alloc(1 << 20, 'abc'); same('zlib', true, zlib.gunzipSync(await promisify(zlib.gzip)(big)).equals(big));
    console.log('ok pbkdf2 ' + (await promisify(crypto.pbkdf2)('a', 'b', 2000, 32, 'sha512')).toString('hex'));
    await Promise.all([...Array(50).keys()].map(i => fs.promises.writeFile('f' + i, 'x'.repeat(i)))); same('files', 1225, (await Promise.all([...Array(50).keys()].map(i => fs.promises.stat('f' + i)))).reduce((n, s) => n + s.size, 0));
    const w = fs.watch('.'); setTimeout(() => fs.writeFileSync('watched', ''), 50); await once(w, 'change'); w.close(); console.log('ok fs.watch');
    await new Promise(done => { process.once('SIGUSR2', done); process.kill(process.pid, 'SIGUSR2'); }); console.log('ok a signal');
    let n = 0; for (let i = 0; i < 3e7; i++) n = (n * 31 + i) | 0; console.log('ok a loop ' + n);
    same('wasm', 42, new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 6, 1, 4, 0, 65, 42, 11]))).exports.f());
    same('cpuUsage', true, process.cpuUsage().user > 0); process.exitCode = 4;
})();
END
node main.js; same "exit status of node" 4 $?
echo 'setTimeout(() => { throw new Error("thrown") }, 10)' > throw.js; node throw.js 2> err; same "an uncaught error" 1 $?
same "-p" 3 "$(node -p 1+2)"; same "standard input" x "$(echo 'process.stdin.on("data", d => process.stdout.write(d))' > in.js; echo x | node in.js)"
exit 0
