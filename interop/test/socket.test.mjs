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

  it("S011 S013 middlewares run in order, and the rooms they join are kept", withServer({}, {}, async (server) => {
    const ws = await Ws.open(server);
    await ws.next();
    ws.send('40/guarded,{"token":"no","rooms":["a"]}');
    assert.match(await ws.next(), /^44\/guarded,/);
    assert.deepEqual((await server.fact("asked")).asked, { rooms: ["a"] });
    ws.send('40/guarded,{"token":"ok","rooms":["a","b"]}');
    const { sid } = JSON.parse((await ws.next()).slice("40/guarded,".length));
    // Of the two that were in "a", only the one that got in is left.
    ws.send('42/guarded,1["sockets","a"]');
    const [[found, ...others]] = JSON.parse((await ws.next()).slice("43/guarded,1".length));
    assert.deepEqual([found.id, found.rooms.sort(), others], [sid, [sid, "a", "b"].sort(), []]);
    ws.socket.terminate();
  }));

  it("S012 the client leaves while a middleware is asked", withServer({}, {}, async (server) => {
    const ws = await Ws.open(server);
    await ws.next();
    // Time enough for the end of the connection to be noticed first, on a busy machine too.
    ws.send('40/guarded,{"token":"ok","wait":1000,"rooms":["gone"]}');
    ws.socket.terminate();
    await server.fact("asked", ({ rooms }) => rooms[0] === "gone");
    const next = await Ws.open(server);
    await next.next();
    next.send('40/guarded,{"token":"ok"}');
    const { sid } = JSON.parse((await next.next()).slice("40/guarded,".length));
    // The first and only one that is told.
    assert.deepEqual((await server.fact("connect")).connect, { nsp: "/guarded", id: sid });
    next.send('42/guarded,1["sockets","gone"]');
    assert.equal(await next.next(), "43/guarded,1[[]]");
    next.socket.terminate();
  }));

  it("S032 volatile events are for a GET that waits", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    await post(server, path, '42["emit with",{"volatile":true},1,"v",1]\x1e42["echo",1]');
    assert.equal((await get(server, path)).body, '42["echo",1]');
    const waiting = get(server, path);
    for (let i = 0; i < 3; i++) await get(server, "/app");
    await post(server, path, '42["emit with",{"volatile":true},1,"v",2]');
    assert.equal((await waiting).body, '42["v",2]');
  }));

  it("S033 volatile events are dropped where the client does not read", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.socket.pause();
    // 40 MB: more than what the system keeps on its way.
    ws.send(`42["emit with",{"volatile":true},400,"v","${"x".repeat(100_000)}"]`);
    const witness = await Ws.connect(server);
    witness.send('421["count"]');
    await witness.next();
    ws.socket.resume();
    ws.send('42["echo","end"]');
    let count = 0;
    while ((await ws.next()).startsWith('42["v"')) count++;
    assert.ok(count > 0 && count < 400, `${count} of 400`);
    for (const socket of [ws, witness]) socket.socket.terminate();
  }));

  it("S034 S035 S036 uncompressed, local and nameless events", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    for (const [how, told] of [
      [{ compress: false }, '42["e",{"a":1}]'],
      [{ local: true }, '42["e",{"a":1}]'],
      [{ send: true }, '42["message",{"a":1}]'],
      [{ send: true, compress: false }, '42["message",{"a":1}]'],
    ]) {
      ws.send(`42["emit with",${JSON.stringify(how)},1,"e",{"a":1}]`);
      assert.equal(await ws.next(), told, JSON.stringify(how));
    }
    ws.socket.terminate();
  }));

  it("S021 S023 S041 acks of a socket that was fetched", withServer({}, {}, async (server) => {
    const [a, b] = [await Ws.connect(server), await Ws.connect(server)];
    a.send(`421["remote ask","${b.id}",7,2000]`);
    const [, id] = (await b.next()).match(/^42(\d+)\["question",7\]$/);
    b.send(`43${id}["seven","more"]`);
    assert.equal(await a.next(), '431["seven"]');
    a.send(`422["remote ask","${b.id}",8,50]`);
    const [, late] = (await b.next()).match(/^42(\d+)\["question",8\]$/);
    assert.equal(await a.next(), "432[null]");
    // Too late, and unknown: both are ignored.
    b.send(`43${late}["eight"]`);
    b.send('43999["who?"]');
    b.send('42["echo",1]');
    assert.equal(await b.next(), '42["echo",1]');
    for (const socket of [a, b]) socket.socket.terminate();
  }));

  it("S045 S047 a child that the server makes, and all children at once", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send('421["make","/dyn-5"]');
    assert.equal(await ws.next(), '431["/dyn-5"]');
    await server.fact("new_namespace", (name) => name === "/dyn-5");
    for (const name of ["/dyn-5", "/dyn-6"]) {
      ws.send(`40${name},`);
      assert.match(await ws.next(), new RegExp(`^40${name},`));
    }
    ws.send('42/dyn-5,["echo","inherited"]');
    assert.equal(await ws.next(), '42/dyn-5,["echo","inherited"]');
    ws.send('42["emit to children","all",1]');
    assert.deepEqual([await ws.next(), await ws.next()].sort(), ['42/dyn-5,["all",1]', '42/dyn-6,["all",1]']);
    ws.socket.terminate();
  }));

  for (const cleanup of [true, false]) {
    const title = `S048 S049 an empty child is ${cleanup ? "removed" : "kept"}`;
    it(title, withServer(cleanup ? { cleanupEmptyChildNamespaces: true } : {}, {}, async (server) => {
      const ws = await Ws.connect(server);
      const made = [];
      const join = async (name, auth = "") => {
        ws.send(`40${name},${auth}`);
        return (await ws.next()).slice(0, 2);
      };
      assert.equal(await join("/dyn-1"), "40");
      ws.send("41/dyn-1,");
      await server.fact("disconnect", ({ nsp }) => nsp === "/dyn-1");
      assert.equal(await join("/dyn-2", '{"refuse":true}'), "44");
      assert.equal(await join("/dyn-1"), "40");
      assert.equal(await join("/dyn-2"), "40");
      assert.equal(await join("/dyn-3"), "40");
      while (made.at(-1) !== "/dyn-3") made.push((await server.fact("new_namespace", (name) => name.startsWith("/dyn"))).new_namespace);
      assert.deepEqual(made, cleanup ? ["/dyn-1", "/dyn-2", "/dyn-1", "/dyn-2", "/dyn-3"] : ["/dyn-1", "/dyn-2", "/dyn-3"]);
      ws.socket.terminate();
    }));
  }

  it("S057 S058 the server is closed twice", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send('42["close server",2]');
    assert.equal((await server.fact("disconnect")).disconnect.reason, "server shutting down");
    await ws.ended();
    assert.equal((await server.fact("closed")).closed, 2);
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
