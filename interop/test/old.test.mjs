// Clients of version 1 and 2: revision 3 of Engine.IO, and JSONP.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import ioV1 from "socket.io-client-v1";
import ioV2 from "socket.io-client-v2";
import { Ws, get, once, post, request, within, withServer } from "../harness.mjs";

const OLD = { allowEIO3: true };
const EIO3 = "/socket.io/?EIO=3&transport=polling";

/** Splits a payload of revision 3. */
function packets(payload) {
  const all = [];
  for (let rest = payload; rest; ) {
    const [length] = rest.split(":", 1);
    all.push(rest.substr(length.length + 1, Number(length)));
    rest = rest.slice(length.length + 1 + Number(length));
  }
  return all;
}

/** Opens a session of revision 3; its CONNECT may come with the open packet or with the next GET. */
async function openOld(server, more = "") {
  const answer = await get(server, EIO3 + more);
  const [first, ...rest] = packets(answer.body);
  const data = JSON.parse(first.slice(1));
  const path = `${EIO3}${more}&sid=${data.sid}`;
  if (!rest.length) rest.push(...packets((await get(server, path)).body));
  assert.deepEqual(rest, ["40"]);
  return { ...data, path, answer };
}

const payload = (...all) => all.map((packet) => `${packet.length}:${packet}`).join("");

async function connected(io, server, path = "", options = {}) {
  const socket = io(server.url + path, { forceNew: true, reconnection: false, ...options });
  await once(socket, "connect");
  return socket;
}

const refused = (io, server, options = {}) =>
  within(new Promise((resolve) => {
    const socket = io(server.url, { forceNew: true, reconnection: false, ...options });
    socket.on("connect", () => resolve("connect"));
    socket.on("connect_error", (error) => resolve(error));
  }), "an outcome");

describe("old clients", { concurrency: true }, () => {
  it("M19 M21 M22 M23 S084 versions 1 and 2 are refused unless allowed", withServer({}, {}, async (server) => {
    for (const io of [ioV1, ioV2]) {
      for (const transport of ["polling", "websocket"]) {
        const error = await refused(io, server, { transports: [transport] });
        assert.equal(error.type ?? error, "TransportError");
        const { connection_error: cause } = await server.fact("connection_error");
        assert.deepEqual([cause.code, cause.message, cause.context], [5, "Unsupported protocol version", { protocol: 3 }]);
      }
    }
  }));

  it("M18 E067 S068 the open packet and CONNECT", withServer(OLD, {}, async (server) => {
    const session = await openOld(server);
    assert.equal(session.answer.headers["content-type"], "text/plain; charset=UTF-8");
    assert.deepEqual(Object.keys(session), ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload", "path", "answer"]);
    const { connect } = await server.fact("connect");
    assert.deepEqual(connect, { nsp: "/", id: session.sid });
    // No EIO at all means revision 3.
    const body = (await get(server, "/socket.io/?transport=polling")).body;
    assert.match(body, /^\d+:0\{/);
  }));

  it("E067 lengths are in UTF-16 code units", withServer(OLD, {}, async (server) => {
    const session = await openOld(server);
    await post(server, session.path, payload('42["echo","é€😀"]', '42["echo","b"]'));
    const { body } = await get(server, session.path);
    assert.deepEqual(packets(body), ['42["echo","é€😀"]', '42["echo","b"]']);
  }));

  it("E068 binary payloads, and base64 for those who ask", withServer(OLD, {}, async (server) => {
    const event = '451-["echo",{"_placeholder":true,"num":0}]';
    for (const more of ["", "&b64=1"]) {
      const session = await openOld(server, more);
      const digits = [...String(event.length)].map(Number);
      const body = Buffer.concat([
        Buffer.from([0, ...digits, 255]), Buffer.from(event), Buffer.from([1, 4, 255, 4, 1, 2, 3]),
      ]);
      const headers = { "content-type": "application/octet-stream" };
      assert.equal((await request(server, "POST", session.path, { body, headers })).body, "ok");
      const answer = await get(server, session.path);
      if (more) {
        assert.deepEqual(packets(answer.body), [event, "b4AQID"]);
      } else {
        assert.equal(answer.headers["content-type"], "application/octet-stream");
        assert.deepEqual(answer.bytes, body);
      }
      assert.equal((await post(server, session.path, payload(event, "b4AQID"))).body, "ok");
      assert.ok((await get(server, session.path)).body.includes(event));
    }
  }));

  it("E069 the client pings", withServer({ ...OLD, pingInterval: 100, pingTimeout: 100 }, {}, async (server) => {
    const ws = await Ws.open(server, "EIO=3&transport=websocket");
    assert.match(await ws.next(), /^0\{/);
    assert.equal(await ws.next(), "40");
    for (let i = 0; i < 3; i++) {
      ws.send("2");
      assert.equal(await ws.next(), "3");
    }
    // Silence from here on.
    assert.equal(await ws.ended(), 1005);
    const { disconnect } = await server.fact("disconnect");
    assert.equal(disconnect.reason, "ping timeout");
  }));

  it("E070 upgrade", withServer(OLD, {}, async (server) => {
    const session = await openOld(server);
    const waiting = get(server, session.path);
    const ws = await Ws.open(server, `EIO=3&transport=websocket&sid=${session.sid}`);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    assert.deepEqual(packets((await waiting).body), ["6"]);
    ws.send("5");
    await server.fact("upgrade");
    ws.send('451-["echo",{"_placeholder":true,"num":0}]');
    ws.send(Buffer.from([4, 7, 8]));
    assert.equal(await ws.next(), '451-["echo",{"_placeholder":true,"num":0}]');
    assert.deepEqual([...(await ws.next())], [4, 7, 8]);
    ws.socket.terminate();
  }));

  it("M23 S084 version 2: events, binary, acks, rooms", withServer(OLD, {}, async (server) => {
    for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
      const socket = await connected(ioV2, server, "", { transports });
      const value = [1, "é€😀", { deep: [Buffer.from([1, 2, 3])] }, null];
      socket.emit("echo", ...value);
      const echoed = await once(socket, "echo");
      assert.deepEqual([...echoed[2].deep[0]], [1, 2, 3]);
      echoed[2].deep[0] = value[2].deep[0];
      assert.deepEqual(echoed, value);
      const acked = await within(new Promise((resolve) => socket.emit("ack", "a", Buffer.from([9]), (...args) => resolve(args))));
      assert.deepEqual([acked[0], [...acked[1]]], ["a", [9]]);
      socket.on("question", (question, answer) => answer(question + 1));
      socket.emit("ask", 41, 0);
      assert.deepEqual(await once(socket, "answered"), [null, 42]);
      const rooms = await within(new Promise((resolve) => socket.emit("join", "a", resolve)));
      assert.deepEqual(rooms, [socket.id, "a"]);
      if (transports.length > 1) await server.fact("upgrade");
      socket.disconnect();
      const { disconnect } = await server.fact("disconnect");
      assert.deepEqual([disconnect.reason, disconnect.id], ["client namespace disconnect", socket.id ?? disconnect.id]);
    }
  }));

  it("S069 S070 namespaces with a query, and refusals", withServer(OLD, {}, async (server) => {
    const socket = await connected(ioV2, server, "/guarded?token=ok", { transports: ["websocket"] });
    assert.match(socket.id, /^\/guarded#[\w-]{20}$/);
    const handshake = await within(new Promise((resolve) => socket.emit("handshake", resolve)));
    assert.deepEqual(handshake.auth, { token: "ok" });
    socket.disconnect();
    const ws = await Ws.open(server, "EIO=3&transport=websocket");
    await ws.next();
    assert.equal(await ws.next(), "40");
    ws.send("40/guarded?token=no,");
    assert.equal(await ws.next(), '44/guarded,{"code":42}');
    ws.send("40/dyn-1?refuse=true,");
    assert.equal(await ws.next(), '44/dyn-1,"refused"');
    ws.send("40/nope,");
    assert.equal(await ws.next(), '44/nope,{"message":"Invalid namespace"}');
    ws.socket.terminate();
    const { connect } = await server.fact("connect", ({ nsp }) => nsp === "/guarded");
    assert.match(connect.id, /^\/guarded#/);
  }));

  it("a session keeps its revision", withServer(OLD, {}, async (server) => {
    const session = await openOld(server);
    const answer = await get(server, session.path.replace("EIO=3", "EIO=4"));
    assert.deepEqual([answer.status, JSON.parse(answer.body).code], [400, 3]);
    const { connection_error: cause } = await server.fact("connection_error");
    assert.deepEqual(cause.context, { name: "PROTOCOL_MISMATCH", protocol: 4, previousProtocol: 3 });
  }));
});

describe("JSONP", { concurrency: true }, () => {
  const unwrap = (script, index) => {
    const match = /^___eio\[(\d*)\]\((".*")\);$/s.exec(script);
    assert.equal(match?.[1], index, script);
    return JSON.parse(match[2]);
  };

  it("E055 both revisions", withServer(OLD, {}, async (server) => {
    for (const [base, first] of [[`${EIO3}&j=3`, /^\d+:0\{/], ["/socket.io/?EIO=4&transport=polling&j=3x", /^0\{/]]) {
      const answer = await get(server, base);
      const text = unwrap(answer.body, "3");
      assert.match(text, first);
      assert.equal(answer.headers["content-type"], "text/plain; charset=UTF-8");
      const sid = /"sid":"([^"]+)"/.exec(text)[1];
      const path = `${base}&sid=${sid}`;
      const send = (data) =>
        post(server, path, new URLSearchParams({ d: data }).toString(), { "content-type": "application/x-www-form-urlencoded" });
      const isOld = base.includes("EIO=3");
      const one = (packet) => (isOld ? payload(packet) : packet);
      if (!isOld) assert.equal((await send("40")).body, "ok");
      if (!isOld || !text.includes("2:40")) assert.match(unwrap((await get(server, path)).body, "3"), /40/);
      const event = '42["echo","line\\nbreak \u2028 é"]';
      assert.equal((await send(one(event).replaceAll("\\n", "\\\\n"))).body, "ok");
      const echoed = await get(server, path);
      assert.ok(!echoed.body.includes("\u2028"), echoed.body);
      assert.equal(unwrap(echoed.body, "3"), one(event));
      // A form without payload is ignored.
      assert.equal((await post(server, path, "x=1", { "content-type": "application/x-www-form-urlencoded" })).body, "ok");
    }
  }));

  it("E065 an initial packet follows the open packet", withServer({ initialPacket: "hello" }, {}, async (server) => {
    const { body } = await get(server, "/socket.io/?EIO=4&transport=polling");
    assert.match(body, /^0\{.*\}\x1e4hello$/);
    const ws = await Ws.open(server);
    assert.match(await ws.next(), /^0\{/);
    assert.equal(await ws.next(), "4hello");
    ws.socket.terminate();
  }));
});
