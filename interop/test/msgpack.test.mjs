// The official client with socket.io-msgpack-parser.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { io } from "socket.io-client";
import parser from "socket.io-msgpack-parser";
import { Ws, once, within, withServer } from "../harness.mjs";

async function connected(server, path = "", options = {}) {
  const socket = io(server.url + path, { forceNew: true, reconnection: false, parser, ...options });
  await once(socket, "connect");
  return socket;
}

describe("msgpack", { concurrency: true }, () => {
  it("P012 P013 events, acks and rooms over each transport", withServer({}, { parser: "msgpack" }, async (server) => {
    for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
      const socket = await connected(server, "", { transports });
      const values = [1, -1, 1.5, 2 ** 40, "é€😀", null, true, [], {}, { deep: [{ bytes: Buffer.from([1, 2, 3]) }] }, "x".repeat(100_000)];
      socket.emit("echo", ...values);
      const echoed = await once(socket, "echo");
      assert.deepEqual(echoed, values);
      const big = Buffer.alloc(300_000, 7);
      const acked = await within(new Promise((resolve) => socket.emit("ack", big, new Uint8Array([1, 2]), (...args) => resolve(args))));
      assert.ok(big.equals(acked[0]));
      assert.deepEqual([...new Uint8Array(acked[1])], [1, 2]);
      socket.on("question", (question, answer) => answer({ ...question, n: 2 }));
      socket.emit("ask", { bytes: Buffer.from("b") }, 0);
      assert.deepEqual(await once(socket, "answered"), [null, { bytes: Buffer.from("b"), n: 2 }]);
      const rooms = await within(new Promise((resolve) => socket.emit("join", "a", resolve)));
      assert.deepEqual(rooms, [socket.id, "a"]);
      socket.emit("emit to", ["a"], [], "news", { all: [Buffer.from("x")] });
      assert.deepEqual(await once(socket, "news"), [{ all: [Buffer.from("x")] }]);
      socket.disconnect();
    }
  }));

  it("P012 namespaces, auth and refusals", withServer({}, { parser: "msgpack" }, async (server) => {
    const socket = await connected(server, "/guarded", { auth: { token: "ok" } });
    const handshake = await within(new Promise((resolve) => socket.emit("handshake", resolve)));
    assert.deepEqual(handshake.auth, { token: "ok" });
    socket.disconnect();
    const refused = io(`${server.url}/guarded`, { forceNew: true, reconnection: false, parser });
    const [error] = await once(refused, "connect_error");
    assert.deepEqual([error.message, error.data], ["not authorized", { code: 42 }]);
    const unknown = io(`${server.url}/nope`, { forceNew: true, reconnection: false, parser });
    assert.equal((await once(unknown, "connect_error"))[0].message, "Invalid namespace");
  }));

  it("P012 a client with another parser is closed, cleanly", withServer({}, { parser: "msgpack" }, async (server) => {
    const ws = await Ws.open(server);
    await ws.next();
    ws.send("40");
    assert.equal(await ws.ended(), 1005);
    const odd = await Ws.open(server);
    await odd.next();
    odd.send(Buffer.from([0x81, 0xa4, 0x74, 0x79, 0x70, 0x65, 0x09]));
    assert.equal(await odd.ended(), 1005);
  }));
});
