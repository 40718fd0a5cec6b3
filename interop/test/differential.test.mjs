// What generated scripts show at this server and at the reference; `node differential/run.mjs --cases 20000` shows more.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isReference } from "../harness.mjs";
import { RULES } from "../differential/rules.mjs";
import { run, smallest } from "../differential/run.mjs";
import { shrink } from "../differential/shrink.mjs";
import { rows } from "../differential/table.mjs";

const SEED = 22;
const CASES = 250;

describe("differential", { skip: isReference && "there is nothing to compare the reference with" }, () => {
  it("every difference has its row in docs/protocol-notes.md", async () => {
    const ours = process.env.SIO_SERVER;
    const { failures } = await run({ seed: SEED, cases: CASES, ours });
    const shown = [];
    for (const failure of failures.slice(0, 3)) shown.push(await smallest(failure, SEED, ours));
    assert.equal(failures.length, 0, `${failures.length} of ${CASES} cases show what the table does not have\n${shown.join("\n")}`);
  });

  it("every rule names a row", () => {
    for (const { row } of RULES) assert.ok(rows().includes(row), row);
  });

  it("a script gets as small as what it shows", async () => {
    const noise = { do: "request", on: "c1", method: "GET", target: "/?a=1", headers: [["x", "y"]] };
    const script = [noise, { do: "frame", on: "c2", op: 1, data: "hay needle hay", fin: false }, noise];
    const small = await shrink(script, async (steps) => steps.some(({ data }) => data?.includes("needle")));
    assert.deepEqual(small, [{ do: "frame", on: "c2", op: 1, data: "needle", fin: false }]);
  });
});
