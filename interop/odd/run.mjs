// Our client and JavaScript's before a server with one or two oddities.
//
//   node interop/odd/run.mjs --cases 5000 --seed 1       both, now: what JavaScript alone manages fails
//   node interop/odd/run.mjs --cases 200 --seed 7 --record   writes JavaScript's verdicts to recorded.json
//
// Ours is SIO_ODD_CLIENT, or target/release/examples/odd_client.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { notStarted } from "../harness.mjs";
import { DIFFERENCES } from "./differences.mjs";
import { generate } from "./oddities.mjs";
import { start } from "./server.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, "../..");
export const RECORDED = path.join(here, "recorded.json");
const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");
const OURS = process.env.SIO_ODD_CLIENT ?? path.join(target, "release/examples/odd_client");
const DEADLINE = 4000;
const AT_ONCE = 24;

/** A client's process: cases in, verdicts out. */
export class Client {
  waiting = new Map();
  constructor(...command) {
    this.child = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
    this.failed = new Promise((_, reject) => this.child.once("error", (error) => reject(notStarted(command[0], error))));
    this.failed.catch(() => {});
    // What is written to one that has ended is told by its end.
    this.child.stdin.on("error", () => {});
    readline.createInterface({ input: this.child.stdout }).on("line", (line) => {
      const { id, verdict } = JSON.parse(line);
      this.waiting.get(id)?.(verdict);
      this.waiting.delete(id);
    });
    this.child.on("exit", (code) => {
      for (const resolve of this.waiting.values()) resolve(`fails: the client's process ended with ${code}`);
    });
  }
  verdict(order) {
    const verdict = new Promise((resolve) => {
      this.waiting.set(order.id, resolve);
      if (this.child.exitCode !== null) resolve(`fails: the client's process ended with ${this.child.exitCode}`);
      this.child.stdin.write(JSON.stringify(order) + "\n");
    });
    return Promise.race([verdict, this.failed]);
  }
  end() {
    this.child.stdin.end();
  }
}

export const javascript = () => new Client(process.execPath, "--no-warnings", path.join(here, "javascript.mjs"));
export const ours = () => new Client(OURS);

/** Runs one case. */
let id = 0;
export async function once(server, client, odd, deadline = DEADLINE) {
  const mine = ++id;
  const url = server.add(mine, odd);
  const verdict = await client.verdict({ id: mine, url, revision: odd.revision, transport: odd.transport, deadline });
  server.remove(mine);
  return verdict;
}

/** Says whether a verdict is as good as another: an upgrade that JavaScript's client misses is no fault. */
export const isAsGood = (mine, theirs) => mine === theirs || (theirs.startsWith("delivers") && mine === "delivers over websocket");

/** The documented difference that a case falls under. */
export const difference = (odd) => odd.names.map((name) => DIFFERENCES[name]).find(Boolean);

/** Does something for each of many, a few at a time. */
export async function each(count, act, atOnce = AT_ONCE) {
  let next = 0;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next < count) await act(next++);
  }));
}

async function tenTimes(server, client, odd, wanted) {
  for (let n = 0; n < 9; n++) if ((await once(server, client, odd, 2 * DEADLINE)) !== wanted) return false;
  return true;
}

async function main() {
  const option = (name, otherwise) => {
    const at = process.argv.indexOf(name);
    return at < 0 ? otherwise : Number(process.argv[at + 1]);
  };
  const [count, seed] = [option("--cases", 500), option("--seed", 1)];
  const server = await start();
  const js = javascript();
  if (process.argv.includes("--record")) {
    const cases = [];
    await each(count, async (index) => {
      const odd = generate(seed, index);
      let verdict = await once(server, js, odd);
      if (verdict.startsWith("delivers") && !(await tenTimes(server, js, odd, verdict))) verdict = "not always";
      cases[index] = [odd.names.join(" + "), `${odd.transport} ${odd.revision}`, verdict.startsWith("fails") ? "fails" : verdict];
    });
    const version = (name) => JSON.parse(fs.readFileSync(path.join(root, "interop/node_modules", name, "package.json"))).version;
    const by = { "socket.io-client": [version("socket.io-client"), version("socket.io-client-v2")], node: process.version };
    const lines = cases.map((one) => "    " + JSON.stringify(one)).join(",\n");
    fs.writeFileSync(RECORDED, `{\n  "by": ${JSON.stringify(by)},\n  "seed": ${seed},\n  "cases": [\n${lines}\n  ]\n}\n`);
    js.end();
    return server.close();
  }
  const our = ours();
  const tally = {};
  const bad = [];
  await each(count, async (index) => {
    const odd = generate(seed, index);
    const [theirs, mine] = await Promise.all([once(server, js, odd), once(server, our, odd)]);
    const works = (verdict) => verdict.startsWith("delivers");
    let kind = works(theirs) ? (works(mine) ? "both" : "JavaScript alone") : works(mine) ? "ours alone" : "neither";
    if (works(theirs) && !isAsGood(mine, theirs)) {
      kind = difference(odd) ? "documented" : "worse";
      if (kind === "worse" && !(await tenTimes(server, js, odd, theirs))) kind = "JavaScript not always";
      // Once in ten is a fault, but not that the machine is busy.
      if (kind === "worse" && (await once(server, our, odd, 2 * DEADLINE)) === theirs && (await tenTimes(server, our, odd, theirs))) kind = "both";
      if (kind === "worse") bad.push(`${index}: ${odd.names.join(" + ")} (${odd.transport}, revision ${odd.revision}): JavaScript ${theirs}, ours ${mine}`);
    }
    tally[kind] = (tally[kind] ?? 0) + 1;
    if (kind === "ours alone" && process.argv.includes("--verbose")) console.log(`ours alone: ${odd.names.join(" + ")} ${odd.transport} ${odd.revision}: ${theirs}`);
  });
  console.log(bad.sort((a, b) => parseInt(a) - parseInt(b)).join("\n"));
  console.log(JSON.stringify(tally));
  js.end();
  our.end();
  server.close();
  process.exitCode = bad.length ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
