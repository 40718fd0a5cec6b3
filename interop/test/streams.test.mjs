// The same on Redis streams, and clients that come back from a server of Node to one of ours and the
// other way round, also when theirs was killed.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import net from "node:net";
import { it } from "node:test";
import { io as connect } from "socket.io-client";
import { allCount, cluster, listen, node, ours, skipped, startMember, stopMember } from "../cluster.mjs";
import { once, within } from "../harness.mjs";
import { lacksRedis, startRedis } from "../redis.mjs";

/** A way to one of several servers: `to` is changed, and connections are cut, while clients are there. */
async function detour(port) {
  const sockets = new Set();
  const way = { to: port };
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    if (!way.to) return socket.destroy();
    const upstream = net.connect(way.to, "127.0.0.1");
    upstream.on("error", () => {});
    for (const [one, other] of [[socket, upstream], [upstream, socket]]) {
      sockets.add(one);
      one.pipe(other);
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  way.url = `http://127.0.0.1:${server.address().port}`;
  way.cut = () => sockets.forEach((socket) => socket.destroy());
  way.close = () => {
    server.close();
    way.cut();
  };
  return way;
}

for (const streams of [1, 3]) {
  const members = [
    { name: "node", words: node, client: "redis" },
    { name: "ours", words: [ours] },
    { name: "node too", words: node, client: "ioredis" },
    { name: "ours too", words: [ours] },
  ];

  cluster({
    title: `a cluster of Node and ours with ${streams} of Redis streams`,
    lacks: lacksRedis,
    backend: "redis",
    start: startRedis,
    members,
    options: { streams },
    serve: ["--redis-adapter", "streams", "--redis-streams", `${streams}`, "--recovery", "120"],
    more: ({ running }) => {
      /** Lets a client lose its server and come back to another; gives what it heard meanwhile. */
      async function move(from, to, meanwhile, lose) {
        const way = await detour(from.server.port);
        const socket = connect(way.url, { auth: { name: "Ada" }, forceNew: true, transports: ["websocket"], reconnectionDelay: 30, reconnectionDelayMax: 60 });
        try {
          const { next } = listen(socket, "the one that moves");
          await once(socket, "connect");
          const { id } = socket;
          await from.order("socketsJoin", { rooms: [id], args: ["room"] });
          await within((async () => { while (!(await from.order("fetchSockets", { rooms: ["room"] })).some((found) => found.id === id)); })(), "in the room");
          await to.order("emit", { event: "news", args: ["first"] });
          assert.deepEqual(await next(), ["first"]);
          way.to = undefined;
          const gone = once(socket, "disconnect");
          await lose(way, id);
          await gone;
          const expected = await meanwhile(id);
          const back = once(socket, "connect");
          way.to = to.server.port;
          await back;
          assert.deepEqual([socket.recovered, socket.id], [true, id]);
          for (const args of expected) assert.deepEqual(await next(), args);
          const here = (await to.order("fetchSockets", { rooms: ["room"] })).find((found) => found.id === id);
          assert.deepEqual([here.data, here.rooms.sort()], [{ name: "Ada" }, [id, "room"].sort()]);
          await to.order("emit", { event: "news", rooms: ["room"], args: ["live"] });
          assert.deepEqual(await next(), ["live"]);
        } finally {
          socket.disconnect();
          way.close();
        }
      }

      /** What is emitted while a client is away, by one server; gives what the client is to hear. */
      const emitted = (by) => async (id) => {
        const emit = (args, command = {}) => by.order("emit", { event: "news", args, ...command });
        await emit(["missed", 1, { deep: [null] }]);
        await emit([Buffer.from([1, 2, 3]), { in: Buffer.from("deep") }], { rooms: ["room"] });
        await emit(["not for us"], { rooms: ["elsewhere"] });
        await emit(["except us"], { except: ["room"] });
        await emit(["alone"], { rooms: [id] });
        return [["missed", 1, { deep: [null] }], [Buffer.from([1, 2, 3]), { in: Buffer.from("deep") }], ["alone"]];
      };

      const [aNode, our, anotherNode, ourOther] = members;
      for (const [from, to, by] of [[aNode, our, anotherNode], [our, aNode, our], [our, ourOther, aNode], [ourOther, our, our], [aNode, our, ourOther]]) {
        it(`a client comes back from ${from.name} to ${to.name} while ${by.name} emits`, () =>
          move(from, to, emitted(by), async (way, id) => {
            way.cut();
            // As soon as the server knows: Node keeps a client only then.
            await within((async () => { while ((await to.order("fetchSockets")).some((found) => found.id === id)); })(), "gone");
          }));
      }

      for (const to of [our, aNode]) {
        it(`a client whose server is killed comes back to ${to.name}`, async () => {
          await move(ourOther, to, emitted(anotherNode), async () => {
            await stopMember(ourOther);
          });
          await startMember(ourOther, { redis: running().url, streams });
          await allCount(members);
        });
      }
    },
  });
}

it("nothing is lost or doubled while connections are cut and servers are killed", { skip: skipped(lacksRedis) }, async (t) => {
  const stress = new URL("../stress/cluster.mjs", import.meta.url).pathname;
  const options = ["--server", ours, "--clients", "40", "--seconds", "15", "--kill", "4", "--every", "50"];
  const run = spawn(process.execPath, [stress, ...options], { stdio: ["ignore", "pipe", "inherit"] });
  let report = "";
  run.stdout.on("data", (text) => (report += text));
  const code = await within(new Promise((resolve) => run.once("close", resolve)), "the end of the stress", 120_000);
  t.diagnostic(report);
  assert.equal(code, 0, report);
});
