// Servers of other makes: one starter a make. interop/peers/setup makes the programs; SERVERS says what each speaks. Each has the handlers that
// CONTRACT.md lists for them, and nothing else.
//   node interop/peers/servers.mjs [NAME|CASE..]    plays the cases with JavaScript's clients, ten times each, and writes recorded.json anew
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Server, within } from "../harness.mjs";

const require = createRequire(import.meta.url);
const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const recorded = file("recorded.json");

const java = (directory, main) => ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dio.netty.leakDetection.level=disabled", "-cp",
  `${file(`java/${directory}/classes`)}:${file(`java/${directory}/lib`)}/*`, main];
const python = (venv, script) => ({ words: [file(`${venv}/bin/python`), file(`python/${script}`)], needs: file(`${venv}/stamp`) });
const go = (program) => ({ words: [file(`go/bin/${program}`)], needs: file(`go/bin/${program}.stamp`) });

/**
 * Those with `all` are played by `./test --all` alone, which exports SIO_ALL. Some lose a packet or end a connection now and then, whoever
 * the client: there each case has several tries.
 */
export const SERVERS = [
  { name: "netty-socketio 2.0.13", revisions: [4, 3], tries: 3, words: java("server-netty", "NettyServer"), needs: file("java/.stamp") },
  { name: "python-socketio 5.18.1", revisions: [4], ...python("../.venv", "server.py") },
  { name: "python-socketio 4.6.1", revisions: [3], tries: 3, ...python("python/.venv-4", "server.py") },
  { name: "socket.io-server 4.0.1", revisions: [4, 3], all: true, tries: 3, words: java("server-io", "IoServer"), needs: file("java/server-io/.stamp") },
  { name: "Flask-SocketIO 5.7.0", revisions: [4], all: true, ...python("python/.venv-flask", "flask-server.py") },
  { name: "socketioxide 0.18.9", revisions: [4], all: true, words: [file("socketioxide/target/debug/server")], needs: file("socketioxide/target/stamp") },
  { name: "zishang520/socket.io 3.0.6", revisions: [4, 3], all: true, ...go("zishang-server") },
  { name: "googollee/go-socket.io 1.7.0", revisions: [3], all: true, tries: 3, ...go("googollee-server") },
];

export const WAYS = { polling: ["polling"], websocket: ["websocket"], default: ["polling", "websocket"] };
export const lacks = ({ needs }) => (existsSync(needs) ? false : "interop/peers/setup has not made it");
/** What JavaScript's clients did: how many of ten passed; the first failure ends it. */
export const record = () => JSON.parse(readFileSync(recorded));

/** Heartbeats are quick, and nothing runs out on a busy machine. */
const OPTIONS = { maxHttpBufferSize: 4_000_000, pingInterval: 300, pingTimeout: 20_000 };

/** A server, which is started again at its port when it ends by itself. */
export async function start({ words }) {
  let server, stopped;
  // A JVM on a busy machine needs its time.
  const begin = async (port) => (server = await Server.start(OPTIONS, {}, words, port, 60_000));
  let begun = begin(0);
  const { url, port } = await begun;
  const watch = async () => {
    await server.exited;
    if (stopped) return;
    begun = begin(port);
    await begun;
    watch();
  };
  watch();
  const stop = async () => {
    stopped = true;
    await begun;
    await server.stop();
  };
  return { url, stop };
}

const MEGABYTE = 1_000_000;
/** How long JavaScript's clients have: a machine with other things to do must not decide. */
const PATIENCE = 20_000;

/** The cases for JavaScript's clients; examples/interop_client/plain.rs has the same as scenarios "plain ..". */
export const CASES = {
  text: (socket) => texts(socket, ["plain", "", '"\\\n']),
  unicode: (socket) => texts(socket, ["é", "€", "🦀", "é€🦀\u2028"]),
  "large text": (socket) => texts(socket, ["x".repeat(MEGABYTE)]),
  bytes: (socket) => bytes(socket, [1, 57, 1000]),
  "large bytes": (socket) => bytes(socket, [MEGABYTE]),
  async acks(socket) {
    assert.equal(await answer(socket, "ack", "b"), "b");
    socket.once("question", (_, ack) => ack("me"));
    const answered = next(socket, "answered");
    socket.emit("ask", "who");
    assert.deepEqual(await answered, ["me"]);
  },
  /** Other things may come before the answer, on both sides. */
  async "late acks"(socket) {
    assert.deepEqual(await Promise.all([answer(socket, "later", "a"), answer(socket, "ack", "b")]), ["a", "b"]);
    const question = next(socket, "question");
    const answered = next(socket, "answered");
    socket.emit("ask", "who");
    const [, ack] = await question;
    await echoed(socket, "echo", "meanwhile");
    ack("me");
    assert.deepEqual(await answered, ["me"]);
  },
  /** Those with two transports move meanwhile. */
  async order(socket) {
    const seen = [];
    const all = new Promise((resolve) => socket.on("echo", (text) => seen.push(text) === 5000 && resolve()));
    const sent = Array.from({ length: 5000 }, (_, n) => `${n}`);
    sent.forEach((text) => socket.emit("echo", text));
    await within(all, "5,000 echoes", 6 * PATIENCE);
    assert.deepEqual(seen, sent);
  },
  async namespaces(socket) {
    const admin = socket.io.socket("/admin");
    await next(admin, "connect");
    await echoed(admin, "echo", "admin");
    admin.disconnect();
    await echoed(socket, "echo", "main");
  },
  async refusal(socket) {
    const guarded = socket.io.socket("/guarded", { auth: { token: "wrong" } });
    const refused = Promise.any([next(guarded, "connect_error"), next(guarded, "error")]);
    await refused;
    await echoed(socket, "echo", "main");
  },
  async rooms(socket) {
    await answer(socket, "join", "room");
    const news = next(socket, "news");
    socket.emit("news", "elsewhere");
    socket.emit("news", "room");
    assert.deepEqual(await news, ["room"]);
  },
  async "server leaves"(socket) {
    const left = next(socket, "disconnect");
    socket.emit("leave me", false);
    assert.equal((await left)[0], "io server disconnect");
  },
  /** And comes back, which 2.5 does not until all is over. */
  async "client leaves"(socket) {
    const over = next(socket.io.engine, "close");
    socket.disconnect();
    await over;
    socket.connect();
    await next(socket, "connect");
    assert.equal(await answer(socket, "ack", "back"), "back");
  },
  /** What is volatile may be dropped; 2.5 has nothing of the kind. */
  async volatile(socket) {
    const seen = [];
    const end = new Promise((resolve) => socket.on("echo", (text) => seen.push(text) && text === "end" && resolve()));
    (socket.volatile ?? socket).emit("echo", "now");
    socket.emit("echo", "end");
    await within(end, "an echo", PATIENCE);
    assert.deepEqual(seen.filter((text) => text !== "now"), ["end"]);
  },
  async heartbeats(socket, revision) {
    for (let n = 0; n < 3; n++) await next(socket.io, revision === 4 ? "ping" : "pong");
    await echoed(socket, "echo", "alive");
  },
  /** The server ends, and is started again. */
  async restart(socket) {
    socket.io.reconnection(true);
    socket.io.reconnectionDelay(50);
    const lost = next(socket, "disconnect");
    socket.emit("end");
    await lost;
    await next(socket, "connect");
    await echoed(socket, "echo", "again");
  },
};

/** Not beside others: 5,000 at once take all of a slow server, and one that ends takes all connections along. */
export const ALONE = ["order", "restart"];

const next = (socket, event) => within(new Promise((resolve) => socket.once(event, (...args) => resolve(args))), `"${event}"`, PATIENCE);
const answer = (socket, event, value) => within(new Promise((resolve) => socket.emit(event, value, resolve)), "an answer", PATIENCE);
async function echoed(socket, event, value) {
  const back = next(socket, event);
  socket.emit(event, value);
  const [got] = await back;
  assert.deepEqual(typeof got === "string" ? got : Buffer.from(got), value);
}
async function texts(socket, all) {
  for (const text of all) await echoed(socket, "echo", text);
}
async function bytes(socket, sizes) {
  for (const size of sizes) await echoed(socket, "echo bytes", Buffer.from(Array.from({ length: size }, (_, n) => n % 251)));
}

async function play(url, revision, way, name) {
  const io = revision === 4 ? require("socket.io-client").io : require("socket.io-client-v2");
  const socket = io(url, { transports: WAYS[way], forceNew: true, reconnection: false });
  try {
    await next(socket, "connect");
    await CASES[name](socket, revision);
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

/** For each way the verdicts of these cases, all ways beside each other. */
async function verdicts(one, server, ways, names) {
  const all = ways.map(async ([revision, way]) => {
    const passed = {};
    for (const name of names) passed[name] = await verdict(one, server, revision, way, name);
    return passed;
  });
  return Promise.all(all);
}

async function withServer(one, play) {
  const server = await start(one);
  try {
    return await play(server);
  } finally {
    await server.stop();
  }
}

/** What needs a server alone has a new one: some are busy for long with what clients have left behind. */
async function recordOne(one, cases) {
  const ways = one.revisions.flatMap((revision) => Object.keys(WAYS).map((way) => [revision, way]));
  const together = await withServer(one, (server) => verdicts(one, server, ways, cases.filter((name) => !ALONE.includes(name))));
  const passed = {};
  for (const [n, way] of ways.entries()) {
    const alone = await withServer(one, (server) => verdicts(one, server, [way], cases.filter((name) => ALONE.includes(name))));
    passed[way.join(" ")] = { ...together[n], ...alone[0] };
  }
  return passed;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const wanted = process.argv.slice(2);
  const chosen = (all) => (all.some((name) => wanted.includes(name)) ? all.filter((name) => wanted.includes(name)) : all);
  const names = chosen(SERVERS.map(({ name }) => name));
  const version = (name) => require(`${name}/package.json`).version;
  const clients = { 4: version("socket.io-client"), 3: version("socket.io-client-v2") };
  for (const one of SERVERS.filter((one) => !lacks(one) && names.includes(one.name))) {
    const verdicts = await recordOne(one, chosen(Object.keys(CASES)));
    const { passed } = record();
    const now = (passed[one.name] ??= {});
    for (const [way, counts] of Object.entries(verdicts)) now[way] = { ...now[way], ...counts };
    writeFileSync(recorded, `${JSON.stringify({ clients, passed }, null, 1)}\n`);
  }
}
