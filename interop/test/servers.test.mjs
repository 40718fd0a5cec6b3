// The Rust client and real servers of other makes: each case that JavaScript's client passed ten times of ten (peers/recorded.json) passes with
// ours, or stands in `DIFFERENT` with its reason. At the end the table of all of them.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { isReference } from "../harness.mjs";
import { CASES, SERVERS, WAYS, lacks, record, start } from "../peers/servers.mjs";

const client = process.env.SIO_CLIENT ?? fileURLToPath(new URL("../../target/release/examples/interop_client", import.meta.url));

/** What ours does not pass although JavaScript's does: `{ server, ways, cases, reason }`; `revisions` if not all. */
const DIFFERENT = [];
const different = (server, revision, way, name) =>
  DIFFERENT.find((one) => one.server.test(server) && (one.revisions ?? [revision]).includes(revision) && one.ways.includes(way) && one.cases.includes(name));

const run = (url, revision, way, name) =>
  new Promise((resolve, reject) => {
    const args = ["--url", url, "--scenario", `plain ${name}`, "--transports", WAYS[way].join(","), "--version", revision === 3 ? "2" : "4"];
    execFile(client, args, { timeout: 20_000 }, (error, _, stderr) => (error ? reject(new Error(`${name}: ${stderr || error}`)) : resolve()));
  });

const { passed } = record();
const rows = [];

// Once, not once for each server under test.
describe("the Rust client and servers of other makes", { concurrency: 2, skip: !isReference && "they are tried with the reference" }, () => {
  for (const one of SERVERS) {
    describe(one.name, { concurrency: false, skip: lacks(one) }, () => {
      let server;
      before(async () => (server = await start(one)));
      after(() => server?.stop());
      for (const revision of one.revisions) {
        for (const way of Object.keys(WAYS)) {
          const row = { name: one.name, revision, way };
          rows.push(row);
          for (const name of Object.keys(CASES)) {
            const count = passed[one.name]?.[`${revision} ${way}`]?.[name];
            const why = different(one.name, revision, way, name)?.reason ?? (count < 10 && `JavaScript's passes ${count} of 10`);
            it(`Engine.IO ${revision} over ${way}: ${name}`, async () => {
              assert.notEqual(count, undefined, "no verdict of JavaScript's: node interop/peers/servers.mjs");
              row[name] = why ? "known" : "FAILS";
              if (why) return;
              await run(server.url, revision, way, name);
              row[name] = "yes";
            });
          }
        }
      }
    });
  }
});

after(() => {
  if (!isReference) return;
  const names = Object.keys(CASES);
  const lines = [["server", "revision", "transport", ...names]];
  for (const row of rows) lines.push([row.name, `${row.revision}`, row.way, ...names.map((name) => row[name] ?? "-")]);
  const widths = lines[0].map((_, n) => Math.max(...lines.map((line) => line[n].length)));
  console.log("The Rust client and servers of other makes:");
  for (const line of lines) console.log(line.map((word, n) => word.padEnd(widths[n])).join("  "));
});
