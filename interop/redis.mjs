// A Redis of a test's own.
import { spawn, spawnSync } from "node:child_process";
import { freePort } from "./cluster.mjs";
import { within } from "./harness.mjs";

export const lacksRedis = [!spawnSync("redis-server", ["--version"]).error, "there is no redis-server here"];

export async function startRedis({ port, words = [] } = {}) {
  port ??= await freePort();
  const redis = spawn("redis-server", ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", ...words], { stdio: ["ignore", "pipe", "inherit"] });
  await within(new Promise((resolve) => redis.stdout.on("data", (text) => `${text}`.includes("Ready to accept") && resolve())), "a Redis");
  return { url: `redis://127.0.0.1:${port}`, stop: () => redis.kill("SIGKILL") };
}
