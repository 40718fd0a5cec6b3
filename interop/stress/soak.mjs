// A soak: clients of every version connect, upgrade, send, ask, join, break and come back, for as long
// as it is told. Every message is checked.
//
//   node interop/stress/soak.mjs --url URL [--for SECONDS] [--clients 60] [--pid PID of the server]
//
// The server is a scenario server with the option allowEIO3. Prints one JSON report, with the resident
// memory of the server each 10 s; fails if anything was wrong.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { io as v4 } from "socket.io-client";
import v2 from "socket.io-client-v2";
import v3 from "socket.io-client-v3";

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    for: { type: "string", default: "60" },
    clients: { type: "string", default: "60" },
    pid: { type: "string" },
  },
});
const end = Date.now() + Number(options.for) * 1000;
const random = (max) => Math.floor(Math.random() * max);
const pick = (list) => list[random(list.length)];
const report = { seconds: Number(options.for), sessions: 0, messages: 0, byVersion: {}, broken: 0, errors: [] };

const within = (promise, what) => {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), 20_000)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
const once = (socket, event) => within(new Promise((resolve) => socket.once(event, (...args) => resolve(args))), event);

/** Values of all kinds; each is told from the others by `n`. */
const values = (n) =>
  pick([
    () => [n],
    () => [`text ${n} é€😀 "\\" \n\u2028`],
    () => [{ n, deep: [{ a: null, b: [true, 1.5, -1 - n] }] }, []],
    () => [n, Buffer.from([n % 256, 1, 2])],
    () => [{ n, bytes: [Buffer.alloc(2000, n % 256)] }, "after"],
    () => [n, "x".repeat(200_000)],
  ])();

const equal = (actual, expected) => assert.deepEqual(plain(actual), plain(expected));
/** Bytes as lists: versions differ in what they make of them. */
function plain(value) {
  if (value instanceof Uint8Array || value instanceof ArrayBuffer) return { bytes: [...new Uint8Array(value)] };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  return value;
}

const KINDS = [];
for (const [version, io] of [["2", v2], ["3", v3.io], ["4", v4]]) {
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) KINDS.push({ version, io, transports });
}

async function session({ version, io, transports }, room) {
  const nsp = pick(["", "/admin"]);
  const socket = io(options.url + nsp, { forceNew: true, transports, reconnection: true, reconnectionDelay: 50, timeout: 20_000 });
  const engines = new Set([socket.io.engine]);
  socket.io.on("open", () => engines.add(socket.io.engine));
  try {
    await once(socket, "connect");
    const rounds = 1 + random(3);
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < 10; i++) {
        const args = values(report.messages);
        const answered = new Promise((resolve) => socket.emit("ack", ...args, (...answer) => resolve(answer)));
        equal(await within(answered, "ack"), args);
        const echoed = once(socket, "echo");
        socket.emit("echo", ...args);
        // With recovery there is an offset behind them.
        equal((await echoed).slice(0, args.length), args);
        report.messages += 2;
      }
      // Many at once arrive in their order.
      const numbers = [];
      const all = new Promise((resolve) => {
        socket.on("n", (n) => numbers.push(n) === 50 && resolve());
      });
      socket.emit("many", 50);
      await within(all, "many");
      socket.off("n");
      assert.deepEqual(numbers, Array.from({ length: 50 }, (_, n) => n));
      socket.once("question", (value, answer) => answer({ value }));
      const answered = once(socket, "answered");
      socket.emit("ask", round, 0);
      equal((await answered).slice(0, 2), [null, { value: round }]);
      const rooms = await within(new Promise((resolve) => socket.emit("join", room, resolve)), "join");
      assert.ok(rooms.includes(room), "the room that was joined");
      const news = once(socket, "news");
      socket.emit("emit to", [room], [], "news", round);
      await news;
      report.messages += 53;
      const back = () => once(socket, "connect");
      switch (random(4)) {
        case 0: // The connection breaks without a word.
          report.broken++;
          for (const timer = back(); ; ) {
            socket.io.engine.transport.ws?._socket?.destroy() ?? socket.io.engine.close();
            await timer;
            break;
          }
          break;
        case 1: // The client leaves its namespace and comes back.
          socket.disconnect();
          socket.connect();
          // Versions 2 and 3 forget this one again when the one before has closed.
          engines.add(socket.io.engine);
          await back();
          break;
        case 2:
          await new Promise((resolve) => setTimeout(resolve, random(500)));
          break;
        default:
      }
    }
    report.sessions++;
    report.byVersion[version] = (report.byVersion[version] ?? 0) + 1;
  } catch (error) {
    report.errors.push(`version ${version} ${transports} ${nsp}: ${error.message}`.slice(0, 300));
  } finally {
    socket.close();
    for (const engine of engines) engine.close();
  }
}

async function client(index) {
  while (Date.now() < end && report.errors.length < 20) await session(KINDS[(index + report.sessions) % KINDS.length], `room ${index}`);
}

/** Resident KiB of the server. */
const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${options.pid}/status`, "utf8"))[1]);
const memory = [];
const watch = options.pid && setInterval(() => memory.push(resident()), 10_000);
await Promise.all(Array.from({ length: Number(options.clients) }, (_, index) => client(index)));
if (watch) {
  clearInterval(watch);
  // A line through the second half.
  const half = memory.slice(Math.floor(memory.length / 2));
  const middle = (half.length - 1) / 2;
  const mean = half.reduce((a, b) => a + b, 0) / half.length;
  const slope = half.reduce((sum, y, x) => sum + (x - middle) * (y - mean), 0) / half.reduce((sum, _, x) => sum + (x - middle) ** 2, 0);
  Object.assign(report, { residentKiB: memory, slopeKiBPerMinute: Math.round(slope * 6) });
}
console.log(JSON.stringify({ ...report, errors: report.errors.slice(0, 20) }));
process.exit(report.errors.length ? 1 : 0);
