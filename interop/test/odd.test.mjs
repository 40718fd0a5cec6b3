// Our client before servers that are odd in one or two ways: where JavaScript's client has delivered ten
// of ten times, ours does. interop/odd/run.mjs compares both now, and records.
import assert from "node:assert/strict";
import fs from "node:fs";
import { describe, it } from "node:test";
import { Program } from "../harness.mjs";
import { DIFFERENCES } from "../odd/differences.mjs";
import { Client, KINDS, RECORDED, difference, each, isAsGood, once, ours } from "../odd/run.mjs";

// The client is the same whatever the server under test is.
const skip = process.env.SIO_SERVER === "reference" && "our client is tested with our server's suites";

describe("odd servers", { skip, timeout: 90_000 }, () => {
  it("each documented difference is about an oddity that there is, and stands in the notes", () => {
    const names = new Set(Object.values(KINDS).flatMap(({ ODDITIES }) => ODDITIES.flat(1).filter((name) => typeof name === "string")));
    const notes = fs.readFileSync(new URL("../../docs/protocol-notes.md", import.meta.url), "utf8");
    for (const name of Object.keys(DIFFERENCES)) {
      assert.ok(names.has(name), name);
      assert.ok(notes.includes(`| ${name} | ${DIFFERENCES[name]} |`), `${name} is missing in docs/protocol-notes.md`);
    }
  });

  it("a program that was not built is said to be missing, and how to build it", async () => {
    const missing = "/nowhere/target/release/examples/odd_client";
    const told = /cannot be started \(ENOENT\): cargo build --release --example odd_client/;
    await assert.rejects(new Client([missing]).verdict({ id: 1 }), told);
    await assert.rejects(new Program([missing]).fact("listening"), told);
    await new Program([missing]).exited;
  });

  const { seed, by, ...kinds } = JSON.parse(fs.readFileSync(RECORDED));
  assert.deepEqual(Object.keys(kinds), Object.keys(KINDS));
  for (const [kind, cases] of Object.entries(kinds)) {
    it(`ours delivers where JavaScript's client has: ${kind}`, async () => {
      const { generate, start } = KINDS[kind];
      const server = await start();
      const client = ours();
      const worse = [];
      const odds = cases.map(([names, , verdict], index) => {
        const odd = generate(seed, index);
        assert.equal(odd.names.join(" + "), names, "the table has changed: record again with interop/odd/run.mjs --record");
        return verdict.startsWith("delivers") && !difference(odd) ? odd : undefined;
      });
      // Certificates are made before anybody waits for them.
      for (const odd of odds) if (odd) server.prepare?.(odd);
      try {
        await each(cases.length, async (index) => {
          const [names, way, verdict] = cases[index];
          if (!odds[index]) return;
          // A busy machine is given another chance, and more time.
          for (const deadline of [4000, 12_000]) {
            const mine = await once(server, client, odds[index], deadline);
            if (isAsGood(mine, verdict)) return;
            if (deadline > 4000) worse.push(`${index}: ${names} (${way}): JavaScript ${verdict}, ours ${mine}`);
          }
        });
      } finally {
        client.end();
        server.close();
      }
      assert.deepEqual(worse, []);
    });
  }
});
