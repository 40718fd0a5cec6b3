// Two servers of Node and two of ours, one cluster on a real Redis, with the classic adapter and the sharded one.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { it } from "node:test";
import { io as connect } from "socket.io-client";
import { cluster, freePort, node, ours, sio, skipped } from "../cluster.mjs";
import { once, within } from "../harness.mjs";
import { lacksRedis, startRedis } from "../redis.mjs";

/** A Redis Cluster of three nodes. */
async function startRedisCluster() {
  const folder = mkdtempSync(join(tmpdir(), "redis-cluster-"));
  const ports = [];
  // The nodes speak to each other on ports that are higher by 10,000.
  while (ports.length < 3) {
    const port = await freePort();
    if (port < 55_000) ports.push(port);
  }
  const nodes = await Promise.all(
    ports.map((port) => startRedis({ port, words: ["--cluster-enabled", "yes", "--cluster-config-file", join(folder, `${port}.conf`)] })),
  );
  const addresses = ports.map((port) => `127.0.0.1:${port}`);
  const create = spawnSync("redis-cli", ["--cluster", "create", ...addresses, "--cluster-yes"]);
  assert.equal(create.status, 0, `${create.stdout} ${create.stderr}`);
  const stop = () => {
    for (const node of nodes) node.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { url: nodes.map(({ url }) => url).join(","), stop };
}

const members = () => [
  { name: "node", words: node, client: "redis" },
  { name: "ours", words: [ours] },
  { name: "node too", words: node, client: "ioredis", specific: true },
  { name: "ours too", words: [ours] },
];
const common = { lacks: lacksRedis, backend: "redis", start: startRedis };
const sharded = (mode) => ({ options: { mode }, serve: ["--redis-adapter", "sharded", "--redis-subscriptions", mode], ms: 30_000 });

it("sio serve finds its Redis through a sentinel", { skip: skipped(lacksRedis) || (!existsSync(sio) && "there is no sio here") }, async () => {
  const redis = await startRedis();
  const folder = mkdtempSync(join(tmpdir(), "sentinel-"));
  const port = await freePort();
  const conf = join(folder, "sentinel.conf");
  writeFileSync(conf, `port ${port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 ${new URL(redis.url).port} 1\n`);
  const sentinel = spawn("redis-server", [conf, "--sentinel"], { stdio: "ignore" });
  const words = ["serve", "--port", "0", "--log-format", "json", "--redis", `redis://127.0.0.1:${port}`, "--redis-sentinel", "main"];
  const child = spawn(sio, words, { stdio: ["ignore", "ignore", "pipe"] });
  let socket;
  try {
    const serving = new Promise((resolve) =>
      createInterface({ input: child.stderr }).on("line", (line) => {
        const { message, address } = JSON.parse(line).fields;
        if (message === "serving") resolve(address);
      }),
    );
    socket = connect(`http://${await within(serving, "serving")}`, { transports: ["websocket"] });
    await once(socket, "connect");
    const news = once(socket, "news");
    const emit = () => spawnSync(sio, ["emit", "--redis", redis.url, "news", '"through the sentinel"']);
    let isHeard = false;
    news.then(() => (isHeard = true), () => {});
    // What is emitted before the server listens is lost.
    while (!isHeard && emit()) await Promise.race([news, new Promise((resolve) => setImmediate(resolve))]);
    assert.deepEqual(await news, ["through the sentinel"]);
  } finally {
    socket?.close();
    for (const one of [child, sentinel]) one.kill("SIGKILL");
    redis.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

// S078.
cluster({ ...common, title: "a cluster of Node and ours on Redis", members: members(), hasAllRooms: true });
for (const mode of ["dynamic", "dynamic-private", "static"]) {
  cluster({ ...common, title: `a sharded cluster of Node and ours, ${mode}`, members: members(), ...sharded(mode) });
}
// Here rooms with channels of their own would be out of order with the rest.
cluster({ ...common, title: "a sharded cluster of Node and ours on a Redis Cluster", start: startRedisCluster, members: members(), ...sharded("static") });
