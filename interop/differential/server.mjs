// A scenario server, and what it tells of each case.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const REFERENCE = [process.execPath, new URL("../reference-server.mjs", import.meta.url).pathname];

/** So that what is read first is done first, compression included. */
const ONE_THREAD = { TOKIO_WORKER_THREADS: "1", UV_THREADPOOL_SIZE: "1" };

export class Server {
  facts = new Map();

  /** `ours` is the command that starts this project's server; without it the reference is started. */
  static async start({ options, flags }, ours) {
    const server = new Server();
    const words = ours ? ours.split(" ") : REFERENCE;
    const given = { ...flags, survive: true };
    const args = ["--port", "0", "--options", JSON.stringify(options), "--flags", JSON.stringify(given)];
    server.child = spawn(words[0], [...words.slice(1), ...args], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...ONE_THREAD } });
    server.exited = new Promise((resolve) => server.child.once("exit", (code, signal) => resolve(signal ?? code)));
    server.exited.then((why) => (server.dead = why ?? "exit"));
    server.errors = "";
    server.child.stderr.on("data", (data) => (server.errors = (server.errors + data).slice(-2000)));
    server.port = await new Promise((resolve, reject) => {
      createInterface({ input: server.child.stdout }).on("line", (line) => {
        const { case: name, ...fact } = JSON.parse(line);
        if (fact.listening) resolve(fact.listening);
        if (name === undefined) return;
        if (!server.facts.has(name)) server.facts.set(name, []);
        server.facts.get(name).push(fact);
      });
      server.exited.then((why) => reject(new Error(`${words[0]} ended with ${why}: ${server.errors}`)));
    });
    return server;
  }

  /** What was told of a case; it is forgotten. */
  take(name) {
    const facts = this.facts.get(name) ?? [];
    this.facts.delete(name);
    return facts;
  }

  async stop() {
    this.child.kill("SIGKILL");
    await this.exited;
  }
}
