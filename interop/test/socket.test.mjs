// Socket.IO packets on the wire.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Server, Ws, expected, get, open, post, withServer } from "../harness.mjs";

describe("namespaces", { concurrency: true }, () => {
  it("S001 the main namespace", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    assert.match(ws.id, /^[\w-]{20}$/);
    assert.notEqual(ws.id, ws.handshake.sid);
    const { connect } = await server.fact("connect");
    assert.deepEqual(connect, { nsp: "/", id: ws.id });
    ws.socket.terminate();
  }));

  it("S002 S050 M53 M54 another namespace, with auth", withServer({}, {}, async (server) => {
    const ws = await Ws.open(server, "EIO=4&transport=websocket&color=blue");
    await ws.next();
    ws.send('40/admin,{"token":"abc"}');
    assert.match(await ws.next(), /^40\/admin,\{"sid":"[\w-]{20}"\}$/);
    ws.send('42/admin,1["handshake"]');
    const handshake = JSON.parse((await ws.next()).slice("43/admin,1".length))[0];
    assert.deepEqual(handshake.auth, { token: "abc" });
    assert.equal(handshake.query.color, "blue");
    assert.match(handshake.address, /127\.0\.0\.1$/);
    assert.deepEqual(Object.keys(handshake).sort(),
      ["address", "auth", "headers", "issued", "query", "secure", "time", "url", "xdomain"]);
    assert.deepEqual([handshake.secure, handshake.xdomain, typeof handshake.issued], [false, false, "number"]);
    ws.socket.terminate();
  }));

  it("S003 an unknown namespace", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send("40/nope,");
    assert.equal(await ws.next(), '44/nope,{"message":"Invalid namespace"}');
    ws.send('42["echo",1]');
    assert.equal(await ws.next(), '42["echo",1]');
    ws.socket.terminate();
  }));

  it("S004 connectTimeout", withServer({ connectTimeout: 50 }, {}, async (server) => {
    const ws = await Ws.open(server);
    await ws.next();
    assert.equal(await ws.ended(), 1005);
  }));

  it("S005 S006 S019 S071 S073 S074 what closes the connection", async () => {
    const server = await Server.start();
    for (const packet of [
      "42/admin,[\"x\"]", "40", "44{\"message\":\"x\"}", "41/admin,", "47", "42{}", "42[\"a\"", "42[\"connect\"]", "42[\"disconnect\"]",
      "42[]", "42[{}]", "40/x,[]", "40/x,\"a\"", "41{}", "43{}", "45-[\"a\"]", "450-[\"a\"]", "451.5-[\"a\"]", "4511-[\"a\"]",
      "451-[\"a\",{\"_placeholder\":true,\"num\":1}]", "452-[\"a\"]\x1e42[\"text\"]", Buffer.from("stray"),
    ]) {
      const ws = await Ws.connect(server);
      const parts = typeof packet === "string" ? packet.split("\x1e") : [packet];
      const before = typeof packet === "string" && packet.startsWith("451-") ? [...parts, Buffer.from("x")] : parts;
      before.forEach((part) => ws.send(part));
      assert.equal(await ws.ended(), 1005, String(packet));
      const { disconnect } = await server.fact("disconnect");
      assert.deepEqual([disconnect.id, disconnect.reason], [ws.id, "forced close"], String(packet));
    }
    const early = await Ws.open(server);
    await early.next();
    early.send('42["echo",1]');
    assert.equal(await early.ended(), 1005);
    await server.stop();
  });

  it("S017 an invalid state over polling", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    await post(server, path, "40");
    assert.equal((await server.fact("disconnect")).disconnect.reason, "forced server close");
  }));

  it("S007 an event right behind its CONNECT", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, '40\x1e42["echo",1]');
    // The reference closes the connection; here the namespace is joined at once where no middleware has to be asked.
    const { body } = await get(server, path);
    assert.match(body, expected({ reference: /1$/, ours: /^40\{"sid":"[\w-]+"\}\x1e42\["echo",1\]$/ }));
  }));

  it("S008 S017 the client leaves and comes back", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send("40/admin,");
    await ws.next();
    ws.send("41");
    const { disconnect } = await server.fact("disconnect");
    assert.deepEqual(disconnect, { nsp: "/", id: ws.id, reason: "client namespace disconnect" });
    ws.send('42/admin,["echo",1]');
    assert.equal(await ws.next(), '42/admin,["echo",1]');
    ws.send("40");
    const again = JSON.parse((await ws.next()).slice(2)).sid;
    assert.notEqual(again, ws.id);
    ws.socket.terminate();
  }));

  it("S009 S010 S017 the server makes the client leave", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send("40/admin,");
    await ws.next();
    ws.send('42["leave me",false]');
    assert.equal(await ws.next(), "41");
    assert.equal((await server.fact("disconnect")).disconnect.reason, "server namespace disconnect");
    ws.send("40");
    await ws.next();
    ws.send('42/admin,["leave me",true]');
    const left = [await ws.next(), await ws.next()].sort();
    assert.deepEqual(left, ["41", "41/admin,"]);
    assert.equal(await ws.ended(), 1005);
  }));

  it("S011 middleware", withServer({}, {}, async (server) => {
    const ws = await Ws.open(server);
    await ws.next();
    ws.send('40/guarded,{"token":"no"}');
    assert.equal(await ws.next(), '44/guarded,{"message":"not authorized","data":{"code":42}}');
    ws.send('40/guarded,{"token":"ok"}');
    assert.match(await ws.next(), /^40\/guarded,\{"sid"/);
    ws.socket.terminate();
  }));

  it("S014 event middleware", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send('42["drop me"]');
    assert.equal((await server.fact("error")).error, "dropped");
    ws.send('42["echo",1]');
    assert.equal(await ws.next(), '42["echo",1]');
    ws.socket.terminate();
  }));

  it("S016 rooms while leaving", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send('421["join",["a","b"]]');
    assert.equal(await ws.next(), `431[["${ws.id}","a","b"]]`);
    ws.socket.close();
    assert.deepEqual((await server.fact("disconnecting")).disconnecting.rooms, [ws.id, "a", "b"]);
    assert.equal((await server.fact("disconnect")).disconnect.reason, "transport close");
  }));

  it("S018 reserved names", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    for (const name of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
      ws.send(`421["reserved","${name}"]`);
      assert.equal(await ws.next(), `431["\\"${name}\\" is a reserved event name"]`);
    }
    ws.send('421["reserved","error"]');
    assert.equal(await ws.next(), '42["error"]');
    assert.equal(await ws.next(), "431[null]");
    ws.socket.terminate();
  }));

  it("S020 P006 oddities that are accepted", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    for (const packet of ["42", "42[1]", "43", "4399[]", '42 ["unknown"]', '42/,["unknown"]', "40/admin"]) ws.send(packet);
    assert.match(await ws.next(), /^40\/admin,/);
    ws.send('42123456789["ack",1,"a"]');
    assert.equal(await ws.next(), '43123456789[1,"a"]');
    ws.socket.terminate();
  }));

  it("S072 binary events", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    const text = '452-["echo",{"_placeholder":true,"num":0},{"x":[{"_placeholder":true,"num":1}]}]';
    ws.send(text);
    ws.send(Buffer.from([1, 2, 3]));
    ws.send(Buffer.from([4]));
    assert.deepEqual([await ws.next(), await ws.next(), await ws.next()], [text, Buffer.from([1, 2, 3]), Buffer.from([4])]);
    ws.socket.terminate();
  }));

  it("S043 S044 S047 S049 dynamic namespaces", withServer({}, {}, async (server) => {
    const ws = await Ws.open(server);
    await ws.next();
    ws.send("40/dyn-7,");
    assert.match(await ws.next(), /^40\/dyn-7,/);
    await server.fact("new_namespace", (name) => name === "/dyn-7");
    ws.send('42/dyn-7,["echo","here"]');
    assert.equal(await ws.next(), '42/dyn-7,["echo","here"]');
    ws.send("40/dyn-x,");
    assert.equal(await ws.next(), '44/dyn-x,{"message":"Invalid namespace"}');
    ws.send('40/fn-a,{"key":2}');
    assert.equal(await ws.next(), '44/fn-a,{"message":"Invalid namespace"}');
    ws.send('40/fn-a,{"key":1}');
    assert.match(await ws.next(), /^40\/fn-a,/);
    ws.socket.terminate();
  }));

  it("1,000 emits and 5,000 echoes arrive in order", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send('42["many",1000]');
    for (let i = 0; i < 1000; i++) assert.equal(await ws.next(), `42["n",${i}]`);
    for (let i = 0; i < 5000; i++) ws.send(`42["echo",${i}]`);
    for (let i = 0; i < 5000; i++) assert.equal(await ws.next(), `42["echo",${i}]`);
    ws.socket.terminate();
  }));
});
