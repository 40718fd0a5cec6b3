// Plays a case at both servers and says what is not as the table has it.
import { differences } from "./compare.mjs";
import { play } from "./play.mjs";
import { RULES } from "./rules.mjs";

/**
 * A difference counts when it is there with more and more patience, since a busy machine makes servers look slow; what
 * only time decides is the same once in three times.
 */
const PATIENCE = [0, 1, 3];

/** `{known, left, reference, ours}`: the rows that were seen, and the differences that no row explains. */
export async function judge(script, set, servers, patience = PATIENCE) {
  let verdict;
  for (const wait of patience) {
    const [reference, ours] = await Promise.all(servers.map((server) => play(script, set, server, wait)));
    verdict = explain({ script, set, reference, ours });
    if (!verdict.left.length || verdict.left[0].field === "unfinished") break;
  }
  return verdict;
}

function explain(both) {
  const known = new Set();
  const left = [];
  // Whatever the other has: the rest of the script was not compared.
  if ([both.reference, both.ours].some((outcome) => outcome.at(-1)?.unfinished)) {
    left.push({ at: "end script", field: "unfinished", reference: both.reference.at(-1).unfinished, ours: both.ours.at(-1).unfinished });
    return { ...both, known, left };
  }
  for (const difference of differences(both.reference, both.ours)) {
    const rule = RULES.find(({ of }) => of(difference, both));
    if (!rule) {
      left.push(difference);
      continue;
    }
    known.add(rule.row);
    // Sessions that went different ways have nothing more to compare.
    if (rule.parts && !left.length) break;
  }
  return { ...both, known, left };
}
