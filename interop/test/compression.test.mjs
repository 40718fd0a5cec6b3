// Compression of polling answers, and of WebSocket messages.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync, inflateSync } from "node:zlib";
import { io } from "socket.io-client";
import { HANDSHAKE, Ws, expected, get, once, open, post, withServer, within } from "../harness.mjs";

/** A polling session that has joined. */
async function joined(server) {
  const session = await open(server);
  await post(server, session.path, "40");
  await get(server, session.path);
  return session;
}

/** The answer to a GET after an event of `length` characters. */
async function emitted(server, how, length, headers) {
  const session = await joined(server);
  await post(server, session.path, `42["emit with",${JSON.stringify(how)},1,"x","${"a".repeat(length)}"]`);
  return get(server, session.path, headers);
}

describe("polling", { concurrency: true }, () => {
  it("E063 answers are compressed for those who accept it", withServer({}, {}, async (server) => {
    const expected = `42["x","${"a".repeat(1100)}"]`;
    for (const [accept, name, inflate] of [["gzip, deflate", "gzip", gunzipSync], ["deflate", "deflate", inflateSync]]) {
      const answer = await emitted(server, {}, 1100, { "accept-encoding": accept });
      assert.equal(answer.headers["content-encoding"], name);
      assert.equal(inflate(answer.bytes).toString(), expected);
    }
    for (const [how, length, accept] of [[{}, 1000, "gzip"], [{ compress: false }, 1100, "gzip"], [{}, 1100, "br"], [{}, 1100, ""]]) {
      const answer = await emitted(server, how, length, accept ? { "accept-encoding": accept } : {});
      assert.equal(answer.headers["content-encoding"], undefined, JSON.stringify([how, length, accept]));
      assert.equal(answer.body, `42["x","${"a".repeat(length)}"]`);
    }
  }));

  it("E063 the threshold can be set, and compression be off", async () => {
    const one = withServer({ httpCompression: { threshold: 10 } }, {}, async (server) => {
      const answer = await emitted(server, {}, 20, { "accept-encoding": "gzip" });
      assert.equal(answer.headers["content-encoding"], "gzip");
      for (const more of ["", "&j=1"]) {
        const first = await get(server, HANDSHAKE + more, { "accept-encoding": "gzip" });
        assert.equal(first.headers["content-encoding"], "gzip");
        assert.match(gunzipSync(first.bytes).toString(), /upgrades/);
      }
    });
    const none = withServer({ httpCompression: false }, {}, async (server) => {
      const answer = await emitted(server, {}, 2000, { "accept-encoding": "gzip" });
      assert.equal(answer.headers["content-encoding"], undefined);
    });
    await Promise.all([one(), none()]);
  });
});

/** Sends `value` to the server and back; gives it and the bytes that came. */
async function echoed(ws, value) {
  const before = ws.socket._socket.bytesRead;
  ws.send(`42["echo",${JSON.stringify(value)}]`);
  const text = await ws.next();
  return [JSON.parse(text.slice(2))[1], ws.socket._socket.bytesRead - before];
}

async function connected(server, perMessageDeflate) {
  const ws = await Ws.open(server, undefined, { perMessageDeflate });
  await ws.next();
  ws.send("40");
  await ws.next();
  return ws;
}

describe("WebSocket", { concurrency: true }, () => {
  it("E064 compression is off unless asked for by both", withServer({}, {}, async (server) => {
    const ws = await connected(server, true);
    assert.equal((await ws.headers)["sec-websocket-extensions"], undefined);
    ws.socket.terminate();
  }));

  it("E064 a client that does not ask gets none", withServer({ perMessageDeflate: true }, {}, async (server) => {
    const ws = await connected(server, false);
    assert.equal((await ws.headers)["sec-websocket-extensions"], undefined);
    const [value, bytes] = await echoed(ws, "a".repeat(5000));
    assert.ok(value.length === 5000 && bytes > 5000);
    ws.socket.terminate();
  }));

  it("E064 messages from the threshold on are compressed", withServer({ perMessageDeflate: {} }, {}, async (server) => {
    // The reference has no threshold where context is taken over.
    const ws = await connected(server, { threshold: 0, serverNoContextTakeover: true });
    assert.match((await ws.headers)["sec-websocket-extensions"], /^permessage-deflate/);
    for (const [length, compressed] of [[1100, true], [900, false]]) {
      const [value, bytes] = await echoed(ws, "a".repeat(length));
      assert.equal(value, "a".repeat(length));
      assert.equal(bytes < 100, compressed, `${bytes}`);
    }
    const before = ws.socket._socket.bytesRead;
    ws.send(`42["emit with",{"compress":false},1,"x","${"a".repeat(1100)}"]`);
    await ws.next();
    // The reference heeds compress(false) on polling only.
    assert.equal(ws.socket._socket.bytesRead - before > 1100, expected({ reference: false, ours: true }));
    ws.socket.terminate();
  }));

  it("E064 each parameter is negotiated", async () => {
    for (const [ours, theirs, answer] of [
      [{ threshold: 10 }, { serverNoContextTakeover: true, clientNoContextTakeover: true }, /server_no_context_takeover/],
      [{ threshold: 10, serverNoContextTakeover: false, clientNoContextTakeover: false }, {}, /^permessage-deflate/],
      [{ threshold: 10, serverMaxWindowBits: 10 }, {}, /server_max_window_bits=10/],
      [{ threshold: 10, clientMaxWindowBits: 10 }, {}, /client_max_window_bits=10/],
    ]) {
      await withServer({ perMessageDeflate: ours }, {}, async (server) => {
        const ws = await connected(server, { threshold: 0, ...theirs });
        assert.match((await ws.headers)["sec-websocket-extensions"], answer);
        for (let i = 0; i < 20; i++) {
          const value = `message ${i} ${"é€😀".repeat(i * 50)}`;
          assert.deepEqual((await echoed(ws, value))[0], value);
        }
        ws.socket.terminate();
      })();
    }
  });

  it("E064 a broadcast reaches those who compress and those who do not", withServer({ perMessageDeflate: { threshold: 10 } }, {}, async (server) => {
    const client = async (perMessageDeflate, transports = ["websocket"]) => {
      const socket = io(server.url, { forceNew: true, transports, perMessageDeflate });
      await once(socket, "connect");
      return socket;
    };
    const sockets = await Promise.all([
      client({ threshold: 10 }), client({ threshold: 10 }), client(false), client(false, ["polling"]), client({ threshold: 10 }, ["polling", "websocket"]),
    ]);
    const value = { text: "news ".repeat(1000), bytes: Buffer.alloc(5000, 1) };
    const all = sockets.map((socket) => once(socket, "news"));
    sockets[0].emit("emit to", [], [], "news", value);
    for (const [got] of await within(Promise.all(all))) assert.deepEqual(got, value);
    sockets.forEach((socket) => socket.disconnect());
  }));
});
