// Volatile events: at which moments they are dropped, by the reference and by this server and its client. Each drops what
// cannot leave now. The reference also drops what stands behind anything that it has written in the same tick; this server
// does not. What differs has its rows in docs/protocol-notes.md.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { HANDSHAKE, Server, Ws, expected, get, once, open, post } from "../harness.mjs";

const RS = "\x1e";
const v = (n) => `42["v",${n}]`;
const emits = (how, times, value = 1) => `42["emit with",${JSON.stringify(how)},${times},"v",${value}]`;
const VOLATILE = emits({ volatile: true }, 1);
const SEVERAL = emits({ volatile: true }, 3);
const BEHIND_ORDINARY = emits({ volatile: true, first: true }, 1);
const END = '42["echo","end"]';
const DROPPED = [];

// --- The server, over polling ---

/** The path of a polling client with the main namespace joined. */
async function joined(server) {
  const { path } = await open(server);
  await post(server, path, "40");
  await get(server, path);
  return path;
}

/** A GET that waits at the server: what is asked behind it has been answered. `{answer}`, not to await it. */
async function waitingGet(server, path) {
  const answer = get(server, path).then(({ body }) => body.split(RS));
  for (let i = 0; i < 3; i++) await get(server, "/app");
  return { answer };
}

/** What comes, packet by packet, up to the echo that marks the end. */
async function rest(server, path) {
  await post(server, path, END);
  const packets = [];
  while (packets.at(-1) !== END) packets.push(...(await get(server, path)).body.split(RS));
  return packets.slice(0, -1);
}

/** What an event brings to a client whose GET waits. */
async function whileAGetWaits(server, event) {
  const path = await joined(server);
  const { answer } = await waitingGet(server, path);
  await post(server, path, event);
  return [...(await answer), ...(await rest(server, path))];
}

/** What an event brings to a client whose GET does not. */
async function whileNoGetWaits(server, event) {
  const path = await joined(server);
  await post(server, path, event);
  return rest(server, path);
}

describe("volatile events of the server over polling", { concurrency: false }, () => {
  let server;
  before(async () => (server = await Server.start()));
  after(() => server.stop());

  it("one arrives while a GET waits", async () => {
    assert.deepEqual(await whileAGetWaits(server, VOLATILE), [v(1)]);
  });

  it("one is dropped while none waits", async () => {
    assert.deepEqual(await whileNoGetWaits(server, VOLATILE), DROPPED);
  });

  it("several at once while a GET waits", async () => {
    const whole = [v(1), v(1), v(1)];
    assert.deepEqual(await whileAGetWaits(server, SEVERAL), expected({ reference: [v(1)], ours: whole }));
  });

  it("several at once are dropped while none waits", async () => {
    assert.deepEqual(await whileNoGetWaits(server, SEVERAL), DROPPED);
  });

  it("one behind an ordinary event while a GET waits", async () => {
    const got = await whileAGetWaits(server, BEHIND_ORDINARY);
    assert.deepEqual(got, expected({ reference: ['42["first"]'], ours: ['42["first"]', v(1)] }));
  });

  it("one behind an ordinary event is dropped while none waits", async () => {
    assert.deepEqual(await whileNoGetWaits(server, BEHIND_ORDINARY), ['42["first"]']);
  });

  it("what an earlier packet of the same body has answered", async () => {
    const got = await whileAGetWaits(server, `42["echo","a"]${RS}${VOLATILE}`);
    assert.deepEqual(got, expected({ reference: ['42["echo","a"]'], ours: ['42["echo","a"]', v(1)] }));
  });

  it("an ordinary event behind a dropped one arrives", async () => {
    assert.deepEqual(await whileNoGetWaits(server, `${VOLATILE}${RS}42["echo","a"]`), ['42["echo","a"]']);
  });

  it("a second one waits for no second GET", async () => {
    const path = await joined(server);
    const { answer } = await waitingGet(server, path);
    await post(server, path, VOLATILE);
    assert.deepEqual(await answer, [v(1)]);
    await post(server, path, emits({ volatile: true }, 1, 2));
    assert.deepEqual(await rest(server, path), DROPPED);
  });

  it("one with bytes arrives whole", async () => {
    const event = '451-["emit with",{"volatile":true},1,"v",{"_placeholder":true,"num":0}]';
    const got = await whileAGetWaits(server, `${event}${RS}bAQID`);
    assert.deepEqual(got, ['451-["v",{"_placeholder":true,"num":0}]', "bAQID"]);
  });

  it("a broadcast reaches those whose GET waits", async () => {
    const path = await joined(server);
    const other = await joined(server);
    const { answer } = await waitingGet(server, path);
    await post(server, other, emits({ volatile: true, local: true }, 1));
    assert.deepEqual(await answer, [v(1)]);
    assert.deepEqual(await rest(server, other), DROPPED);
  });

  it("one right after CONNECT while a GET waits", async () => {
    const { path } = await open(server);
    const { answer } = await waitingGet(server, path);
    await post(server, path, '40{"greet":true}');
    const [connect, ...behind] = await answer;
    assert.match(connect, /^40\{/);
    const got = [...behind, ...(await rest(server, path))];
    assert.deepEqual(got, expected({ reference: DROPPED, ours: ['42["greeting"]'] }));
  });

  it("one right after CONNECT is dropped while none waits", async () => {
    const { path } = await open(server);
    await post(server, path, '40{"greet":true}');
    const [connect, ...got] = await rest(server, path);
    assert.match(connect, /^40\{/);
    assert.deepEqual(got, DROPPED);
  });

  it("during an upgrade and behind it", async () => {
    const path = await joined(server);
    const sid = new URL(path, "http://h").searchParams.get("sid");
    const ws = await Ws.open(server, `EIO=4&transport=websocket&sid=${sid}`);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    await post(server, path, emits({ volatile: true }, 1, 1));
    ws.send("5");
    ws.send(END);
    assert.equal(await ws.next(), END);
    ws.send(emits({ volatile: true }, 1, 2));
    assert.equal(await ws.next(), v(2));
    ws.socket.terminate();
  });
});

// --- The server, over WebSocket ---

/** What an event brings over WebSocket. */
async function overWebSocket(server, ...messages) {
  const ws = await Ws.connect(server);
  for (const message of messages) ws.send(message);
  const got = await untilEnd(ws);
  ws.socket.terminate();
  return got;
}

async function untilEnd(ws) {
  ws.send(END);
  const got = [];
  while (got.at(-1) !== END) got.push(await ws.next());
  return got.slice(0, -1);
}

describe("volatile events of the server over WebSocket", { concurrency: false }, () => {
  let server;
  before(async () => (server = await Server.start()));
  after(() => server.stop());

  it("one arrives", async () => {
    assert.deepEqual(await overWebSocket(server, VOLATILE), [v(1)]);
  });

  it("several at once", async () => {
    const whole = [v(1), v(1), v(1)];
    assert.deepEqual(await overWebSocket(server, SEVERAL), expected({ reference: [v(1)], ours: whole }));
  });

  it("one behind an ordinary event", async () => {
    const got = await overWebSocket(server, BEHIND_ORDINARY);
    assert.deepEqual(got, expected({ reference: ['42["first"]'], ours: ['42["first"]', v(1)] }));
  });

  it("an ordinary event behind one arrives", async () => {
    assert.deepEqual(await overWebSocket(server, VOLATILE, '42["echo","a"]'), [v(1), '42["echo","a"]']);
  });

  it("one with bytes arrives whole", async () => {
    const event = '451-["emit with",{"volatile":true},1,"v",{"_placeholder":true,"num":0}]';
    const got = await overWebSocket(server, event, Buffer.from([1, 2, 3]));
    assert.deepEqual(got, ['451-["v",{"_placeholder":true,"num":0}]', Buffer.from([1, 2, 3])]);
  });

  it("a broadcast reaches all, the sender too", async () => {
    const [one, other] = [await Ws.connect(server), await Ws.connect(server)];
    one.send(emits({ volatile: true, local: true }, 1));
    assert.deepEqual([await one.next(), await other.next()], [v(1), v(1)]);
    for (const ws of [one, other]) ws.socket.terminate();
  });

  it("several broadcasts at once", async () => {
    const [one, other] = [await Ws.connect(server), await Ws.connect(server)];
    one.send(emits({ volatile: true, local: true }, 3));
    const each = expected({ reference: [v(1)], ours: [v(1), v(1), v(1)] });
    assert.deepEqual([await untilEnd(one), await untilEnd(other)], [each, each]);
    for (const ws of [one, other]) ws.socket.terminate();
  });

  it("one right after CONNECT", async () => {
    const ws = await Ws.open(server);
    assert.match(await ws.next(), /^0\{/);
    ws.send('40{"greet":true}');
    assert.match(await ws.next(), /^40\{/);
    assert.deepEqual(await untilEnd(ws), expected({ reference: DROPPED, ours: ['42["greeting"]'] }));
    ws.socket.terminate();
  });
});

// --- The clients ---

const WAYS = [["polling"], ["websocket"], ["polling", "websocket"]];
const ROUNDS = 10;

/** The scenario "volatile moments" by JavaScript's client. */
async function momentsOfJavaScript(server, transports) {
  const socket = io(server.url, { transports, autoConnect: false, reconnectionDelay: 20, forceNew: true });
  const arrivals = echoes(socket);
  const attempt = (moment) => socket.volatile.emit("echo", moment);
  socket.once("connect", () => attempt("connect"));
  socket.once("disconnect", () => attempt("away"));
  attempt("before");
  socket.connect();
  await once(socket, "connect");
  if (transports.length > 1 && socket.io.engine.transport.name === "polling") await once(socket.io.engine, "upgrade");
  const other = socket.io.socket("/admin").disconnect();
  await writable(socket);
  other.volatile.emit("echo", "not joined");
  other.connect();
  const arrived = await echoes(other)();
  other.disconnect();
  for (let round = 0; round < ROUNDS; round++) {
    for (const moment of ["alone", "several", "after"]) {
      await writable(socket);
      if (moment === "after") socket.emit("last", moment, 0);
      for (let n = 0; n < (moment === "several" ? 3 : 1); n++) attempt(moment);
      for (const [name, count] of Object.entries(await arrivals())) {
        arrived[name] = Math.max(arrived[name] ?? 0, count);
      }
    }
  }
  socket.io.engine.close();
  await once(socket, "connect");
  Object.assign(arrived, await arrivals());
  socket.disconnect();
  return arrived;
}

/** Once all that was emitted has been written. */
async function writable({ io: { engine } }) {
  while (!engine.transport.writable || engine.writeBuffer.length) await new Promise(setImmediate);
}

/** Tells what has been echoed since the last time, and how often. */
function echoes(socket) {
  const arrived = [];
  socket.on("echo", (moment) => arrived.push(moment));
  return async () => {
    socket.emit("echo", "end");
    while (arrived.at(-1) !== "end") await once(socket, "echo");
    const counts = {};
    for (const moment of arrived.splice(0).slice(0, -1)) counts[moment] = (counts[moment] ?? 0) + 1;
    return counts;
  };
}

const client =
  process.env.SIO_CLIENT ?? fileURLToPath(new URL("../../target/release/examples/interop_client", import.meta.url));

const momentsOfOurs = (server, transports) =>
  new Promise((resolve, reject) => {
    const args = ["--url", server.url, "--scenario", "volatile moments", "--transports", transports.join()];
    execFile(client, args, { timeout: 60_000 }, (error, stdout, stderr) =>
      error ? reject(new Error(stderr || error)) : resolve(JSON.parse(stdout).arrived),
    );
  });

/** What arrives in both clients; right after CONNECT over polling only if its POST has been answered by then. */
const alike = (transports, { connect = 0, ...arrived }) =>
  transports[0] === "websocket" ? { connect, ...arrived } : arrived;

describe("volatile events of the clients", { concurrency: false }, () => {
  let server;
  before(async () => (server = await Server.start()));
  after(() => server.stop());

  for (const transports of WAYS) {
    const both = alike(transports, { connect: 1, alone: 1 });

    it(`of JavaScript, over ${transports}`, async () => {
      const kept = transports.includes("websocket") ? { "not joined": 1, away: 1 } : { "not joined": 1 };
      const arrived = alike(transports, await momentsOfJavaScript(server, transports));
      assert.deepEqual(arrived, { ...both, several: 1, ...kept });
    });

    it(`of this project, over ${transports}`, { skip: !existsSync(client) && "there is no interop_client here" }, async () => {
      const arrived = alike(transports, await momentsOfOurs(server, transports));
      assert.deepEqual(arrived, { ...both, several: 3, after: 1 });
    });
  }
});
