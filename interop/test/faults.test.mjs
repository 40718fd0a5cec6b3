// `sio doctor` against the fault lab: exactly what is wrong, and nothing where nothing is, in time and without many requests.
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

/**
 * Each acceptance row that names a cause of trouble, and the set-ups that cause it. Those that are healthy show what must not
 * be told as a fault.
 */
const ROWS = {
  M11: ["round-robin-2", "random-2"],
  M12: ["preflight-refused", "cors-absent"],
  M13: ["drops-upgrade", "http10"],
  M14: ["forbidden"],
  M15: ["eio3-refused"],
  M16: ["plain-websocket"],
  M17: ["spa-without-server", "json-404-without-server"],
  M18: ["version-2"],
  M19: ["version-2", "eio3-refused"],
  M20: ["client-js-3-server-2", "client-js-3-server-4", "version-3"],
  M21: ["eio3-refused"],
  M22: ["client-js-1-server-2", "client-js-1-server-4", "client-js-1-server-4-eio3"],
  M23: ["client-js-2-server-4", "client-js-2-server-2", "client-js-2-server-4-eio3"],
  M24: ["client-js-3-server-2", "client-js-3-server-4"],
  M25: ["client-js-4-server-2", "client-js-4-server-4"],
  M26: ["client-java-1-server-4", "client-java-1-server-2", "client-java-1-server-4-eio3"],
  M27: ["client-java-2-server-2", "client-java-2-server-4"],
  M28: ["client-swift-15-server-4", "client-swift-15-server-2", "client-swift-15-server-4-eio3"],
  M29: ["client-swift-16-server-2", "client-swift-16-server-4"],
  M30: ["cors-absent", "cors-origin-not-listed"],
  M31: ["round-robin-3", "sticky-cookie", "nginx-no-stickiness", "apache-no-stickiness", "haproxy-no-stickiness"],
  M32: ["path-wrong"],
  M33: ["path-wrong", "nginx-path-stripped"],
  M34: ["path-wrong", "spa-path-wrong"],
  M35: ["path-is-namespace", "namespace-unknown"],
  M36: ["application-listens-instead", "listens-alone", "sio-serve", "nothing-listens"],
  M37: ["life-timeout"],
  M44: ["nginx-read-timeout", "nginx-ours-read-timeout", "idle-timeout"],
  M45: ["apache-read-timeout", "apache-ours-read-timeout"],
  M46: ["hidden-tab"],
  M47: ["hasty-heartbeat"],
  M49: ["version-2", "client-js-4-server-2", "eio3-refused"],
  M50: ["message-too-large"],
  M51: ["slow-upload", "ours-slow-upload"],
  M52: ["json-404-without-server"],
  M53: ["middleware-refuses"],
  M54: ["middleware-silent"],
  M55: ["drops-upgrade"],
  M56: ["pending-get-not-flushed"],
  M57: ["nginx-no-upgrade"],
  M58: ["polling-only", "no-upgrades"],
  M59: ["polling-only", "no-upgrades"],
  M60: ["connection-close"],
  M61: ["two-servers-in-one"],
};
const rowsOf = (name) => Object.keys(ROWS).filter((row) => ROWS[row].includes(name)).join();

const LIMIT = 10;
const BUDGET = 40;
const HEALTHY = 0;
const ACCUSED = [1, 2, 4];
const INCONCLUSIVE = 4;

/** What the doctor says. */
const doctor = (args) =>
  new Promise((resolve, reject) => {
    const start = Date.now();
    // Twice the limit, so that a slow run is told as that.
    execFile(sio, ["doctor", ...args], { timeout: 3_000 * LIMIT, killSignal: "SIGKILL" }, (error, out, err) => {
      const seconds = (Date.now() - start) / 1_000;
      const code = error ? (error.code ?? error.signal) : 0;
      try {
        resolve({ code, seconds, ...JSON.parse(out) });
      } catch {
        reject(new Error(`no JSON after ${seconds} s, exit code ${code}: ${out}${err}`));
      }
    });
  });

const rows = [["set-up", "rows", "expected", "found", "confidence", "requests", "seconds"]];
const table = () => {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) => row.map((cell, i) => cell.padEnd(widths[i])).join("  ").trimEnd()).join("\n");
};

describe("sio doctor", { skip, concurrency: 4 }, () => {
  after(() => !skip && console.log(table()));

  it("causes each row's trouble", () => {
    const named = new Map(setups.map((setup) => [setup.name, setup]));
    for (const [row, names] of Object.entries(ROWS)) {
      const causes = names.filter((name) => named.get(name).expect.length || named.get(name).informs.length);
      assert.ok(causes.length, `nothing causes the trouble of ${row}`);
    }
  });

  for (const setup of setups) {
    const { name, expect, may, not, informs, inconclusive } = setup;
    it(`${name}: ${[...expect, ...informs].join() || "healthy"} ${rowsOf(name)}`.trimEnd(), { skip: unknown(setup) }, async () => {
      const row = [name, rowsOf(name), [...expect, ...informs].join() || "-", "no answer", "", "", ""];
      rows.push(row);
      const { url, words, stop } = await setup.start();
      let report;
      try {
        report = await doctor([url, "--json", ...argumentsFor(setup, words)]);
      } finally {
        await stop();
      }
      const { schema, findings, layers, code, seconds, requests } = report;
      const accused = findings.filter(({ severity }) => severity === "fatal" || severity === "warn");
      const found = [...new Set(accused.map(({ id }) => id))].sort();
      row.splice(3, 4, found.join() || "-", accused.map(({ confidence }) => confidence).join(), `${requests}`, seconds.toFixed(1));

      assert.equal(schema, 1);
      const told = JSON.stringify(accused, null, 1);
      if (!(inconclusive && code === INCONCLUSIVE && !found.length)) {
        assert.deepEqual(found.filter((id) => !may.includes(id)), [...expect].sort(), told);
      }
      assert.deepEqual(findings.filter(({ id }) => not.includes(id)), [], "a false cause");
      for (const id of informs) assert.ok(findings.some((finding) => finding.id === id), `nothing is said by ${id}`);
      // The list and the findings agree.
      const failed = layers.filter(({ status }) => status === "failed").map(({ id }) => id);
      const fatal = new Set(accused.filter(({ severity }) => severity === "fatal").map(({ id }) => id));
      assert.deepEqual(failed.sort(), [...fatal].sort());
      const more = setup.arguments.some((word) => ["--backend", "--emit", "--payload", "--soak"].includes(word));
      assert.ok(requests <= BUDGET || more, `${requests} requests`);
      if (!expect.length && !inconclusive) assert.deepEqual(layers.filter(({ status }) => status === "inconclusive"), []);
      if (!accused.length && !inconclusive) assert.equal(code, HEALTHY);
      else assert.ok(ACCUSED.includes(code) || (code === HEALTHY && accused.every(({ severity }) => severity === "warn")), `exit code ${code}`);
      assert.ok(seconds < (more ? 2 * LIMIT : LIMIT), `it took ${seconds} s`);
    });
  }
});
