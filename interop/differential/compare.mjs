// Two outcomes beside each other.

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** The key under which entries of both outcomes belong together. */
const place = ({ step, on, session, fact }) => (fact ? "facts" : session ? `end ${session}` : `${step} ${on}`);

/**
 * What is not the same, in the order of the steps: `[{at, field, reference, ours}]`. `field` is the name of the part
 * where both have an answer or a frame, "entry" where one has something else or nothing.
 */
export function differences(reference, ours) {
  const places = new Map();
  for (const [side, outcome] of [reference, ours].entries()) {
    for (const entry of outcome) {
      const at = place(entry);
      if (!places.has(at)) places.set(at, [[], []]);
      const { step, on, session, ...rest } = entry;
      places.get(at)[side].push(rest);
    }
  }
  const found = [];
  const order = (at) => (at === "facts" ? 1e6 : at.startsWith("end") ? 1e5 : parseInt(at));
  for (const [at, [left, right]] of [...places].sort(([a], [b]) => order(a) - order(b))) {
    for (let i = 0; i < Math.max(left.length, right.length); i++) {
      const [a, b] = [left[i], right[i]];
      if (same(a, b)) continue;
      if (a?.status && b?.status) found.push(...fields(at, a, b));
      else {
        found.push({ at, field: "entry", reference: a, ours: b });
        // What follows is out of step.
        break;
      }
    }
  }
  return found;
}

function fields(at, a, b) {
  const found = [];
  for (const field of ["status", "welcome", "body"]) {
    if (a[field] !== b[field]) found.push({ at, field, reference: a[field], ours: b[field] });
  }
  for (const name of Object.keys({ ...a.headers, ...b.headers }).sort()) {
    const [left, right] = [a.headers?.[name], b.headers?.[name]];
    if (left !== right) found.push({ at, field: name, reference: left, ours: right });
  }
  return found;
}
