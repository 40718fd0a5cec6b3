// Records what `Buffer.from(text, "base64")` makes of texts that are generated from a seed, one JSON
// array of a text and the bytes in hexadecimal on each line:
//   node record-base64.mjs > ../crates/proto/tests/api/base64.jsonl
const SEED = 22;
const COUNT = 1200;

let state = SEED;
const random = () => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
const below = (bound) => Math.floor(random() * bound);
const one = (list) => list[below(list.length)];

// The low bytes of the last ones are a digit, `=`, and neither.
const STRANGE = [
  "\n", "\r\n", " ", "\t", "=", "==", "-", "_", "+", "/", ".", ",", "!", "*", "%", "\"", "\\", "\0", "\x1e", "\x7f",
  "\u0080", "\u00c1", "\u00e9", "\u00ff", "\u0141", "\u013d", "\u20ac", "\ufeff", "\ufffd", "\u{1f600}", "\u{10400}",
];
const lines = (text, width, end) => text.replace(new RegExp(`.{1,${width}}`, "g"), (line) => line + end);
const mutations = [
  (text) => text,
  (text) => lines(text, 76, "\n"), // Java on Android
  (text) => lines(text, one([1, 4, 64, 76]), one(["\r\n", "\n", " "])),
  (text) => text.replaceAll("+", "-").replaceAll("/", "_"),
  (text) => text.replace(/=+$/, ""),
  (text) => text.slice(0, below(text.length + 1)),
  (text) => text.slice(below(text.length + 1)),
  (text) => `${text}${text}`,
  (text) => {
    const at = below(text.length + 1);
    return text.slice(0, at) + one(STRANGE) + text.slice(at);
  },
  (text) => [...text].map((c) => (below(20) === 0 ? one(STRANGE) : c)).join(""),
];

console.log(JSON.stringify([`Node ${process.version}, seed ${SEED}`, ""]));
for (let i = 0; i < COUNT; i++) {
  const length = below(4) === 0 ? below(200) : below(8);
  let text = Buffer.from(Array.from({ length }, () => below(256))).toString("base64");
  for (let n = below(4); n >= 0; n--) text = one(mutations)(text).toWellFormed();
  console.log(JSON.stringify([text, Buffer.from(text, "base64").toString("hex")]));
}
