// `sio doctor` against the fault lab: exactly what is wrong, and nothing where nothing is.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, describe, it } from "node:test";
import { argumentsFor, setups } from "../faults/lab.mjs";
import { isReference } from "../harness.mjs";

const built = isReference
  ? new URL("../../target/release/sio", import.meta.url).pathname
  : join(dirname(dirname(process.env.SIO_SERVER)), "sio");
const sio = process.env.SIO_BIN ?? built;
const print = (...args) => spawnSync(sio, ["doctor", ...args], { timeout: 5_000, encoding: "utf8" });
const help = existsSync(sio) ? print("--help") : undefined;
const skip = !help ? "there is no sio here" : help.status !== 0 ? "this sio has no doctor" : false;
const checks = skip ? "" : print("--list").stdout;

/** Why a set-up cannot be examined: the doctor has not learned it, or the machine lacks something. */
function unknown({ expect, inconclusive, arguments: args, missing }) {
  if (skip) return skip;
  const option = args.find((word) => word.startsWith("--") && !help.stdout.includes(word));
  if (option) return `the doctor has no ${option}`;
  const check = expect.find((id) => !checks.includes(id));
  if (check && !inconclusive) return `the doctor has no ${check}`;
  return missing();
}

/** What the doctor does not tell rightly yet. */
const NOT_YET = new Map([
  ["answers-late", "it does not measure when answers come"],
  ["nginx-read-timeout", "nginx asks the next server, which looks like missing stickiness"],
]);

const LIMIT = 10;
const HEALTHY = 0;
const ACCUSED = [1, 2, 4];
const INCONCLUSIVE = 4;

/** What the doctor says. */
const doctor = (args) =>
  new Promise((resolve, reject) => {
    const start = Date.now();
    // Twice the limit, so that a slow run is told as that.
    execFile(sio, ["doctor", ...args], { timeout: 2_000 * LIMIT, killSignal: "SIGKILL" }, (error, out, err) => {
      const seconds = (Date.now() - start) / 1_000;
      const code = error ? (error.code ?? error.signal) : 0;
      try {
        resolve({ code, seconds, ...JSON.parse(out) });
      } catch {
        reject(new Error(`no JSON after ${seconds} s, exit code ${code}: ${out}${err}`));
      }
    });
  });

const rows = [["set-up", "expected", "found", "confidence", "seconds"]];
const table = () => {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i])).join("  ").trimEnd()).join("\n");
};

describe("sio doctor", { skip, concurrency: 4 }, () => {
  after(() => !skip && console.log(table()));

  for (const setup of setups) {
    const { name, expect, may, not, inconclusive } = setup;
    it(`${name}: ${expect.join() || "healthy"}`, { skip: unknown(setup), todo: NOT_YET.get(name) }, async () => {
      const row = [name, expect.join() || "-", "no answer", "", ""];
      rows.push(row);
      const { url, stop } = await setup.start();
      let report;
      try {
        report = await doctor([url, "--json", ...argumentsFor(setup, url)]);
      } finally {
        await stop();
      }
      const { schema, findings, code, seconds } = report;
      const accused = findings.filter(({ severity }) => severity === "fatal" || severity === "warn");
      const found = [...new Set(accused.map(({ id }) => id))].sort();
      row.splice(2, 3, found.join() || "-", accused.map(({ confidence }) => confidence).join(), seconds.toFixed(1));

      assert.equal(schema, 1);
      const told = JSON.stringify(accused, null, 1);
      if (!(inconclusive && code === INCONCLUSIVE && !found.length)) {
        assert.deepEqual(found.filter((id) => !may.includes(id)), [...expect].sort(), told);
      }
      assert.deepEqual(findings.filter(({ id }) => not.includes(id)), [], "a false cause");
      if (!accused.length && !inconclusive) assert.equal(code, HEALTHY);
      else assert.ok(ACCUSED.includes(code) || (code === HEALTHY && accused.every(({ severity }) => severity === "warn")), `exit code ${code}`);
      assert.ok(seconds < LIMIT, `it took ${seconds} s`);
    });
  }
});
