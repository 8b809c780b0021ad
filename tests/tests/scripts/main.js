// Timers, files, child processes, worker threads, sockets, crypto, zlib.
const fs = require('fs'), cp = require('child_process'), net = require('net'), crypto = require('crypto'), zlib = require('zlib');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
if (!isMainThread) {
  let s = 0;
  for (let i = 0; i < 3e6; i++) s = (s + i * workerData) % 1000003;
  parentPort.postMessage(s);
} else (async () => {
  const work = n => new Promise((ok, no) => { const w = new Worker(__filename, { workerData: n }); w.on('message', ok); w.on('error', no); });
  console.log(await Promise.all([1, 2, 3, 4].map(work)));
  const t = process.hrtime.bigint();
  await new Promise(ok => setTimeout(ok, 50));
  console.log(process.hrtime.bigint() - t >= 49000000n);
  fs.writeFileSync('out', 'x'.repeat(100000));
  console.log(zlib.gunzipSync(zlib.gzipSync(fs.readFileSync('out'))).length, crypto.createHash('sha256').update('mosix').digest('hex'));
  console.log(cp.execSync('echo from child | tr a-z A-Z').toString().trim(), cp.spawnSync('sh', ['-c', 'exit 3']).status);
  const server = net.createServer(c => c.on('data', d => c.end(d.toString().toUpperCase()))).listen(0, '127.0.0.1');
  await new Promise(ok => server.on('listening', ok));
  console.log(await new Promise(ok => { const c = net.connect(server.address().port, '127.0.0.1', () => c.write('over tcp')); c.on('data', d => ok(d.toString())); }));
  server.close();
  const files = await Promise.all([...Array(50).keys()].map(async i => { await fs.promises.writeFile('f' + i, '' + i); return fs.promises.readFile('f' + i, 'utf8'); }));
  console.log(files.reduce((a, b) => a + +b, 0));
  console.log('node done');
})();
