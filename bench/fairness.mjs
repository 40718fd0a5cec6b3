#!/usr/bin/env node
// What one client that floods, and reads all that it gets, does to its neighbours: how long their echoes
// take without it and with it, in turns, in the same run.
//   node bench/fairness.mjs                      three rounds of 4 s each
//   node bench/fairness.mjs --check              fails where the neighbours' p99 is more than twice the calm one
//   node bench/fairness.mjs --server target/release/examples/bench_server --threads 2 --floods 1
// One thread serves all, unless told otherwise; where `taskset` is there, it has a core of its own. The
// clients share the other one: the calm figure has their share in it, too, and so has the other.
import { execFileSync, fork, spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { joined, text } from './load.mjs';

const { values: options } = parseArgs({
  options: {
    server: { type: 'string' }, check: { type: 'boolean' }, threads: { type: 'string', default: '1' }, floods: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' }, seconds: { type: 'string', default: '4' }, neighbours: { type: 'string', default: '20' },
    flood: { type: 'string' },
  },
});
const root = new URL('..', import.meta.url).pathname;
const PAUSE = 20;
const TOLERANCE = 2;
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** The client that floods, in a process of its own: it begins and stops when it is told. */
async function flood(port) {
  const wire = await joined(port);
  wire.socket.removeAllListeners('data');
  let got = 0;
  wire.socket.on('data', (data) => { got += data.length; });
  const burst = Buffer.concat(Array.from({ length: 2000 }, () => text('42["message","x"]')));
  let goes = false;
  const write = () => { while (goes && wire.socket.write(burst)); };
  wire.socket.on('drain', write);
  process.on('message', (word) => {
    goes = word === 'go';
    if (goes) write();
    else { process.send(got); got = 0; }
  });
  process.send('ready');
}

/** One that sends now and then, and takes the time of each echo, in milliseconds. */
async function neighbour(port, times) {
  const wire = await joined(port);
  (async () => {
    await wait(Math.random() * PAUSE);
    for (;;) {
      const before = performance.now();
      wire.write(text('42["message","n"]'));
      await wire.frame();
      times.push(performance.now() - before);
      await wait(PAUSE);
    }
  })().catch(() => {});
}

const percentile = (times, part) => times.toSorted((a, b) => a - b)[Math.floor(times.length * part)];
const told = (times) => `p50 ${percentile(times, 0.5).toFixed(2)} ms, p99 ${percentile(times, 0.99).toFixed(2)} ms`;

function program() {
  if (options.server) return options.server;
  execFileSync('cargo', ['build', '--quiet', '--release', '-p', 'socketio', '--example', 'bench_server'], { cwd: root, stdio: 'inherit' });
  return join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'release/examples/bench_server');
}

const freePort = () => new Promise((done) => {
  const listener = createServer().listen(0, '127.0.0.1', () => {
    const { port } = listener.address();
    listener.close(() => done(port));
  });
});

async function main() {
  const port = await freePort();
  const pinned = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0;
  const command = [...(pinned ? ['taskset', '-c', '0'] : []), program(), '--port', `${port}`];
  const env = { ...process.env, TOKIO_WORKER_THREADS: options.threads };
  const server = spawn(command[0], command.slice(1), { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const floods = [];
  try {
    for (;;) {
      if (server.exitCode !== null) throw new Error(`the server ended with ${server.exitCode}`);
      try { (await joined(port)).socket.destroy(); break; } catch { await wait(100); }
    }
    for (let n = 0; n < Number(options.floods); n++) {
      const child = fork(fileURLToPath(import.meta.url), ['--flood', `${port}`]);
      await new Promise((done) => child.once('message', done));
      floods.push(child);
    }
    const times = [];
    for (let n = 0; n < Number(options.neighbours); n++) await neighbour(port, times);
    const phases = { calm: [], flooded: [] };
    await wait(500);
    for (let round = 0; round < Number(options.rounds); round++) {
      for (const [name, all] of Object.entries(phases)) {
        if (name === 'flooded') floods.forEach((child) => child.send('go'));
        await wait(300);
        times.length = 0;
        await wait(Number(options.seconds) * 1000);
        all.push(...times);
        if (name === 'calm') continue;
        const got = await Promise.all(floods.map((child) => new Promise((done) => {
          child.once('message', done);
          child.send('stop');
        })));
        console.log(`  round ${round + 1}: the floods got ${(got.reduce((a, b) => a + b, 0) / 1e6).toFixed(0)} MB of echoes`);
        await wait(1000);
      }
    }
    const ratio = percentile(phases.flooded, 0.99) / percentile(phases.calm, 0.99);
    console.log(`without the flood  ${told(phases.calm)}  (${phases.calm.length} echoes)`);
    console.log(`with the flood     ${told(phases.flooded)}  (${phases.flooded.length} echoes)`);
    console.log(`p99 with / without ${ratio.toFixed(2)}`);
    if (options.check && ratio > TOLERANCE) process.exitCode = 1;
  } finally {
    floods.forEach((child) => child.kill());
    server.kill();
  }
}

if (options.flood) await flood(Number(options.flood));
else {
  await main();
  process.exit();
}
