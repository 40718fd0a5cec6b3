// Servers of other makes: one starter a make. interop/peers/setup makes the programs; SERVERS says what each speaks.
//   node interop/peers/servers.mjs    plays the cases with JavaScript's clients, ten times each, and writes recorded.json anew
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Server, once, within } from "../harness.mjs";

const require = createRequire(import.meta.url);
const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const recorded = file("recorded.json");

export const SERVERS = [
  {
    name: "netty-socketio 2.0.13",
    revisions: [4, 3],
    words: ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dio.netty.leakDetection.level=disabled", "-cp",
      `${file("java/server-netty/classes")}:${file("java/server-netty/lib")}/*`, "NettyServer"],
    needs: file("java/.stamp"),
  },
];

export const WAYS = { polling: ["polling"], websocket: ["websocket"], default: ["polling", "websocket"] };
export const lacks = ({ needs }) => (existsSync(needs) ? false : "interop/peers/setup has not made it");
/** One that takes a megabyte; a JVM on a busy machine needs its time. */
export const start = ({ words }) => Server.start({ maxHttpBufferSize: 4_000_000 }, {}, words, 0, 60_000);
/** What JavaScript's clients did: how many of ten passed; the first failure ends it. */
export const record = () => JSON.parse(readFileSync(recorded));

/** The cases for JavaScript's clients; examples/interop_client.rs has the same as scenarios "plain ..". */
export const CASES = {
  async text(socket) {
    for (const text of ["plain", "é€🦀\u2028\"\\\n", "", "x".repeat(1_000_000)]) await echoed(socket, "echo", text);
  },
  async bytes(socket) {
    for (const size of [1, 57, 1000, 1_000_000]) await echoed(socket, "echo bytes", Buffer.from(Array.from({ length: size }, (_, n) => n % 251)));
  },
  async acks(socket) {
    assert.equal(await answer(socket, "ack", "é"), "é");
    socket.once("question", (_, ack) => ack("me"));
    const answered = next(socket, "answered");
    socket.emit("ask", "who");
    assert.equal((await answered).at(-1), "me");
  },
  async order(socket) {
    const seen = [];
    const all = new Promise((resolve) => socket.on("echo", (text) => seen.push(text) === 5000 && resolve()));
    const sent = Array.from({ length: 5000 }, (_, n) => `${n}`);
    sent.forEach((text) => socket.emit("echo", text));
    await within(all, "5,000 echoes");
    assert.deepEqual(seen, sent);
  },
  async namespaces(socket) {
    const admin = socket.io.socket("/admin");
    admin.connect();
    await once(admin, "connect");
    await echoed(admin, "echo", "admin");
    admin.disconnect();
    await echoed(socket, "echo", "main");
  },
  async rooms(socket) {
    await answer(socket, "join", "room");
    const news = next(socket, "news");
    socket.emit("news", "elsewhere");
    socket.emit("news", "room");
    assert.deepEqual(await news, ["room"]);
  },
  async volatile(socket) {
    socket.volatile.emit("echo", "now");
  },
  async "server leaves"(socket) {
    const left = next(socket, "disconnect");
    socket.emit("leave me", false);
    await left;
  },
};

const next = (socket, event) => within(new Promise((resolve) => socket.once(event, (...args) => resolve(args))), `"${event}"`);
const answer = (socket, event, value) => within(new Promise((resolve) => socket.emit(event, value, resolve)), "an answer");
async function echoed(socket, event, value) {
  const back = next(socket, event);
  socket.emit(event, value);
  const [got] = await back;
  assert.deepEqual(typeof got === "string" ? got : Buffer.from(got), value);
}

async function play(url, revision, way, name) {
  const io = revision === 4 ? require("socket.io-client").io : require("socket.io-client-v2");
  const socket = io(url, { transports: WAYS[way], forceNew: true, reconnection: false });
  try {
    await once(socket, "connect");
    await CASES[name](socket);
  } finally {
    socket.disconnect();
  }
}

/** How many of ten passed; each failure takes its deadline, so the first ends it. */
async function verdict(one, server, revision, way, name) {
  for (let n = 0; n < 10; n++) {
    try {
      await play(server.url, revision, way, name);
    } catch (error) {
      console.log(`${one.name}, Engine.IO ${revision}, ${way}, ${name}: ${error.message.slice(0, 100)}`);
      return n;
    }
  }
  return 10;
}

async function verdicts(one, server, revision, way) {
  const passed = {};
  for (const name of Object.keys(CASES)) passed[name] = await verdict(one, server, revision, way, name);
  return passed;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const version = (name) => require(`${name}/package.json`).version;
  const clients = { 4: version("socket.io-client"), 3: version("socket.io-client-v2") };
  const passed = {};
  for (const one of SERVERS.filter((one) => !lacks(one))) {
    const server = await start(one);
    try {
      const rows = one.revisions.flatMap((revision) => Object.keys(WAYS).map((way) => [revision, way]));
      const played = rows.map(async ([revision, way]) => [`${revision} ${way}`, await verdicts(one, server, revision, way)]);
      passed[one.name] = Object.fromEntries(await Promise.all(played));
      writeFileSync(recorded, `${JSON.stringify({ clients, passed }, null, 1)}\n`);
    } finally {
      await server.stop();
    }
  }
}
