// The differential test: generated scripts at the reference and at this project's server.
//
//   node interop/differential/run.mjs --cases 20000 --seed 1
//   node interop/differential/run.mjs --seed 1 --only 4711      one case, with all that came
//
// SIO_SERVER is the command that starts this project's server (target/release/examples/interop_server).
import { pathToFileURL } from "node:url";
import { SETS } from "./options.mjs";
import { generate } from "./scripts.mjs";
import { Server } from "./server.mjs";
import { judge } from "./judge.mjs";
import { rows } from "./table.mjs";
import { RULES } from "./rules.mjs";
import { shrink } from "./shrink.mjs";

/** Pairs of servers at a time, and cases in flight at each. */
const PAIRS = 3;
const IN_FLIGHT = 8;

/**
 * Plays `cases` scripts. `{failures, seen}`: for each case that shows what the table does not have its number, the
 * smallest script and the differences; and how often each row of the table was seen.
 */
export async function run({ seed, cases, ours, most = 20, only }) {
  const numbers = only === undefined ? Array.from({ length: cases }, (_, i) => i) : [only];
  const bySet = new Map();
  for (const number of numbers) {
    const { set } = generate(seed, number);
    bySet.set(set, [...(bySet.get(set) ?? []), number]);
  }
  const failures = [];
  const seen = new Map();
  const sets = [...bySet.keys()];
  const work = async () => {
    for (let set; (set = sets.shift()) !== undefined; ) {
      const servers = await start(SETS[set], ours);
      const left = bySet.get(set);
      const lane = async () => {
        for (let number; (number = left.shift()) !== undefined && failures.length < most; ) {
          const { script } = generate(seed, number);
          const verdict = await judge(script, SETS[set], servers);
          for (const row of verdict.known) seen.set(row, (seen.get(row) ?? 0) + 1);
          const dead = servers.find(({ dead }) => dead !== undefined);
          if (dead) throw new Error(`case ${number}: ${dead.child.spawnargs[0]} ended with ${dead.dead}: ${dead.errors}`);
          if (only !== undefined) console.log(JSON.stringify(verdict, null, 1));
          if (verdict.left.length) failures.push({ number, set, script, left: verdict.left });
        }
      };
      try {
        await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
      } finally {
        await Promise.all(servers.map((server) => server.stop()));
      }
    }
  };
  await Promise.all(Array.from({ length: PAIRS }, work));
  return { failures: failures.sort((a, b) => a.number - b.number), seen };
}

const start = (set, ours) => Promise.all([Server.start(set), Server.start(set, ours)]);

/** The smallest script that shows a failure, as text. */
export async function smallest({ number, set, script, left: [first] }, seed, ours) {
  const servers = await start(SETS[set], ours);
  try {
    const differs = async (smaller) => (await judge(smaller, SETS[set], servers, [1])).left.some((other) => kind(other) === kind(first));
    const small = await shrink(script, differs);
    const { left } = await judge(small, SETS[set], servers, [1]);
    const lines = [
      `case ${number} of seed ${seed}, options ${JSON.stringify(SETS[set].options)}, flags ${JSON.stringify(SETS[set].flags)}:`,
      ...small.map((step, i) => `  ${i}. ${JSON.stringify(step)}`),
      ...left.map(({ at, field, reference, ours }) => `  at ${at}, ${field}: reference ${JSON.stringify(reference)}, ours ${JSON.stringify(ours)}`),
    ];
    return lines.join("\n");
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** What remains of a difference while its script gets smaller. */
function kind({ field, reference, ours }) {
  const of = (value) => {
    if (value === undefined) return "nothing";
    if (value.fact) return Object.keys(value.fact)[0];
    return value.frame ?? value.status ?? value.state ?? (field === "entry" ? Object.keys(value)[0] : "");
  };
  return [field, field === "status" ? `${reference} ${ours}` : "", of(reference), of(ours)].join();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const words = process.argv.slice(2);
  const argument = (name, otherwise) => (words.includes(name) ? words[words.indexOf(name) + 1] : otherwise);
  const ours = process.env.SIO_SERVER ?? new URL("../../target/release/examples/interop_server", import.meta.url).pathname;
  const seed = Number(argument("--seed", 1));
  const only = argument("--only");
  const given = { seed, cases: Number(argument("--cases", 500)), ours, most: Number(argument("--most", 20)), only: only && Number(only) };
  const { failures, seen } = await run(given);
  for (const row of new Set(RULES.map(({ row }) => row))) {
    console.log(`${String(seen.get(row) ?? 0).padStart(6)} ${row}${rows().includes(row) ? "" : ": not in the table"}`);
  }
  console.log(`${failures.length} of ${given.cases} cases show what docs/protocol-notes.md does not have: ${failures.map(({ number }) => number).join(" ")}`);
  for (const failure of failures.slice(0, 5)) console.log(await smallest(failure, seed, ours));
  process.exit(failures.length ? 1 : 0);
}
