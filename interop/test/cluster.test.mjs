// Two servers of Node and two of ours, one cluster on a real Redis: each operation from each server.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { io as connect } from "socket.io-client";
import { isReference, once, Server, within } from "../harness.mjs";

const ours = isReference ? "" : join(dirname(process.env.SIO_SERVER), "cluster_server");
const sio = process.env.SIO_BIN ?? join(dirname(dirname(ours)), "sio");
const node = [process.execPath, new URL("../cluster-node.mjs", import.meta.url).pathname];
const lacks = [[!isReference, "it runs with our servers"], [existsSync(ours), "there is no cluster_server here"], [!spawnSync("redis-server", ["--version"]).error, "there is no redis-server here"]];
const skip = lacks.find(([has]) => !has)?.[1] ?? false;

const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** A Redis with the options given. */
async function startRedis(port, ...options) {
  const words = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", ...options];
  const redis = spawn("redis-server", words, { stdio: ["ignore", "pipe", "inherit"] });
  await within(new Promise((resolve) => redis.stdout.on("data", (text) => `${text}`.includes("Ready to accept") && resolve())), "a Redis");
  return redis;
}

/** A Redis Cluster of three nodes: where they are, and how they are ended. */
async function startRedisCluster() {
  const folder = mkdtempSync(join(tmpdir(), "redis-cluster-"));
  const ports = [];
  // The nodes speak to each other on ports that are higher by 10,000.
  while (ports.length < 3) {
    const port = await freePort();
    if (port < 55_000) ports.push(port);
  }
  const nodes = await Promise.all(
    ports.map((port) => startRedis(port, "--cluster-enabled", "yes", "--cluster-config-file", join(folder, `${port}.conf`))),
  );
  const addresses = ports.map((port) => `127.0.0.1:${port}`);
  const create = spawnSync("redis-cli", ["--cluster", "create", ...addresses, "--cluster-yes"]);
  assert.equal(create.status, 0, `${create.stdout} ${create.stderr}`);
  const kill = () => {
    for (const child of nodes) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  };
  return { url: addresses.map((address) => `redis://${address}`).join(","), kill };
}

const modes = ["dynamic", "dynamic-private", "static"];
/** `options` are for all members. */
const adapters = [
  { title: "a cluster of Node and ours", options: {}, words: [] },
  ...modes.map((mode) => ({
    title: `a sharded cluster of Node and ours, ${mode}`,
    options: { mode },
    words: ["--redis-adapter", "sharded", "--redis-subscriptions", mode],
  })),
  // Here rooms with channels of their own would be out of order with the rest.
  {
    title: "a sharded cluster of Node and ours on a Redis Cluster",
    options: { mode: "static" },
    words: ["--redis-adapter", "sharded", "--redis-subscriptions", "static"],
    isRedisCluster: true,
  },
];

// S078.
for (const adapter of adapters) describe(adapter.title, { skip }, () => {
  let redis;
  const members = [
    { name: "node", words: node, client: "redis" },
    { name: "ours", words: [ours] },
    { name: "node too", words: node, client: "ioredis", specific: true },
    { name: "ours too", words: [ours] },
  ];

  before(async () => {
    if (adapter.isRedisCluster) redis = await startRedisCluster();
    else {
      const port = await freePort();
      redis = await startRedis(port);
      redis.url = `redis://127.0.0.1:${port}`;
    }
    for (const member of members) {
      const { name, client, specific, words } = member;
      const options = { ...adapter.options, redis: redis.url, name, client, specific };
      member.server = await Server.start(options, {}, words);
      member.control = connect(`${member.server.url}/control`, { transports: ["websocket"] });
      await once(member.control, "connect");
      member.order = (op, command = {}) => within(member.control.emitWithAck("do", { op, ...command }), `done: ${op} by ${name}`);
    }
    // The namespaces of all are subscribed to when all count all.
    await within(
      Promise.all(
        members.map(async ({ order }) => {
          while ((await order("serverCount")) !== members.length);
        }),
      ),
      "counted",
    );
  });

  after(async () => {
    for (const { server, control } of members) {
      control?.close();
      await server?.stop();
    }
    redis?.kill("SIGKILL");
  });

  /** A client at each server, of which each has heard what is new in `heard`. */
  async function withGuests(test) {
    const guests = [];
    try {
      for (const { server, name } of members) {
        const socket = connect(server.url, { auth: { name }, forceNew: true, transports: ["websocket"] });
        const heard = [];
        const waiting = [];
        socket.on("news", (...args) => {
          heard.push(args);
          waiting.shift()?.();
        });
        socket.on("ask", (...args) => args.pop()(socket.id));
        socket.on("echo", (value, ack) => ack(value));
        await once(socket, "connect");
        const next = async () => {
          if (!heard.length) await within(new Promise((resolve) => waiting.push(resolve)), `news for the guest of ${name}`);
          return heard.shift();
        };
        guests.push({ socket, name, next, heard });
      }
      await test(guests);
    } finally {
      for (const { socket } of guests) socket.close();
    }
  }

  const ids = (guests) => guests.map(({ socket }) => socket.id).sort();

  for (const { name, order } of members.map((member) => ({ name: member.name, order: (...args) => member.order(...args) }))) {
    describe(`from ${name}`, () => {
      /** A server of Node does its own part of a join only when Redis tells it. */
      const inRoom = (room, expected) =>
        within(
          (async () => {
            for (;;) {
              const found = await order("fetchSockets", { rooms: [room] });
              if (`${found.map(({ id }) => id).sort()}` === `${expected.sort()}`) return;
            }
          })(),
          `in ${room}`,
        );

      /** A server may listen for a room only when somebody is there. */
      const reached = (room, guests) =>
        within(
          Promise.all(
            guests.map(async ({ socket }) => {
              let heard = false;
              socket.once("probe", () => (heard = true));
              while (!heard) await order("emit", { event: "probe", rooms: [room] });
            }),
          ),
          `reached in ${room}`,
        );

      it("broadcasts text, binary, many arguments", () =>
        withGuests(async (guests) => {
          await order("emit", { event: "news", args: ["text", 1, { deep: [null, true, 2.5] }, "ünï"] });
          await order("emit", { event: "news", args: [Buffer.from([1, 2, 3]), { in: Buffer.from("deep") }] });
          for (const { next } of guests) {
            assert.deepEqual(await next(), ["text", 1, { deep: [null, true, 2.5] }, "ünï"]);
            assert.deepEqual(await next(), [Buffer.from([1, 2, 3]), { in: Buffer.from("deep") }]);
          }
        }));

      it("joins, leaves, and reaches rooms", () =>
        withGuests(async (guests) => {
          const [a, b, c] = guests.map(({ socket }) => socket.id);
          await order("socketsJoin", { rooms: [a, b], args: ["pair", "first"] });
          await order("socketsJoin", { rooms: [c], args: ["first"] });
          await inRoom("pair", [a, b]);
          await inRoom("first", [a, b, c]);
          await reached("pair", guests.slice(0, 2));
          await order("emit", { event: "news", rooms: ["pair"], args: ["pair"] });
          await order("emit", { event: "news", rooms: ["pair", "first"], except: [b], args: ["without b"] });
          await order("socketsLeave", { rooms: [a], args: ["pair"] });
          await inRoom("pair", [b]);
          await order("emit", { event: "news", rooms: ["pair"], args: ["left"] });
          await order("emit", { event: "news", args: ["end"] });
          const expected = [["pair", "without b", "end"], ["pair", "left", "end"], ["without b", "end"], ["end"]];
          for (const [i, { next }] of guests.entries()) {
            for (const text of expected[i]) assert.deepEqual(await next(), [text], `guest ${i}`);
          }
        }));

      it("gathers answers", () =>
        withGuests(async (guests) => {
          const answers = await order("emitWithAck", { event: "ask", timeout: 5_000 });
          assert.deepEqual(answers.sort(), ids(guests));
          const binary = await order("emitWithAck", { event: "echo", timeout: 5_000, args: [Buffer.from([9])] });
          assert.deepEqual(binary, guests.map(() => Buffer.from([9])));
          assert.deepEqual(await order("emitWithAck", { event: "ask", rooms: ["nobody"], timeout: 5_000 }), []);
        }));

      it("gives the answers that came when one is silent", () =>
        withGuests(async (guests) => {
          for (const { socket } of guests.slice(0, 1)) socket.off("ask");
          const answers = await order("emitWithAck", { event: "ask", timeout: 400 });
          assert.deepEqual(answers.sort(), ids(guests.slice(1)));
        }));

      it("fetches sockets, and asks one", () =>
        withGuests(async (guests) => {
          const sockets = await order("fetchSockets");
          assert.deepEqual(sockets.map(({ id }) => id).sort(), ids(guests));
          for (const { socket, name } of guests) {
            const found = sockets.find(({ id }) => id === socket.id);
            assert.deepEqual(found.data, { name });
            assert.deepEqual(found.rooms, [socket.id]);
            assert.deepEqual(found.handshake.auth, { name });
            assert.deepEqual(await order("askOne", { id: socket.id, event: "ask", timeout: 5_000 }), [socket.id]);
          }
        }));

      it("disconnects", () =>
        withGuests(async (guests) => {
          const gone = Promise.all(guests.map(({ socket }) => once(socket, "disconnect")));
          await order("disconnectSockets", { rooms: guests.map(({ socket }) => socket.id) });
          assert.deepEqual((await gone).map(([reason]) => reason), guests.map(() => "io server disconnect"));
        }));

      it("speaks to the other servers", async () => {
        const others = members.filter((member) => member.name !== name);
        await order("serverSideEmit", { event: "hello", args: ["there", 1] });
        for (const { server } of others) assert.deepEqual((await server.fact("heard")).heard, ['"there"', "1"]);
        const answers = await order("serverSideEmitWithAck", { event: "hello" });
        assert.deepEqual(answers.sort(), others.map((member) => member.name).sort());
        for (const { server } of others) await server.fact("heard");
        assert.equal(await order("serverCount"), members.length);
      });
    });
  }

  it("Node learns the rooms of all", { skip: adapter.options.mode ? "the sharded adapter does not ask" : false }, () =>
    withGuests(async (guests) => {
      const rooms = await members[0].order("allRooms");
      for (const { socket } of guests) assert.ok(rooms.includes(socket.id), `${rooms}`);
    }));

  it("sio serve joins", { skip: existsSync(sio) ? false : "there is no sio here" }, async () => {
    const child = spawn(sio, ["serve", "--port", "0", "--log-format", "json", "--redis", redis.url, ...adapter.words], { stdio: ["ignore", "ignore", "pipe"] });
    const exited = new Promise((resolve) => child.once("exit", resolve));
    try {
      const serving = (resolve) =>
        createInterface({ input: child.stderr }).on("line", (line) => {
          const { message, address } = JSON.parse(line).fields;
          if (message === "serving") resolve(address);
        });
      const socket = connect(`http://${await within(new Promise(serving), "serving")}`, { transports: ["websocket"] });
      await once(socket, "connect");
      const [first] = members;
      const all = async () => (await first.order("fetchSockets")).map(({ id }) => id);
      await within((async () => { while (!(await all()).includes(socket.id)); })(), "found by Node");
      const news = once(socket, "news");
      await first.order("emit", { event: "news", args: ["from Node"] });
      assert.deepEqual(await news, ["from Node"]);
      socket.close();
    } finally {
      child.kill("SIGKILL");
      await exited;
    }
    await within((async () => { while ((await members[0].order("serverCount")) !== members.length); })(), "gone");
  });

  it("nothing troubled Node", async () => {
    for (const { server, words } of members.filter(({ words }) => words === node)) {
      await assert.rejects(Promise.race([server.fact("trouble"), Promise.reject(new Error("none"))]), /none/, `${words}`);
    }
  });

  it("one that is killed is not waited for", async () => {
    const last = members.at(-1);
    await last.server.stop();
    last.control.close();
    for (const { order } of members.slice(0, -1)) {
      await within(
        (async () => {
          while ((await order("serverCount")) !== members.length - 1);
        })(),
        "counted",
      );
      assert.ok(Array.isArray(await order("fetchSockets")));
    }
  });
});
