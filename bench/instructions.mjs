#!/usr/bin/env node
// What the server spends in user space on one message: instructions, allocations and calls of the
// kernel, counted by callgrind, so that a busy machine changes nothing.
//   node bench/instructions.mjs                      all scenarios, beside the committed figures
//   node bench/instructions.mjs --only echo,polling
//   node bench/instructions.mjs --check              fails where a figure is 3 % above the committed one
//   node bench/instructions.mjs --save               writes the figures down
//   node bench/instructions.mjs --top 15             the functions that take most
//   node bench/instructions.mjs --axum               the server as a layer under axum
// The kernel's own share is not in it. Figures of another compiler are printed and not judged.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SCENARIOS, marker } from './load.mjs';

const { values: options } = parseArgs({
  options: {
    only: { type: 'string' }, check: { type: 'boolean' }, save: { type: 'boolean' }, axum: { type: 'boolean' },
    top: { type: 'string', default: '0' }, server: { type: 'string' },
  },
});
const root = new URL('..', import.meta.url).pathname;
const saved = join(root, 'bench/instructions.json');
const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
const TOLERANCE = 1.03;
const RUNS = 3;
const ALLOCATE = /^(malloc|calloc|realloc|posix_memalign|aligned_alloc)$/;
const KERNEL = /^(read|readv|recv|recvfrom|write|writev|send|sendto|sendmsg|epoll_wait|epoll_ctl|accept4|close|shutdown|setsockopt|getsockname|getpeername|futex|syscall)$/;

function server() {
  if (options.server) return options.server;
  execFileSync('cargo', ['build', '--quiet', '--profile', 'dist', '-p', 'socketio', '--example', 'bench_server'], { cwd: root, stdio: 'inherit' });
  return join(target, 'dist/examples/bench_server');
}

const freePort = () => new Promise((done) => {
  const listener = createServer().listen(0, '127.0.0.1', () => {
    const { port } = listener.address();
    listener.close(() => done(port));
  });
});

/** The marker of a server that has begun to listen. */
async function started(port, child) {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
    try {
      return await marker(port);
    } catch {
      await new Promise((again) => setTimeout(again, 100));
    }
  }
}

/** What stands in one of callgrind's files: its total, and how often which function was called. */
function counted(file) {
  const names = new Map();
  const named = (text) => {
    const [, id, name] = /^\((\d+)\)(?: (.*))?$/.exec(text);
    if (name) names.set(id, name.replace(/'\d+$/, '').replace(/@.*$/, ''));
    return names.get(id);
  };
  let total = 0;
  let callee = '';
  const calls = { allocations: 0, kernel: 0 };
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (line.startsWith('fn=')) named(line.slice(3));
    else if (line.startsWith('cfn=')) callee = named(line.slice(4));
    else if (line.startsWith('calls=')) {
      const count = Number(line.slice(6).split(' ')[0]);
      if (ALLOCATE.test(callee)) calls.allocations += count;
      else if (KERNEL.test(callee)) calls.kernel += count;
    } else if (/^(totals|summary): /.test(line)) total = Number(line.split(' ')[1]);
  }
  return { instructions: total, ...calls };
}

const rustc = execFileSync('rustc', ['-V'], { encoding: 'utf8' }).trim();
const binary = server();
const port = await freePort();
const folder = mkdtempSync(join(tmpdir(), 'sio-instructions-'));
const child = spawn('valgrind', [
  '--tool=callgrind', '--cache-sim=no', `--callgrind-out-file=${folder}/out`, '--dump-before=bench_server::mark*',
  binary, '--port', String(port), ...(options.axum ? ['--axum'] : []),
], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, TOKIO_WORKER_THREADS: '1' } });
let said = '';
child.stderr.on('data', (data) => { said += data; });
const ended = new Promise((done) => child.once('exit', done));

const names = options.only?.split(',') ?? Object.keys(SCENARIOS);
const messages = [];
try {
  const control = await started(port, child);
  for (const name of names) {
    const { rounds, open, round, close } = SCENARIOS[name];
    const opened = await open(port);
    await round(opened);
    await round(opened);
    for (let run = 0; run < RUNS; run++) {
      await control.mark();
      let count = 0;
      for (let i = 0; i < rounds; i++) count += await round(opened);
      await control.mark();
      messages.push(count);
    }
    await close(opened);
  }
  await control.close();
} finally {
  child.kill('SIGTERM');
  await ended;
}

/** The file of the n-th mark: callgrind numbers them from 1. */
const dump = (n) => readdirSync(folder).map((file) => join(folder, file)).find((file) => file.endsWith(`.${n}`));
if (!dump(2 * RUNS * names.length)) throw new Error(`the marks were not seen: ${said}`);
const before = JSON.parse(readFileSync(saved, 'utf8'));
const judged = before.rustc === rustc && !options.axum;
const figures = {};
let worse = 0;
console.log(`${rustc}; ${judged ? 'beside the committed figures' : `not judged: the committed figures are those of ${before.rustc}, without axum`}`);
console.log('scenario          messages   instructions  committed         allocations  kernel calls');
names.forEach((name, i) => {
  // How many packets share a turn differs from run to run: the cheapest is what it costs.
  const runs = Array.from({ length: RUNS }, (_, run) => {
    const [file, count] = [dump(2 * (RUNS * i + run) + 2), messages[RUNS * i + run]];
    const { instructions, allocations, kernel } = counted(file);
    return { file, count, instructions: Math.round(instructions / count), allocations: +(allocations / count).toFixed(2), kernel: +(kernel / count).toFixed(2) };
  });
  const { file, count, ...figure } = runs.reduce((best, run) => (run.instructions < best.instructions ? run : best));
  figures[name] = figure;
  const old = before.figures[name];
  const ratio = old ? figure.instructions / old.instructions : NaN;
  const bad = judged && old && (ratio > TOLERANCE || figure.allocations > old.allocations * TOLERANCE + 0.05);
  if (bad) worse++;
  console.log([
    name.padEnd(16), String(count).padStart(9), String(figure.instructions).padStart(14), String(old?.instructions ?? '').padStart(10),
    (old ? `${((ratio - 1) * 100).toFixed(1)} %` : '').padStart(9), figure.allocations.toFixed(2).padStart(9), figure.kernel.toFixed(2).padStart(12), bad ? '  WORSE' : '',
  ].join(' '));
  if (Number(options.top)) {
    const rows = execFileSync('callgrind_annotate', [file], { encoding: 'utf8', maxBuffer: 1 << 28 }).split('\n');
    console.log(rows.filter((row) => /^ *[\d,]+ \(/.test(row) && !row.includes('PROGRAM')).slice(0, Number(options.top)).map((row) => `    ${row.trim().slice(0, 130)}`).join('\n'));
  }
});
rmSync(folder, { recursive: true });
if (options.save) writeFileSync(saved, `${JSON.stringify({ rustc, figures: { ...before.figures, ...figures } }, null, 1)}\n`);
if (options.check && worse) {
  console.log(`${worse} of ${names.length} cost more than they did; if that is meant, write the new figures down with --save, and say why in the commit`);
  process.exit(1);
}
