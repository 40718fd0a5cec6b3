// Our client and JavaScript's before a server with one or two oddities.
//
//   node interop/odd/run.mjs --cases 5000 --seed 1       both, now: what JavaScript alone manages fails
//   node interop/odd/run.mjs --cases 200 --seed 7 --record   writes JavaScript's verdicts to recorded.json
//   node interop/odd/run.mjs --kind tls --only 14        one case, with both verdicts
//
// `--cases` is about HTTP, WebSocket and packets; beside them there are 60 cases each of TLS, proxies and
// cookies. `--kind` runs one kind alone, `--verbose` tells what ours alone manages.
//
// Ours is SIO_ODD_CLIENT, or target/release/examples/odd_client.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { notStarted } from "../harness.mjs";
import * as cookies from "./cookies.mjs";
import { DIFFERENCES } from "./differences.mjs";
import * as oddities from "./oddities.mjs";
import * as proxies from "./proxies.mjs";
import { start } from "./server.mjs";
import * as tls from "./tls.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.join(here, "../..");
export const RECORDED = path.join(here, "recorded.json");
const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");
const OURS = process.env.SIO_ODD_CLIENT ?? path.join(target, "release/examples/odd_client");
/** Milliseconds that a case has; those of TLS and proxies begin servers, and perhaps clients, of their own. */
const DEADLINE = 4000;
const LONGER = 12_000;
const AT_ONCE = 24;
/** So many cases there are of each kind but the first. */
const OF_EACH = 60;
/** What can be odd: `generate` makes a case, `start` a server for such cases. */
export const KINDS = {
  packets: { ...oddities, start, deadline: DEADLINE },
  tls: { ...tls, deadline: LONGER },
  proxies: { ...proxies, deadline: LONGER },
  cookies: { ...cookies, deadline: DEADLINE },
};

/** A client's process: cases in, verdicts out. */
export class Client {
  waiting = new Map();
  constructor(command, env = {}) {
    this.command = command;
    const [program, ...args] = command;
    // What stands in this process's environment is no part of a case.
    const plain = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name)));
    this.child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"], env: { ...plain, ...env } });
    this.failed = new Promise((_, reject) => this.child.once("error", (error) => reject(notStarted(program, error))));
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
  async verdict(order) {
    if (order.env && !order.isAlone) {
      // The environment is that of a whole process.
      const alone = new Client(this.command, order.env);
      const verdict = await alone.verdict({ ...order, isAlone: true });
      alone.end();
      return verdict;
    }
    const verdict = new Promise((resolve) => {
      this.waiting.set(order.id, resolve);
      if (this.child.exitCode !== null) resolve(`fails: the client's process ended with ${this.child.exitCode}`);
      this.child.stdin.write(JSON.stringify(order) + "\n");
    });
    return Promise.race([verdict, this.failed]);
  }
  /** JavaScript's clients may keep their process for long. */
  end() {
    this.child.stdin.end();
    this.child.kill();
  }
}

export const javascript = () => new Client([process.execPath, "--no-warnings", path.join(here, "javascript.mjs")]);
export const ours = () => new Client([OURS]);

/** Runs one case. */
let id = 0;
export async function once(server, client, odd, deadline) {
  const mine = ++id;
  const { revision, transport, cookies } = odd;
  const order = { ...(await server.add(mine, odd)), id: mine, revision, transport, cookies, deadline };
  const verdict = await client.verdict(order);
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

async function tenTimes(server, client, odd, wanted, deadline) {
  for (let n = 0; n < 9; n++) if (!isAsGood(await once(server, client, odd, deadline), wanted)) return false;
  return true;
}

const works = (verdict) => verdict.startsWith("delivers");
const told = (odd) => `${odd.names.join(" + ")} (${odd.transport}, revision ${odd.revision})`;

/** What both do of a case: in which tally it counts, and the verdicts. */
async function compared({ deadline }, server, js, our, odd) {
  const [theirs, mine] = await Promise.all([once(server, js, odd, deadline), once(server, our, odd, deadline)]);
  let kind = works(theirs) ? (works(mine) ? "both" : "JavaScript alone") : works(mine) ? "ours alone" : "neither";
  if (works(theirs) && !isAsGood(mine, theirs)) {
    kind = difference(odd) ? "documented" : "worse";
    if (kind === "worse" && !(await tenTimes(server, js, odd, theirs, 2 * deadline))) kind = "JavaScript not always";
    // Once in ten is a fault, but not that the machine is busy.
    if (kind === "worse" && isAsGood(await once(server, our, odd, 2 * deadline), theirs) && (await tenTimes(server, our, odd, theirs, 2 * deadline))) kind = "both";
  }
  return { kind, theirs, mine };
}

/** JavaScript's verdicts on the first cases of a seed. */
async function recorded({ generate, deadline }, server, js, seed, count) {
  const cases = [];
  await each(count, async (index) => {
    const odd = generate(seed, index);
    let verdict = await once(server, js, odd, deadline);
    if (works(verdict) && !(await tenTimes(server, js, odd, verdict, 2 * deadline))) verdict = "not always";
    cases[index] = [odd.names.join(" + "), `${odd.transport} ${odd.revision}`, verdict.startsWith("fails") ? "fails" : verdict];
  });
  return cases;
}

function write(seed, kinds) {
  const version = (name) => JSON.parse(fs.readFileSync(path.join(root, "interop/node_modules", name, "package.json"))).version;
  const by = {
    "socket.io-client": [version("socket.io-client"), version("socket.io-client-v2")],
    "https-proxy-agent": version("https-proxy-agent"), "http-proxy-agent": version("http-proxy-agent"),
    node: process.version, openssl: process.versions.openssl,
  };
  const lists = Object.entries(kinds).map(([kind, cases]) => {
    return `  ${JSON.stringify(kind)}: [\n${cases.map((one) => "    " + JSON.stringify(one)).join(",\n")}\n  ]`;
  });
  fs.writeFileSync(RECORDED, `{\n  "by": ${JSON.stringify(by)},\n  "seed": ${seed},\n${lists.join(",\n")}\n}\n`);
}

async function main() {
  const option = (name, otherwise) => {
    const at = process.argv.indexOf(name);
    return at < 0 ? otherwise : process.argv[at + 1];
  };
  const has = (name) => process.argv.includes(name);
  const seed = Number(option("--seed", 1));
  const count = (kind) => Number(option("--cases", kind === "packets" ? 500 : OF_EACH));
  const counts = (kind) => (option("--kind") ? count(kind) : kind === "packets" ? count(kind) : OF_EACH);
  const js = javascript();
  const our = has("--record") ? undefined : ours();
  const records = {};
  for (const [name, kind] of Object.entries(KINDS)) {
    if (option("--kind", name) !== name) continue;
    const { generate, start } = kind;
    const server = await start();
    const only = option("--only");
    // Certificates are made before anybody waits for them.
    for (let index = 0; index < counts(name); index++) server.prepare?.(generate(seed, index));
    if (has("--record")) records[name] = await recorded(kind, server, js, seed, counts(name));
    else if (only) console.log(told(generate(seed, Number(only))), await compared(kind, server, js, our, generate(seed, Number(only))));
    else {
      const [tally, bad] = [{}, []];
      await each(counts(name), async (index) => {
        const odd = generate(seed, index);
        const { kind: found, theirs, mine } = await compared(kind, server, js, our, odd);
        tally[found] = (tally[found] ?? 0) + 1;
        if (found === "worse") bad.push(`${index}: ${told(odd)}: JavaScript ${theirs}, ours ${mine}`);
        if (has("--all") || (found === "ours alone" && has("--verbose"))) console.log(`${index}: ${found}: ${told(odd)}: JavaScript ${theirs}, ours ${mine}`);
      });
      if (bad.length) console.log(bad.sort((a, b) => parseInt(a) - parseInt(b)).join("\n"));
      console.log(`${name}, seed ${seed}: ${JSON.stringify(tally)}`);
      if (bad.length) process.exitCode = 1;
    }
    server.close();
  }
  if (has("--record")) write(seed, records);
  js.end();
  our?.end();
  // Whatever a client has left open.
  process.exit();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
