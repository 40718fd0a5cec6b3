// Connection state recovery with the official client, and raw.
import assert from "node:assert/strict";
import net from "node:net";
import { describe, it } from "node:test";
import { io } from "socket.io-client";
import { Ws, expected, once, within, withServer } from "../harness.mjs";

const ON = { connectionStateRecovery: {} };
const ask = (socket, event, ...args) => within(new Promise((resolve) => socket.emit(event, ...args, resolve)), event);

async function connected(server, path = "", options = {}) {
  const socket = io(server.url + path, { forceNew: true, reconnectionDelay: 20, transports: ["websocket"], ...options });
  await once(socket, "connect");
  return socket;
}

/** Loses the connection without a word; `meanwhile` runs before the client is back. */
async function lose(server, socket, meanwhile = async () => {}) {
  const { id } = socket;
  socket.io.reconnection(false);
  const gone = once(socket, "disconnect");
  socket.io.engine.transport.ws?.terminate() ?? socket.io.engine.close();
  await gone;
  await server.fact("disconnect", (fact) => fact.id === id);
  await meanwhile();
  socket.io.reconnection(true);
  const back = once(socket, "connect");
  socket.connect();
  await back;
}

describe("recovery", { concurrency: true }, () => {
  it("S059 the private id and offsets on the wire", withServer(ON, {}, async (server) => {
    const ws = await Ws.open(server);
    await ws.next();
    ws.send("40");
    const { sid, pid } = JSON.parse((await ws.next()).slice(2));
    assert.ok(typeof pid === "string" && pid !== sid);
    ws.send('42["emit with",{},1,"plain",{"a":1}]');
    const [name, value, offset, ...rest] = JSON.parse((await ws.next()).slice(2));
    assert.deepEqual([name, value, typeof offset, rest], ["plain", { a: 1 }, "string", []]);
    ws.send('42["emit with",{"volatile":true},1,"volatile",1]');
    assert.equal(await ws.next(), '42["volatile",1]');
    ws.send('42["ask",1,0]');
    assert.equal(await ws.next(), '420["question",1]');
    ws.send('421["ack","a"]');
    assert.equal(await ws.next(), '431["a"]');
    ws.socket.terminate();
  }));

  it("S060 S065 M66 id, rooms, data and missed events come back, in order, before connect", withServer(ON, {}, async (server) => {
    const other = await connected(server);
    for (const transports of [["websocket"], ["polling"]]) {
      const socket = await connected(server, "", { transports });
      const { id } = socket;
      assert.equal(socket.recovered, false);
      await ask(socket, "join", "room");
      await ask(socket, "set data", { name: "Ada" });
      const got = [];
      socket.onAny((name, ...args) => got.push([name, args[0]]));
      socket.on("connect", () => got.push(["connect"]));
      socket.emit("echo", "first");
      await once(socket, "echo");
      await lose(server, socket, async () => {
        for (let i = 0; i < 5; i++) other.emit("emit to", ["room"], [], "missed", { i, bytes: Buffer.from([i]) });
        other.emit("emit to", [id], [], "missed", "alone");
        other.emit("emit to", ["elsewhere"], [], "missed", "not for us");
        other.emit("emit to", ["room"], ["room"], "missed", "except us");
        await ask(other, "ack", 1);
      });
      assert.deepEqual([socket.recovered, socket.id], [true, id]);
      const missed = [0, 1, 2, 3, 4].map((i) => ["missed", { i, bytes: Buffer.from([i]) }]);
      assert.deepEqual(got, [["echo", "first"], ...missed, ["missed", "alone"], ["connect"]]);
      assert.deepEqual((await ask(socket, "join", [])).sort(), [id, "room"].sort());
      const [described] = await ask(socket, "sockets", id);
      assert.deepEqual(described.data, { name: "Ada" });
      socket.disconnect();
    }
    other.disconnect();
  }));

  it("S061 volatile events and those with an ack are not repeated", withServer(ON, {}, async (server) => {
    const [socket, other] = [await connected(server), await connected(server)];
    await ask(socket, "join", "room");
    const got = [];
    socket.on("sum", () => got.push("sum"));
    socket.on("missed", (value) => got.push(value));
    socket.emit("echo", 1);
    await once(socket, "echo");
    await lose(server, socket, async () => {
      await ask(other, "gather", "room", 20);
      other.emit("emit to", ["room"], [], "missed", "yes");
      await ask(other, "ack", 1);
    });
    assert.equal(socket.recovered, true);
    assert.deepEqual(got, ["yes"]);
    for (const one of [socket, other]) one.disconnect();
  }));

  it("S062 a bad offset, an unknown id and a late client", withServer({ connectionStateRecovery: { maxDisconnectionDuration: 100 } }, {}, async (server) => {
    const open = async (auth) => {
      const ws = await Ws.open(server);
      await ws.next();
      ws.send(`40${JSON.stringify(auth)}`);
      const welcome = JSON.parse((await ws.next()).slice(2));
      ws.send('42["emit with",{},1,"x",1]');
      const offset = JSON.parse((await ws.next()).slice(2))[2];
      ws.socket.terminate();
      await server.fact("disconnect", ({ id }) => id === welcome.sid);
      return { ...welcome, offset };
    };
    const first = await open({});
    for (const auth of [{ pid: first.pid, offset: "nothing" }, { pid: "nobody", offset: first.offset }, { pid: first.pid, offset: 1 }]) {
      const answer = await open(auth);
      assert.notEqual(answer.sid, first.sid, JSON.stringify(auth));
    }
    const second = await open({});
    await new Promise((resolve) => setTimeout(resolve, 300));
    const late = await open({ pid: second.pid, offset: second.offset });
    assert.notEqual(late.sid, second.sid);
  }));

  it("S063 who left, or was sent away, starts anew", withServer(ON, {}, async (server) => {
    const socket = await connected(server);
    socket.emit("echo", 1);
    await once(socket, "echo");
    const { id } = socket;
    socket.disconnect();
    await server.fact("disconnect", (fact) => fact.id === id);
    let back = once(socket, "connect");
    socket.connect();
    await back;
    assert.deepEqual([socket.recovered, socket.id === id], [false, false]);
    const gone = once(socket, "disconnect");
    socket.emit("echo", 1);
    await once(socket, "echo");
    const { id: second } = socket;
    socket.emit("leave me", false);
    assert.equal((await gone)[0], "io server disconnect");
    back = once(socket, "connect");
    socket.connect();
    await back;
    assert.deepEqual([socket.recovered, socket.id === second], [false, false]);
    socket.disconnect();
  }));

  it("S064 middlewares are skipped, or run again", async () => {
    for (const [skipMiddlewares, asked] of [[true, 1], [false, 2]]) {
      await withServer({ connectionStateRecovery: { skipMiddlewares } }, {}, async (server) => {
        const socket = await connected(server, "/guarded", { auth: { token: "ok" } });
        socket.emit("echo", 1);
        await once(socket, "echo");
        await lose(server, socket);
        assert.equal(socket.recovered, true);
        for (let i = 0; i < asked; i++) await server.fact("asked");
        const more = server.fact("asked").then(() => true);
        await ask(socket, "ack", 1);
        assert.equal(await Promise.race([more, Promise.resolve(false)]), false);
        more.catch(() => {});
        socket.disconnect();
      })();
    }
  });

  it("a client that is back before the server has noticed", withServer(ON, {}, async (server) => {
    const other = await connected(server);
    const first = await Ws.open(server);
    await first.next();
    first.send("40");
    const { sid, pid } = JSON.parse((await first.next()).slice(2));
    first.send('42["echo","x"]');
    const offset = JSON.parse((await first.next()).slice(2))[2];
    // This goes to a connection that nobody listens to any more.
    other.emit("emit to", [], [], "missed", 1);
    await first.next();
    const second = await Ws.open(server);
    await second.next();
    second.send(`40${JSON.stringify({ pid, offset })}`);
    const answer = await second.next();
    if (expected({ reference: true, ours: false })) {
      assert.notEqual(JSON.parse(answer.slice(2)).sid, sid);
    } else {
      assert.deepEqual(JSON.parse(answer.slice(2)).slice(0, 2), ["missed", 1]);
      assert.equal(JSON.parse((await second.next()).slice(2)).sid, sid);
      assert.equal(await first.ended(), 1005);
    }
    second.socket.terminate();
    other.disconnect();
  }));

  // The client has some of what it missed, and does not say so; what it kept while it was offline is handled all the same.
  it("a client whose answer was cut ahead of CONNECT loses and doubles nothing", withServer(ON, {}, async (server) => {
    const other = await connected(server);
    for (const transports of [["websocket"], ["polling"]]) {
      const relay = await Relay.start(server.port);
      const socket = await connected({ url: relay.url }, "", { transports });
      const got = [];
      socket.on("missed", (n) => got.push(n));
      socket.emit("echo", "first");
      await once(socket, "echo");
      let acks;
      relay.cutAheadOfConnect(1);
      await lose(server, socket, async () => {
        for (let n = 1; n <= 3; n++) other.emit("emit to", [], [], "missed", n);
        await ask(other, "ack", 1);
        acks = Promise.all([1, 2, 3, 4].map((n) => ask(socket, "ack", n)));
      });
      assert.deepEqual(await acks, [[1], [2], [3], [4]].map(([n]) => n));
      other.emit("emit to", [], [], "missed", 4);
      while (got.at(-1) !== 4) await once(socket, "missed");
      const doubled = transports[0] === "websocket" && expected({ reference: true, ours: false });
      assert.deepEqual(got, doubled ? [1, 2, 3, 1, 2, 3, 4] : [1, 2, 3, 4]);
      assert.equal(relay.cuts, 1);
      socket.disconnect();
      relay.stop();
    }
    other.disconnect();
  }));
});

/** Passes bytes on, and cuts connections ahead of the packet CONNECT as often as it is told. */
class Relay {
  cuts = 0;
  #due = 0;

  static async start(port) {
    const relay = new Relay();
    relay.listener = net.createServer((client) => {
      const server = net.connect({ port, host: "127.0.0.1" });
      const end = () => [client, server].forEach((socket) => socket.destroy());
      [client, server].forEach((socket) => socket.on("error", end).on("close", end).setNoDelay(true));
      client.on("data", (bytes) => server.write(bytes));
      server.on("data", (bytes) => {
        const at = relay.#due > 0 ? bytes.indexOf('40{"sid"') : -1;
        if (at < 0) return client.write(bytes);
        relay.#due -= 1;
        relay.cuts += 1;
        // With the head of the WebSocket's frame.
        client.write(bytes.subarray(0, at - 2), end);
      });
    });
    await new Promise((resolve) => relay.listener.listen(0, "127.0.0.1", resolve));
    relay.url = `http://127.0.0.1:${relay.listener.address().port}`;
    return relay;
  }

  cutAheadOfConnect(times) {
    this.#due += times;
  }

  stop() {
    this.listener.close();
  }
}
