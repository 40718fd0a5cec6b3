// `sio emit` beside servers of Node with the official Redis adapter: what it writes, they hand on.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { after, before, describe, it } from "node:test";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";
import { isReference, once, within } from "../harness.mjs";

const sio = process.env.SIO_BIN ?? new URL("../../target/release/sio", import.meta.url).pathname;
const lacks = [[isReference, "it has nothing to do with the scenario server"], [existsSync(sio), "there is no sio here"], [!spawnSync("redis-server", ["--version"]).error, "there is no redis-server here"]];
const skip = lacks.find(([has]) => !has)?.[1] ?? false;

const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

// S079.
describe("sio emit", { skip }, () => {
  const servers = [];
  const clients = [];
  const redisClients = [];
  let redis, url, heard;

  before(async () => {
    const port = await freePort();
    url = `redis://127.0.0.1:${port}`;
    redis = spawn("redis-server", ["--port", `${port}`, "--bind", "127.0.0.1", "--save", ""], { stdio: ["ignore", "pipe", "inherit"] });
    await within(new Promise((resolve) => redis.stdout.on("data", (text) => `${text}`.includes("Ready to accept") && resolve())), "a Redis");
    for (let i = 0; i < 2; i++) {
      const [pub, sub] = [createClient({ url }), createClient({ url })];
      redisClients.push(pub, sub);
      await Promise.all([pub.connect(), sub.connect()]);
      const server = http.createServer();
      const io = new Server(server, { adapter: createAdapter(pub, sub) });
      for (const nsp of ["/", "/admin"]) io.of(nsp).on("connection", (socket) => socket.on("join", (room, done) => (socket.join(room), done())));
      await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
      servers.push({ io, port: server.address().port });
    }
    heard = [];
    for (const [i, { port: at }] of servers.entries()) {
      for (const nsp of ["", "/admin"]) {
        const client = connect(`http://127.0.0.1:${at}${nsp}`, { transports: ["websocket"], forceNew: true, reconnection: false });
        client.onAny((...args) => heard.push([`${i}${nsp}`, ...args]));
        clients.push(client);
        await once(client, "connect");
        await within(new Promise((resolve) => client.emit("join", `room ${i}`, resolve)), "join");
      }
    }
  });

  after(async () => {
    for (const client of clients) client.close();
    for (const { io } of servers) await new Promise((resolve) => io.close(resolve));
    for (const client of redisClients) await client.quit();
    redis?.kill();
  });

  const run = (...words) => spawnSync(sio, ["emit", "--redis", url, ...words], { encoding: "utf8", timeout: 8_000 });
  /** What clients hear until a last event has reached them all. */
  async function hears(count, ...words) {
    heard = [];
    const all = Promise.all(clients.filter((client) => client.connected).map((client) => once(client, "end")));
    const { status, stderr } = run(...words);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /^handed to 2 servers$/m);
    for (const { io } of servers.slice(0, 1)) for (const nsp of ["/", "/admin"]) io.of(nsp).emit("end");
    await all;
    const events = heard.filter(([, name]) => name !== "end");
    assert.equal(events.length, count, JSON.stringify(events));
    return events.sort();
  }

  it("emits to all, with arguments of all kinds", async () => {
    const args = ["1", '"é€😀"', '{"a":[null,true]}', "@hex:000102"];
    for (const [, ...event] of await hears(2, "news", ...args)) {
      assert.deepEqual(event, ["news", 1, "é€😀", { a: [null, true] }, Buffer.from([0, 1, 2])]);
    }
    assert.deepEqual(await hears(2, "nothing"), [["0", "nothing"], ["1", "nothing"]]);
  });

  it("emits to rooms, without others, and in another namespace", async () => {
    assert.deepEqual(await hears(1, "--to", "room 1", "x"), [["1", "x"]]);
    assert.deepEqual(await hears(2, "--to", "room 0", "--to", "room 1", "x"), [["0", "x"], ["1", "x"]]);
    assert.deepEqual(await hears(1, "--except", "room 1", "x"), [["0", "x"]]);
    assert.deepEqual(await hears(1, "--namespace", "/admin", "--to", "room 0", "--volatile", "x"), [["0/admin", "x"]]);
  });

  it("makes sockets join and leave, and tells servers", async () => {
    const rooms = async () => (await servers[0].io.fetchSockets()).map((socket) => [...socket.rooms].filter((room) => room.startsWith("room"))).sort();
    const until = async (expected) => {
      // The request travels on another connection than the question.
      await within((async () => { while (JSON.stringify(await rooms()) !== JSON.stringify(expected)); })(), JSON.stringify(expected));
    };
    assert.equal(run("--to", "room 0", "--join", "room 7").status, 0);
    await until([["room 0", "room 7"], ["room 1"]]);
    assert.equal(run("--leave", "room 7").status, 0);
    await until([["room 0"], ["room 1"]]);
    const told = servers.map(({ io }) => new Promise((resolve) => io.on("told", (...args) => resolve(args))));
    assert.equal(run("--server-side", "told", "1", '{"a":2}').status, 0);
    assert.deepEqual(await within(Promise.all(told), "told"), [[1, { a: 2 }], [1, { a: 2 }]]);
  });

  it("disconnects sockets", async () => {
    const gone = once(clients[2], "disconnect");
    assert.equal(run("--to", "room 1", "--disconnect", "--close").status, 0);
    assert.deepEqual((await gone)[0], "io server disconnect");
    assert.ok(clients[0].connected);
  });

  it("says what is wrong", () => {
    const nobody = run("--prefix", "other", "x");
    assert.deepEqual([nobody.status, /no server listens/.test(nobody.stderr)], [3, true]);
    assert.equal(run("x", "hello").status, 2);
    assert.equal(run("connect").status, 2);
  });

  /** What takes connections, answers so many requests, and then says no more. */
  const silent = (answers) => {
    const server = net.createServer((socket) => {
      let left = answers;
      socket.on("error", () => {}).on("data", (bytes) => {
        if (left-- > 0) socket.write("+OK\r\n".repeat(`${bytes}`.split("*").length - 1));
      });
    });
    return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
  };

  for (const [option, scheme] of [["--redis", "redis"], ["--postgres", "postgres"]]) {
    it(`does not wait without end for ${option}`, async () => {
      const peers = [await silent(0), await silent(1)];
      const ports = [await freePort(), ...peers.map((peer) => peer.address().port)];
      try {
        for (const port of ports) {
          const child = spawn(sio, ["emit", "x", option, `${scheme}://ada:secret@127.0.0.1:${port}/1`]);
          let said = "";
          child.stderr.on("data", (text) => (said += text));
          const ended = new Promise((resolve) => child.once("close", resolve));
          const status = await within(ended, `the end for ${port}`, 8_000).finally(() => child.kill("SIGKILL"));
          assert.equal(status, 1, said);
          assert.ok(said.includes(`${option} ${scheme}://127.0.0.1:${port}/1: `), said);
          assert.ok(!said.includes("secret"), said);
        }
      } finally {
        for (const peer of peers) peer.close();
      }
    });
  }
});
