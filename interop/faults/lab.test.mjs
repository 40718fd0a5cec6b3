// Are the faults real? Each set-up shows a user of the official client what the doctor is to explain.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { within } from "../harness.mjs";
import { setups } from "./lab.mjs";
import { connects } from "./symptoms.mjs";

describe("the fault lab", { concurrency: 4 }, () => {
  it("has a healthy twin for every fault, and names once", () => {
    const named = new Map(setups.map((setup) => [setup.name, setup]));
    assert.equal(named.size, setups.length);
    for (const { name, expect, informs, twin } of setups) {
      if (expect.length || informs.length) assert.deepEqual(named.get(twin)?.expect, [], `${name} has no healthy twin`);
    }
  });

  for (const setup of setups) {
    it(`${setup.name}: ${[...setup.expect, ...setup.informs].join() || "healthy"}`, { skip: setup.missing() }, async () => {
      assert.ok(setup.sees || !(setup.expect.length || setup.informs.length), "nothing is said of what a user sees");
      const { url, stop } = await setup.start();
      try {
        await within((setup.sees ?? connects())(url), "shown", 15_000);
      } finally {
        await stop();
      }
    });
  }
});
