// Makes a script smaller as long as it shows a difference.

/** The smallest script found, `differs` being asked at most `limit` times, and not once `ms` are over. */
export async function shrink(script, differs, { limit = 200, ms = 60_000 } = {}) {
  const end = Date.now() + ms;
  let asked = 0;
  for (let found = true; found; ) {
    found = false;
    for (const smaller of candidates(script)) {
      if (asked++ >= limit || Date.now() >= end) return script;
      if (!(await differs(smaller))) continue;
      script = smaller;
      found = true;
      break;
    }
  }
  return script;
}

function* candidates(script) {
  for (let i = script.length - 1; i >= 0; i--) yield script.toSpliced(i, 1);
  for (const [i, step] of script.entries()) {
    for (const smaller of smallerSteps(step)) yield script.with(i, smaller);
  }
}

function* smallerSteps(step) {
  for (const name of ["chunks", "version", "form", "deflate", "mask", "rsv", "without"]) {
    if (step[name] === undefined) continue;
    const { [name]: _, ...rest } = step;
    yield rest;
  }
  for (let i = 0; i < (step.headers?.length ?? 0); i++) yield { ...step, headers: step.headers.toSpliced(i, 1) };
  for (const name of ["body", "data"]) {
    const value = step[name];
    if (typeof value === "string") for (const text of shorter(value, 1)) yield { ...step, [name]: text };
    else if (value?.hex) for (const hex of shorter(value.hex, 2)) yield { ...step, [name]: { hex } };
    else if (value?.times > 1) yield { ...step, [name]: { ...value, times: value.times >> 1 } };
  }
  if (typeof step.target === "string") {
    const [path, query] = step.target.split("?");
    const params = query?.split("&") ?? [];
    for (let i = 0; i < params.length; i++) yield { ...step, target: `${path}?${params.toSpliced(i, 1).join("&")}` };
  }
}

/** The text without a part of it, long parts first. */
function* shorter(text, unit) {
  for (let size = Math.floor(text.length / unit / 2) * unit; size >= unit; size = Math.floor(size / unit / 2) * unit) {
    for (let at = 0; at + size <= text.length; at += size) yield text.slice(0, at) + text.slice(at + size);
  }
}
