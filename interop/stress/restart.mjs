// A restart under a crowd: the server is drained, started again, and lets clients in no faster than it
// is told. Prints one JSON report; fails if a client stays away.
//
//   node interop/stress/restart.mjs [--clients 20000] [--rate 2000] [--drain 10]
//
// It needs target/release/sio and target/release/examples/bench_client, and a file for each client
// (ulimit -n) in both.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "20000" },
    rate: { type: "string", default: "2000" },
    drain: { type: "string", default: "10" },
  },
});
const clients = Number(values.clients);
const release = (path) => fileURLToPath(new URL(`../../target/release/${path}`, import.meta.url));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const seconds = (since) => Math.round((Date.now() - since) / 100) / 10;

async function spare() {
  const server = createServer();
  const port = await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const [port, watched] = [await spare(), await spare()];

function serve(rate) {
  const words = ["serve", "--port", port, "--metrics", `127.0.0.1:${watched}`, "--max-handshakes", rate, "--drain", values.drain];
  const child = spawn(release("sio"), words.map(String), { stdio: ["ignore", "ignore", "inherit"] });
  return { child, exited: new Promise((resolve) => child.once("exit", resolve)) };
}

/** The figures, or none while nobody answers. */
async function figures() {
  const text = await fetch(`http://127.0.0.1:${watched}/metrics`).then((answer) => answer.text(), () => "");
  const sum = (name) => text.split("\n").filter((line) => line.startsWith(name)).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  return {
    connected: sum("sio_connections{"),
    opened: sum('sio_handshakes_total{result="opened"'),
    refused: sum('sio_handshakes_total{result="too fast"'),
  };
}

async function crowd(what) {
  const end = Date.now() + 300_000;
  let [fastest, before, now] = [0, 0];
  do {
    assert.ok(Date.now() < end, `${what}: ${JSON.stringify(now)}`);
    await pause(1000);
    now = await figures();
    fastest = Math.max(fastest, now.opened - before);
    before = now.opened;
  } while (now.connected < clients + 1);
  return { ...now, fastest };
}

let server = serve(1_000_000);
while (!(await fetch(`http://127.0.0.1:${watched}/healthz`).catch(() => null))) await pause(50);
const words = ["--url", `http://127.0.0.1:${port}`, "--clients", clients, "--depth", 0, "--seconds", 3600];
const bench = spawn(release("examples/bench_client"), words.map(String), { stdio: ["ignore", "ignore", "inherit"] });
try {
  await crowd("at first");
  let since = Date.now();
  server.child.kill("SIGTERM");
  await server.exited;
  const drained = seconds(since);
  since = Date.now();
  server = serve(values.rate);
  const { connected, opened, refused, fastest } = await crowd("after the restart");
  console.log(JSON.stringify({ clients: clients + 1, drained, back: seconds(since), connected, opened, refused, fastest }));
} finally {
  bench.kill("SIGKILL");
  server.child.kill("SIGKILL");
}
