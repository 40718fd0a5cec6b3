// The official clients, versions 4 and 3, over each transport.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { io as io4 } from "socket.io-client";
import clientV3 from "socket.io-client-v3";
import { Server, expected, once, within, withServer } from "../harness.mjs";

const clients = { "client 4": io4, "client 3": clientV3.io };
const ways = {
  polling: { transports: ["polling"] },
  websocket: { transports: ["websocket"] },
  upgrade: {},
};

for (const [version, io] of Object.entries(clients)) {
  for (const [way, options] of Object.entries(ways)) {
    const connect = async (server, nsp = "", more = {}) => {
      const socket = io(server.url + nsp, { ...options, forceNew: true, reconnectionDelay: 50, ...more });
      await once(socket, "connect");
      return socket;
    };
    // With acks as promises, for both versions.
    const ask = (socket, ...args) => within(new Promise((resolve) => socket.emit(...args, resolve)), `an ack of ${args[0]}`);
    const test = (run, serverOptions = {}) =>
      withServer(serverOptions, {}, async (server) => {
        const sockets = [];
        const join = async (...args) => {
          const socket = await connect(server, ...args);
          sockets.push(socket);
          return socket;
        };
        try {
          await run({ server, join });
        } finally {
          sockets.forEach((socket) => socket.disconnect());
        }
      });

    // S083 M20 M24 M25: versions 3 and 4 work alike.
    describe(`${version}, ${way}`, { concurrency: true }, () => {
      it("C008 S001 S052 M58 M59 connects, and the transport is what it should be", test(async ({ server, join }) => {
        const socket = await join();
        const { connect } = await server.fact("connect");
        assert.equal(connect.id, socket.id);
        const engine = socket.io.engine;
        if (way === "upgrade") {
          if (engine.transport.name !== "websocket") await once(engine, "upgrade");
          assert.equal((await server.fact("upgrade")).upgrade, "websocket");
        }
        const name = way === "polling" ? "polling" : "websocket";
        assert.equal(engine.transport.name, name);
        assert.equal(await ask(socket, "transport"), name);
      }));

      it("S072 E024 E025 echoes values of every kind", test(async ({ join }) => {
        const socket = await join();
        const values = [1, -1.5, "é€🦀\u2028", null, true, [1, [2]], { a: { b: null } }, Buffer.from([0, 255]), { x: [Buffer.from("b")] }];
        socket.emit("echo", ...values);
        const echoed = await once(socket, "echo");
        assert.deepEqual(echoed.map((v) => (v instanceof ArrayBuffer ? Buffer.from(v) : v)), values);
        assert.deepEqual(await ask(socket, "ack", "one"), "one");
      }));

      it("S072 C042 bytes as base64, for those who want no others", test(async ({ server, join }) => {
        const socket = await join("", { forceBase64: true });
        if (way === "upgrade") await server.fact("upgrade");
        const value = { x: [Buffer.from([0, 255]), "between", Buffer.from("b")] };
        socket.emit("echo", value);
        // Bytes would come as a Buffer or an ArrayBuffer, too; the handshake says what was asked for.
        assert.deepEqual((await once(socket, "echo"))[0], value);
        const { query } = await ask(socket, "handshake");
        assert.equal(query.b64, "1");
      }));

      it("S021 S022 S023 S024 acks of the client", test(async ({ join }) => {
        const socket = await join();
        socket.on("question", (value, ack) => value === "answer me" && ack(`${value}: yes`));
        socket.emit("ask", "answer me", 0);
        assert.deepEqual(await once(socket, "answered"), [null, "answer me: yes"]);
        socket.emit("ask", "be silent", 30);
        assert.deepEqual(await once(socket, "answered"), ["operation has timed out", null]);
      }));

      it("S028-S031 S030 rooms", test(async ({ join }) => {
        const [a, b, c] = [await join(), await join(), await join()];
        assert.deepEqual(await ask(a, "join", ["one", "two"]), [a.id, "one", "two"]);
        await ask(b, "join", ["one", "two"]);
        assert.deepEqual(await ask(a, "leave", "two"), [a.id, "one"]);
        const seen = { a: [], b: [], c: [] };
        for (const [name, socket] of Object.entries({ a, b, c })) socket.on("news", (what) => seen[name].push(what));
        a.emit("send to", ["one", "two"], [], "news", "not to the sender");
        a.emit("emit to", ["one", "two"], [], "news", "to the sender too");
        a.emit("emit to", [], ["two"], "news", "all but two");
        a.emit("emit to", [c.id], [], "news", "private");
        a.emit("send to", [], [], "news", "broadcast");
        await ask(a, "ack", 1);
        a.emit("emit to", [], [], "end", 1);
        await Promise.all([a, b, c].map((socket) => once(socket, "end")));
        assert.deepEqual(seen, {
          a: ["to the sender too", "all but two"],
          b: ["not to the sender", "to the sender too", "broadcast"],
          c: ["all but two", "private", "broadcast"],
        });
      }));

      it("S025-S027 broadcast acks", test(async ({ join }) => {
        const [a, b] = [await join(), await join()];
        await ask(a, "join", "r");
        await ask(b, "join", "r");
        a.on("sum", (ack) => ack(1));
        b.on("sum", (ack) => ack(2));
        const all = await ask(a, "gather", "r", 2000);
        assert.deepEqual([all.complete, all.responses.sort()], [true, [1, 2]]);
        b.off("sum");
        assert.deepEqual(await ask(a, "gather", "r", 100), { complete: false, responses: [1] });
        assert.deepEqual(await ask(a, "gather", "nobody", 100), { complete: true, responses: [] });
      }));

      it("S039 S040 S051 sockets of a room", test(async ({ server, join }) => {
        const [a, b] = [await join(), await join()];
        const { id } = b;
        await ask(b, "join", "r");
        await ask(b, "set data", { name: "b" });
        assert.deepEqual(await ask(a, "sockets", "r"), [{ id: b.id, rooms: [b.id, "r"], data: { name: "b" } }]);
        await ask(a, "sockets join", "r", "s");
        await ask(a, "sockets leave", "s", "r");
        assert.deepEqual((await ask(a, "sockets", "s"))[0].rooms, [b.id, "s"]);
        a.emit("kick", "s", false);
        assert.deepEqual((await once(b, "disconnect"))[0], "io server disconnect");
        const { disconnect } = await server.fact("disconnect");
        assert.deepEqual([disconnect.id, disconnect.reason], [id, "server namespace disconnect"]);
      }));

      it("S037 S038 catch-all listeners", test(async ({ server, join }) => {
        const socket = await join();
        socket.emit("spy");
        await ask(socket, "ack", 1);
        const any = new Promise((resolve) => socket.on("any", (name, count) => name === "echo" && resolve(count)));
        socket.emit("echo", 1, 2);
        assert.equal(await within(any), 2);
        await server.fact("outgoing", (name) => name === "echo");
      }));

      it("S011 M35 namespaces are refused or joined", test(async ({ server, join }) => {
        const refused = io(`${server.url}/guarded`, { ...options, forceNew: true, auth: { token: "no" } });
        const [error] = await once(refused, "connect_error");
        assert.deepEqual([error.message, error.data], ["not authorized", { code: 42 }]);
        refused.disconnect();
        const unknown = io(`${server.url}/nope`, { ...options, forceNew: true });
        assert.equal((await once(unknown, "connect_error"))[0].message, "Invalid namespace");
        unknown.disconnect();
        const socket = await join("/guarded", { auth: { token: "ok" } });
        assert.equal(await ask(socket, "ack", "in"), "in");
      }));

      it("S043 C022 several namespaces on one connection", test(async ({ server, join }) => {
        const main = await join();
        const other = main.io.socket("/dyn-1");
        await once(other, "connect");
        assert.equal(await ask(other, "ack", "other"), "other");
        assert.equal(await ask(main, "count"), 1);
        other.disconnect();
        await server.fact("disconnect", (d) => d.nsp === "/dyn-1" && d.reason === "client namespace disconnect");
        assert.equal(await ask(main, "ack", "main"), "main");
      }));

      it("1,000 emits of one handler arrive in order", test(async ({ join }) => {
        const socket = await join();
        const numbers = [];
        const all = new Promise((resolve) => socket.on("n", (n) => numbers.push(n) === 1000 && resolve()));
        socket.emit("many", 1000);
        await within(all, "1,000 events");
        assert.deepEqual(numbers, Array.from({ length: 1000 }, (_, i) => i));
      }));

      it("C003 nothing is lost or doubled while the transport changes", test(async ({ join }) => {
        const socket = await join();
        const echoed = [];
        const all = new Promise((resolve) => socket.on("echo", (n) => echoed.push(n) === 500 && resolve()));
        for (let i = 0; i < 500; i++) {
          socket.emit("echo", i);
          if (i % 20 === 0) await new Promise(setImmediate);
        }
        await within(all, "500 echoes");
        assert.deepEqual(echoed, Array.from({ length: 500 }, (_, i) => i));
      }));

      it("S057 M38 M39 M43 the server closes and the client learns it", test(async ({ server, join }) => {
        const socket = await join("", { reconnection: false });
        await server.fact("connect");
        // The official client waits for its own ping timeout when the connection ends in the midst of its upgrade.
        if (way === "upgrade" && socket.io.engine.transport.name !== "websocket") await once(socket.io.engine, "upgrade");
        const left = once(socket, "disconnect");
        socket.emit("close server");
        const [reason] = await left;
        assert.ok(["transport close", "transport error"].includes(reason), reason);
        assert.equal((await server.fact("disconnect")).disconnect.reason, "server shutting down");
      }));

      it("S008 M43 the client leaves", test(async ({ server, join }) => {
        const socket = await join();
        await server.fact("connect");
        socket.disconnect();
        const { disconnect } = await server.fact("disconnect");
        assert.equal(disconnect.reason, "client namespace disconnect");
      }));

      it("M33 M34 another path", test(async ({ join }) => {
        const socket = await join("", { path: "/my-custom-path/" });
        assert.equal(await ask(socket, "ack", 1), 1);
      }, { path: "/my-custom-path/" }));

      it("M50 a message that is too large", test(async ({ server, join }) => {
        const socket = await join("", { reconnection: false });
        if (way === "upgrade" && socket.io.engine.transport.name !== "websocket") await once(socket.io.engine, "upgrade");
        const left = once(socket, "disconnect");
        socket.emit("echo", "x".repeat(2000));
        const [reason] = await left;
        // The POST is refused, and a GET that waits is answered with a close packet: whichever is seen first.
        const reasons = way === "polling" ? ["transport close", "transport error"] : ["transport close"];
        assert.ok(reasons.includes(reason), reason);
      }, { maxHttpBufferSize: 1000 }));

      it("M62 M64 the id is new after each connection", test(async ({ join }) => {
        const socket = await join();
        const before = socket.id;
        socket.io.engine.close();
        await once(socket, "connect");
        assert.notEqual(socket.id, before);
        assert.equal(await ask(socket, "ack", "again"), "again");
      }));
    });
  }
}

describe("what the clients are told", { concurrency: true }, () => {
  it("M02 M03 M31 an error of the first request", withServer({}, { allowRequest: "no" }, async (server) => {
    const socket = io4(server.url, { reconnection: false });
    const [error] = await once(socket, "connect_error");
    assert.deepEqual([error.message, error.description, error.context.status], ["xhr poll error", 403, 403]);
    socket.disconnect();
  }));

  it("M57 without WebSocket the connection stays on polling", withServer({ transports: ["polling"] }, {}, async (server) => {
    const socket = io4(server.url);
    await once(socket, "connect");
    assert.equal(socket.io.engine.transport.name, "polling");
    assert.deepEqual(socket.io.engine.upgrades ?? [], []);
    socket.disconnect();
  }));
});
