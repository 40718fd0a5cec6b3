// Broadcasts to three servers that share a Redis, ours and Node's with the official adapter, in one run: the
// servers' CPU time for each delivery, as the kernel counts it. Beside it the same without the bus, where
// each server is told of each broadcast, which is for its own sockets alone.
//
//   cargo build --profile dist -p socketio-adapters --all-features --example cluster_server
//   node bench/cluster.mjs [ROUNDS [SOCKETS_PER_SERVER [BROADCASTS]]]
//
// ADAPTER=sharded takes the sharded adapter of both. SIO_SERVER is another binary of ours, and SIO_BEFORE one
// more to compare with. The servers have one core, Redis and the clients the other.
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import net from "node:net";
import { createRequire } from "node:module";
import { sparePort } from "../interop/faults/parts.mjs";
import { once, Server, upgradeRequest, within } from "../interop/harness.mjs";

const require = createRequire(new URL("../interop/package.json", import.meta.url));
const { io } = require("socket.io-client");
const [rounds = 3, sockets = 1000, broadcasts = 200] = process.argv.slice(2).map(Number);
const path = (text) => new URL(text, import.meta.url).pathname;
const kinds = {
  ours: [process.env.SIO_SERVER ?? path("../target/dist/examples/cluster_server")],
  node: [process.execPath, path("../interop/cluster-node.mjs")],
};
if (process.env.SIO_BEFORE) kinds.before = [process.env.SIO_BEFORE];
const adapter = process.env.ADAPTER === "sharded" ? { mode: "dynamic" } : {};
const SERVERS = 3;
const WARM_UP = 20;
const MEASURED = [
  { name: "cluster, 1 at a time", depth: 1 },
  { name: "cluster, 8 at a time", depth: 8 },
  { name: "no bus, 1 at a time", depth: 1, local: true },
  { name: "no bus, 8 at a time", depth: 8, local: true },
];

// What each client gets, to the byte.
const text = (number) => `${number}`.padStart(8, "0").padEnd(32, "x");
const frame = (number) => {
  const payload = `42["news","${text(number)}"]`;
  return Buffer.concat([Buffer.from([0x81, payload.length]), Buffer.from(payload)]);
};
const each = frame(0).length;
// One more than there are: a ping may come after the last one.
const frames = MEASURED.length * (WARM_UP + broadcasts) + 1;
const expected = Buffer.concat(Array.from({ length: frames }, (_, number) => frame(number)));

/** A client which checks what it gets. It is raw, so that the clients do not keep the servers waiting. */
class Guest {
  static delivered = 0; // in bytes, to all
  static progress = () => {};
  #taken = 0;
  #inPing = false;

  static connect(port) {
    return new Promise((resolve) => {
      const guest = new Guest();
      // As far as the namespace is joined; undefined when it is.
      let head = "";
      const onread = {
        buffer: Buffer.allocUnsafe(64 * 1024),
        callback: (length, buffer) => {
          const data = buffer.subarray(0, length);
          if (head === undefined) {
            guest.#take(data);
            return true;
          }
          const isOpen = head.includes("maxPayload");
          head += data.toString("latin1");
          // Node's server loses what comes before it has said that the session is open.
          if (!isOpen && head.includes("maxPayload")) guest.send("40");
          if (/40\{[^}]*\}$/.test(head)) {
            head = undefined;
            resolve(guest);
          }
          return true;
        },
      };
      guest.socket = net.connect({ port, host: "127.0.0.1", onread });
      guest.socket.write(upgradeRequest("/socket.io/?EIO=4&transport=websocket"));
      guest.socket.on("close", () => fail("a connection has ended"));
    });
  }

  send(packet) {
    this.socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | packet.length, 0, 0, 0, 0]), Buffer.from(packet)]));
  }

  #take(data) {
    const end = this.#taken + data.length;
    if (!this.#inPing && end <= expected.length && data.compare(expected, this.#taken, end) === 0) {
      this.#taken = end;
      Guest.delivered += data.length;
    } else {
      for (const byte of data) this.#takeByte(byte);
    }
    Guest.progress();
  }

  /** As above, where a ping may be in between: 81 01 "2". */
  #takeByte(byte) {
    if (this.#inPing) {
      this.#inPing = false;
      this.send("3");
    } else if (this.#taken % each === 1 && byte === 1) {
      // What looked like the beginning of an event was a ping's.
      this.#inPing = true;
      this.#taken -= 1;
      Guest.delivered -= 1;
    } else {
      if (byte !== expected[this.#taken]) fail(`at byte ${this.#taken} stands ${byte}`);
      this.#taken += 1;
      Guest.delivered += 1;
    }
  }
}

const children = [];
function fail(message) {
  console.error(message);
  for (const child of children) child.kill("SIGKILL");
  process.exit(1);
}

/** The ticks that the processes have used, and those of them in the kernel. */
const used = (servers) => {
  const stats = servers.map(({ child }) => readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" "));
  const sum = (field) => stats.reduce((sum, fields) => sum + Number(fields[field]), 0);
  return { all: sum(11) + sum(12), kernel: sum(12) };
};
const TICK = 1e6 / Number(execFileSync("getconf", ["CLK_TCK"])); // in microseconds

async function measured(kind) {
  const servers = [];
  const options = { redis: `redis://127.0.0.1:${port}`, client: "redis", ...adapter };
  for (let i = 0; i < SERVERS; i++) servers.push(await Server.start({ ...options, name: `${i}` }, {}, ["taskset", "-c", "0", ...kinds[kind]]));
  children.push(...servers.map(({ child }) => child));
  const controls = servers.map(({ url }) => io(`${url}/control`, { transports: ["websocket"], forceNew: true }));
  await Promise.all(controls.map((control) => once(control, "connect")));
  while ((await controls[0].emitWithAck("do", { op: "serverCount" })) !== SERVERS);
  const guests = [];
  for (const { port } of servers) {
    for (let left = sockets; left > 0; left -= 50) {
      const some = Array.from({ length: Math.min(50, left) }, () => Guest.connect(port));
      guests.push(...(await within(Promise.all(some), "connected", 30_000)));
    }
  }

  let sent = 0;
  Guest.delivered = 0;
  const until = (test) => within(new Promise((resolve) => (Guest.progress = () => test() && resolve())()), "delivered", 60_000);
  const run = async (count, { depth, local }) => {
    for (let left = count; left > 0; left--) {
      await until(() => sent - Guest.delivered / guests.length / each < depth);
      for (const control of local ? controls : controls.slice(0, 1)) control.emit("do", { op: "emit", event: "news", args: [text(sent)], local });
      sent += 1;
    }
    await until(() => Guest.delivered === sent * guests.length * each);
  };
  const results = {};
  for (const what of MEASURED) {
    await run(WARM_UP, what);
    const [before, start] = [used(servers), performance.now()];
    await run(broadcasts, what);
    const [after, seconds] = [used(servers), (performance.now() - start) / 1000];
    const deliveries = broadcasts * guests.length;
    const each = (key) => ((after[key] - before[key]) * TICK) / deliveries;
    results[what.name] = each("all");
    console.log(
      `${kind}, ${what.name}: ${each("all").toFixed(2)} µs, ${each("kernel").toFixed(2)} of them the kernel's; ` +
        `${Math.round(deliveries / seconds)} deliveries a second`,
    );
  }
  for (const guest of guests) guest.socket.removeAllListeners("close").destroy();
  for (const control of controls) control.close();
  for (const server of servers) await server.stop();
  return results;
}

execFileSync("taskset", ["-cp", "1", `${process.pid}`]);
const port = await sparePort();
const redis = spawn("redis-server", ["--port", `${port}`, "--bind", "127.0.0.1", "--save", ""], { stdio: ["ignore", "pipe", "inherit"] });
children.push(redis);
await within(new Promise((resolve) => redis.stdout.on("data", (text) => `${text}`.includes("Ready to accept") && resolve())), "a Redis");

const all = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, []]));
for (let round = 0; round < rounds; round++) {
  for (const kind of Object.keys(kinds)) all[kind].push(await measured(kind));
}
redis.kill("SIGKILL");

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
console.log(`\nmedians, µs of CPU for each delivery | ${Object.keys(kinds).join(" | ")} | node / ours`);
for (const { name } of MEASURED) {
  const of = (kind) => median(all[kind].map((results) => results[name]));
  const each = Object.keys(kinds).map((kind) => of(kind).toFixed(2));
  console.log(`${[name, ...each].join(" | ")} | ${(of("node") / of("ours")).toFixed(1)}`);
}
process.exit(0);
