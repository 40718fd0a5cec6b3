// The Rust client and real servers of other makes: each case that JavaScript's client passed ten times of ten (peers/recorded.json) passes with
// ours. At the end the table of all of them, with JavaScript's count where it did not.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { isReference } from "../harness.mjs";
import { ALONE, CASES, SERVERS, WAYS, lacks, record, start } from "../peers/servers.mjs";

const client = process.env.SIO_CLIENT ?? fileURLToPath(new URL("../../target/release/examples/interop_client", import.meta.url));

const run = (url, revision, way, name) =>
  new Promise((resolve, reject) => {
    const args = ["--url", url, "--scenario", `plain ${name}`, "--transports", WAYS[way].join(","), "--version", revision === 3 ? "2" : "4"];
    execFile(client, args, { timeout: 70_000 }, (error, _, stderr) => (error ? reject(new Error(`${name}: ${stderr || error}`)) : resolve()));
  });

async function several(tries = 1, play) {
  try {
    return await play();
  } catch (error) {
    if (tries === 1) throw error;
    return several(tries - 1, play);
  }
}

const { passed } = record();
const rows = [];

const servers = SERVERS.filter((one) => !one.all || process.env.SIO_ALL);

// Once, not once for each server under test.
describe("the Rust client and servers of other makes", { concurrency: 2, skip: !isReference && "they are tried with the reference" }, () => {
  for (const one of servers) {
    describe(one.name, { concurrency: false, skip: lacks(one) }, () => {
      let server;
      before(async () => (server = await start(one)));
      after(() => server?.stop());
      const ways = one.revisions.flatMap((revision) => Object.keys(WAYS).map((way) => ({ name: one.name, revision, way })));
      rows.push(...ways);
      const play = (row, name) => {
        const { revision, way } = row;
        const count = passed[one.name]?.[`${revision} ${way}`]?.[name];
        it(`Engine.IO ${revision} over ${way}: ${name}`, async () => {
          assert.notEqual(count, undefined, "no verdict of JavaScript's: node interop/peers/servers.mjs");
          row[name] = count < 10 ? `${count} of 10` : "FAILS";
          if (count < 10) return;
          await several(one.tries, () => run(server.url, revision, way, name));
          row[name] = "yes";
        });
      };
      describe("together", { concurrency: 3 }, () => {
        for (const row of ways) {
          for (const name of Object.keys(CASES).filter((name) => !ALONE.includes(name))) play(row, name);
        }
      });
      describe("alone", { concurrency: false }, () => {
        for (const row of ways) {
          for (const name of ALONE) play(row, name);
        }
      });
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
