// What forwarding costs: the same echo at the session's own server and at another one, and a question over the bus.
//   SIO_SERVER=target/dist/examples/interop_server node bench/routing.mjs [SECONDS]
// With target/dist/examples/cluster_server there, and redis-server, the bus is measured, too.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import http from "node:http";
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { sparePort } from "../interop/faults/parts.mjs";
import { HANDSHAKE, Server, Ws, within } from "../interop/harness.mjs";

const seconds = Number(process.argv[2] ?? 3);
const require = createRequire(new URL("../interop/package.json", import.meta.url));
const TICK = 10_000; // microseconds of CPU time, as the kernel counts

const cpu = ({ pid }) => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK;
};

/** Runs loops for the time, and says what each round took: of the clock, and of the processes' CPU. */
async function measure(name, processes, loops) {
  const before = processes.map(cpu);
  const times = [];
  const end = Date.now() + 1_000 * seconds;
  await Promise.all(
    loops.map(async (round) => {
      while (Date.now() < end) {
        const start = process.hrtime.bigint();
        await round();
        times.push(Number(process.hrtime.bigint() - start) / 1_000);
      }
    }),
  );
  times.sort((a, b) => a - b);
  const used = processes.map((child, i) => ((cpu(child) - before[i]) / times.length).toFixed(1));
  const [median, high] = [0.5, 0.99].map((part) => times[Math.floor(part * times.length)].toFixed(0));
  console.log(`${name.padEnd(46)} ${`${times.length}`.padStart(7)} rounds, median ${median} µs, 99% ${high} µs, CPU each ${used.join(" + ")} µs`);
}

const agent = new http.Agent({ keepAlive: true });
const ask = (port, method, path, body) =>
  new Promise((resolve, reject) => {
    const request = http.request({ agent, host: "127.0.0.1", port, method, path }, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += chunk)).on("end", () => resolve(text));
    });
    request.on("error", reject).end(body);
  });

const server = () => Server.start({}, { routing: "the secret of the bench" });
const [owner, other] = [await server(), await server()];

async function polling(port) {
  const path = `${HANDSHAKE}&sid=${JSON.parse((await ask(owner.port, "GET", HANDSHAKE)).slice(1)).sid}`;
  await ask(owner.port, "POST", path, "40");
  await ask(owner.port, "GET", path);
  return async () => {
    await ask(port, "POST", path, '42["echo","a text of 32 bytes, more or less"]');
    const answer = await ask(port, "GET", path);
    if (!answer.startsWith('42["echo"')) throw new Error(answer);
  };
}

async function websocket(port) {
  const { sid } = JSON.parse((await ask(owner.port, "GET", HANDSHAKE)).slice(1));
  const path = `${HANDSHAKE}&sid=${sid}`;
  await ask(owner.port, "POST", path, "40");
  await ask(owner.port, "GET", path);
  const ws = await Ws.open({ port }, `EIO=4&transport=websocket&sid=${sid}`);
  ws.send("2probe");
  await ws.next();
  ws.send("5");
  return async () => {
    ws.send('42["echo","a text of 32 bytes, more or less"]');
    let answer;
    do answer = await ws.next();
    while (answer === "2" && (ws.send("3"), true));
    if (!answer.startsWith('42["echo"')) throw new Error(answer);
  };
}

const several = (make, count, port) => Promise.all(Array.from({ length: count }, () => make(port)));
const both = [owner.child, other.child];
for (const [name, make] of [["polling", polling], ["WebSocket", websocket]]) {
  for (const count of [1, 50]) {
    for (const [where, { port }] of [["direct", owner], ["forwarded", other]]) {
      await measure(`${name} echo, ${count} client${count > 1 ? "s" : ""}, ${where}`, both, await several(make, count, port));
    }
  }
}

// What an idle WebSocket costs each of the two.
const memory = () => both.map(({ pid }) => 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]));
const IDLE = 2_000;
const idle = async () => {
  for (let i = 0; i < IDLE / 50; i++) await several(websocket, 50, other.port);
};
// The first ones find memory that is free.
await idle();
const start = memory();
await idle();
const [atOwner, atOther] = memory().map((bytes, i) => Math.round((bytes - start[i]) / IDLE));
console.log(`an idle WebSocket that is forwarded: ${atOwner} bytes at its server, ${atOther} at the other`);
agent.destroy();
await owner.stop();
await other.stop();

const member = join(dirname(process.env.SIO_SERVER ?? ""), "cluster_server");
if (existsSync(member)) {
  const { io } = require("socket.io-client");
  const port = await sparePort();
  const redis = spawn("redis-server", ["--port", `${port}`, "--bind", "127.0.0.1", "--save", ""], { stdio: ["ignore", "pipe", "inherit"] });
  await within(new Promise((resolve) => redis.stdout.on("data", (text) => `${text}`.includes("Ready to accept") && resolve())), "a Redis");
  const start = (name) => Server.start({ redis: `redis://127.0.0.1:${port}`, name }, {}, [member]);
  const [one, two] = [await start("one"), await start("two")];
  const control = io(`${one.url}/control`, { transports: ["websocket"] });
  const order = (op, command = {}) => control.emitWithAck("do", { op, ...command });
  while ((await order("serverCount")) !== 2);
  const processes = [one.child, two.child, redis];
  await measure("WebSocket ack, after a question over Redis", processes, [() => order("serverSideEmitWithAck", { event: "hello", args: [] })]);
  control.close();
  await one.stop();
  await two.stop();
  redis.kill("SIGKILL");
}
