// Two servers of Node and two of ours, one cluster on a real Redis, with the classic adapter and the sharded one.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cluster, freePort, node, ours } from "../cluster.mjs";
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

// S078.
cluster({ ...common, title: "a cluster of Node and ours on Redis", members: members(), hasAllRooms: true });
for (const mode of ["dynamic", "dynamic-private", "static"]) {
  cluster({ ...common, title: `a sharded cluster of Node and ours, ${mode}`, members: members(), ...sharded(mode) });
}
// Here rooms with channels of their own would be out of order with the rest.
cluster({ ...common, title: "a sharded cluster of Node and ours on a Redis Cluster", start: startRedisCluster, members: members(), ...sharded("static") });
