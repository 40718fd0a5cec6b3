// How each difference that is meant is recognised. `row` is the first cell of its row in docs/protocol-notes.md. `of` sees
// one difference (`compare.mjs`) and the whole case; where the sessions part there, what follows says nothing more
// (`parts`).
import { decode } from "notepack.io";
import { messages } from "./messages.mjs";

const stepOf = ({ at }, { script }) => script[parseInt(at)];
const onOf = ({ at }) => at.split(" ").slice(1).join(" ");
const header = (step, name) => step?.headers?.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value) ?? [];
const target = (step) => step?.target ?? "";

/** What a step sends, as text. */
function sent({ body, data }) {
  const spec = body ?? data ?? "";
  if (typeof spec === "string") return spec.startsWith("d=") ? decoded(spec.slice(2)) : spec;
  return spec.hex !== undefined ? Buffer.from(spec.hex, "hex").toString("latin1") : (spec.before ?? "");
}

function decoded(form) {
  try {
    return decodeURIComponent(form);
  } catch {
    return form;
  }
}

/** Whether a step that passes the test comes before the difference. */
function after(d, { script }, test) {
  const until = /^\d/.test(d.at) ? parseInt(d.at) + 1 : script.length;
  return script.slice(0, until).some((step) => test(step, sent(step)));
}

/** A step whose bytes are the whole of a connection. */
const isRaw = (step, { script }) => step?.do === "bytes" && !script.some((other) => other !== step && other.on === step.on);
const WELL_FORMED = /^(\r\n)?GET \S+ HTTP\/1\.[01]\r\nX-Case: [^\r\n]*(\r\n(Host: h|X: ?y|Connection: keep-alive|Content-Length: 0))*\r\n\r\n/;
const isOdd = (text) => /[<>"{}|^`\u0080-\uffff]/.test(text.split("\r\n")[0]) || !(/Host: h/.test(text) && WELL_FORMED.test(text) && !/Host: [^]*Host: /.test(text));
const CONNECT = 0;
const DISCONNECT = 1;
const EVENT = 2;

/** Whether there is a step up to the difference whose packets pass the test. */
const sends = (d, both, test) => after(d, both, (step) => step.do !== "websocket" && test(messages(step, both.set)));
/** Whether one of the type has something behind it in its body. */
const isFollowed = (type) => (packets) => packets.slice(0, -1).some((packet) => packet.type === type);
/** Whether two ask for one namespace. */
const hasTwoConnects = (packets) => {
  const names = packets.filter(({ type }) => type === CONNECT).map(({ nsp }) => nsp);
  return new Set(names).size < names.length;
};
/** Whether an event has its CONNECT before it. */
const hasEarlyEvent = (packets) => packets.some(({ type, nsp }, i) => type !== CONNECT && packets.slice(0, i).some((other) => other.type === CONNECT && other.nsp === nsp));

/** Whether the bodies are the same but for where the answers to CONNECT stand; a middleware of `/guarded` waits. */
function isReordered(reference, ours) {
  if (typeof reference !== "string" || typeof ours !== "string") return false;
  const kinds = (body) => {
    const packets = body.split(/\x1e|(?<=[^\d])\d+:(?=4)/);
    const of = (test) => packets.filter(test).join();
    const is = (type) => (packet) => new RegExp(`^(\\d+:)?(4${type}|b\\{8.a47479706500?${type}a)`).test(packet);
    const waits = (packet) => packet.includes("/guarded,");
    const refusals = packets.filter(is(4)).sort().join();
    return [of((packet) => is(0)(packet) && !waits(packet)), of((packet) => is(0)(packet) && waits(packet)), refusals, of((packet) => !is(0)(packet) && !is(4)(packet))].join("|");
  };
  return kinds(reference) === kinds(ours);
}

/** A number of attachments that JavaScript's `Number` understands. */
const ODD_COUNT = /[56](0\d|0x|[ +]\d|\d+(\.|e| ))[^-]*-/;
/** A length that JavaScript's `Number` understands. */
const ODD_LENGTH = /(\s\d+|\+\d+|\d\.0*|\d\s+):[\db]/;
const text = (value) => (value === undefined ? "" : JSON.stringify(value));

/** Whether a body, a byte a character, is a whole binary payload of Engine.IO 3. */
function isBinaryPayload(body) {
  const found = /^([\0\x01])([\0-\x09]+)\xff/.exec(body);
  if (!found) return body === "";
  const length = [...found[2]].reduce((sum, digit) => sum * 10 + digit.charCodeAt(0), 0);
  const rest = body.slice(found[0].length);
  const isType = found[1] === "\0" ? /^[0-6]/ : /^[\0-\x06]/;
  return length > 0 && length <= rest.length && isType.test(rest) && isBinaryPayload(rest.slice(length));
}

/** What MessagePack has and JSON has not, or no encoder makes: ids, and names of events. */
const oddId = ({ type, id }) => type === EVENT && typeof id === "number" && (id < 0 || id > 2 ** 53);
const oddName = ({ type, data }) => type === EVENT && Array.isArray(data) && typeof data[0] === "object" && data[0] !== null;
const isMoment = ({ type, data }) => type === EVENT && Array.isArray(data) && ["disconnect", "disconnecting", "error"].includes(data[0]);
const hasOddKey = (value) => {
  // Keys that are arrays or dates, or deeper than 128: the decoder of the reference takes them.
  return typeof value === "string" && /8[1-9a-f](9[0-9a-f]|8[0-9a-f]|d[5678])/.test(value);
};

export const RULES = [
  {
    row: "a request that is not well-formed HTTP",
    parts: true,
    of: (d, both) => {
      const steps = /^\d/.test(d.at) ? [stepOf(d, both)] : both.script;
      return steps.some((step) => (isRaw(step, both) ? isOdd(step.data) : /[a-z]|FOO/.test(step?.method ?? "") || (step?.version === "1.0" && step.chunks)));
    },
  },
  {
    row: "HTTP/1.0",
    of: (d, both) => d.field === "connection" && d.reference === "close" && (stepOf(d, both)?.version === "1.0" || / HTTP\/1\.0/.test(stepOf(d, both)?.data)),
  },
  { row: "`Expect`", of: (d) => d.at.endsWith(" 100") },
  { row: "`Expect`", parts: true, of: (d, both) => (d.field === "status" ? d.reference : d.reference?.status) === 417 && header(stepOf(d, both), "expect").length > 0 },
  { row: "a target in absolute form, or `*`", parts: true, of: (d, both) => after(d, both, (step) => /^(http:|\*)/.test(target(step))) },
  {
    row: "a fragment in a target",
    of: (d, { script }) => d.reference?.fact && d.ours?.fact && script.some((step) => target(step).includes("#")) && text(d.reference).replaceAll("#x", "") === text(d.ours),
  },
  {
    row: "a refused request whose body has not been read",
    of: (d, { script }) => {
      if (!script.some((step) => step.on === onOf(d) && (step.body !== undefined || step.chunks))) return false;
      if (d.field === "connection") return d.reference === undefined && d.ours === "close";
      return d.reference?.state === "open" && d.ours?.state === "ended";
    },
  },
  { row: "Engine.IO 3 over polling: where `40` is", of: (d) => d.field === "welcome" },
  // Where the script goes no further.
  { row: "Engine.IO 3 over polling: where `40` is", of: (d) => d.field === "body" && d.ours?.replace("2:40", "") === d.reference && d.ours !== d.reference },
  {
    row: "a middleware that answers an upgrade itself",
    parts: true,
    of: (d, both) => both.set.flags.middleware === "401" && stepOf(d, both)?.do === "websocket" && d.reference === undefined && d.ours?.status === 401,
  },
  {
    row: "an Engine.IO 3 client over WebSocket",
    parts: true,
    of: (d, both) => stepOf(d, both)?.do === "websocket" && both.ours.some(({ step, body }) => step === parseInt(d.at) && body === "Unsupported protocol version"),
  },
  { row: "a WebSocket whose id cannot be generated", parts: true, of: (d, both) => both.set.flags.generateId === "fail" && stepOf(d, both)?.do === "websocket" },
  {
    row: "a WebSocket that says `transport=polling`, as native clients in Dart do by default",
    parts: true,
    of: (d, both) => d.ours?.fact?.connection_error?.context?.name === "UPGRADE_OF_POLLING" ||
      (stepOf(d, both)?.do === "websocket" && /transport=(p|%70)olling/.test(target(stepOf(d, both))) &&
        both.ours.some(({ step, status, body }) => step === parseInt(d.at) && status === 400 && body === "Bad request")),
  },
  { row: "compression over WebSocket", of: (d) => d.field === "sec-websocket-extensions" },
  { row: "compression over WebSocket", of: (d) => d.reference?.compressed && text({ ...d.reference, compressed: undefined }) === text({ ...d.ours, compressed: undefined }) },
  {
    row: "several packets while a GET waits",
    parts: true,
    of: (d) => d.field === "body" && typeof d.reference === "string" && d.reference.length > 1 && d.ours?.startsWith(d.reference) && !/^\x1e?6\x1e1$/.test(d.ours.slice(d.reference.length)),
  },
  { row: "`5` while a GET waits", of: (d, both) => d.field === "body" && /^(\d:)?1$|"(\d:)?1"/.test(d.reference) && /^(\d:)?6$|"(\d:)?6"/.test(d.ours) && after(d, both, (_, text) => text.startsWith("5")) },
  {
    row: "ack ids above 2^53, below 0 (MessagePack), or with white space",
    parts: true,
    of: (d, both) => after(d, both, (_, text) => /4[2356](\d*-)?(\/[^,]*,)?[^["{]*(\d{16,}|\s)/.test(text)) || sends(d, both, (packets) => packets.some(oddId)),
  },
  {
    row: "a placeholder without its attachment",
    parts: true,
    of: (d, both) =>
      after(d, both, (_, text) => /4[56]\d+-/.test(text)) &&
      after(d, both, (_, text) => /"num":(?!0(,|\}|\.0|e0)|-0|\d*\.5|1e-9)|"_placeholder":true(?!,"num":)|"_placeholder":1/.test(text)),
  },
  {
    row: "a binary payload of Engine.IO 3 that is cut short, or has a length or a type that is none",
    parts: true,
    of: (d, both) =>
      after(d, both, (step, text) => /octet-stream/.test(header(step, "content-type")) && !/EIO=4/.test(target(step)) && !isBinaryPayload(text)),
  },
  {
    row: "a space or a letter beyond ASCII in the namespace of an Engine.IO 3 client",
    of: (d) => typeof d.reference?.text === "string" && /%/.test(d.reference.text) && decoded(d.reference.text) === d.ours?.text,
  },
  { row: "an attachment that two placeholders name, or none", parts: true, of: (d) => /^452-/.test(d.reference?.text) && /^451-/.test(d.ours?.text) },
  { row: "an attachment that two placeholders name, or none", parts: true, of: (d) => isUnnamed(d.reference?.text ?? d.reference, d.ours?.text ?? d.ours) },
  { row: "an event called `error`; by MessagePack also `disconnect` and `disconnecting`", parts: true, of: (d, both) => d.reference?.fact?.error === "" && after(d, both, (_, text) => text.includes('["error"')) },
  {
    row: "an event called `error`; by MessagePack also `disconnect` and `disconnecting`",
    parts: true,
    of: (d, both) => /disconnect|error/.test(Object.keys(d.reference?.fact ?? {})[0]) && sends(d, both, (packets) => packets.some(isMoment)),
  },
  { row: "MessagePack: an event whose name is an array or a map", parts: true, of: (d, both) => text(d.reference).length > text(d.ours).length && sends(d, both, (packets) => packets.some(oddName)) },
  { row: "a refused upgrade by HEAD", parts: true, of: (d, both) => stepOf(d, both)?.method === "HEAD" && d.reference?.rest !== undefined },
  { row: "an upgrade that asks to close the connection", of: (d, both) => d.field === "connection" && d.ours === "close" && header(stepOf(d, both), "connection").some((value) => /close/i.test(value)) },
  { row: "JSONP: whose `j`", of: (d) => /___eio/.test(d.reference) && /___eio/.test(d.ours) && d.reference.replace(/^___eio\[\d*\]/, "") === d.ours.replace(/^___eio\[\d*\]/, "") },
  { row: "JSON nested deeper than 128 levels", parts: true, of: (_, { script }) => script.map(sent).join("").includes("[".repeat(127)) },
  { row: "the texts of parse errors", of: (d) => d.reference?.fact?.error !== undefined && d.ours?.fact?.error !== undefined },
  { row: "an event in the same payload as its CONNECT", parts: true, of: (d, both) => sends(d, both, hasEarlyEvent) && text(d.ours).length > text(d.reference).length },
  { row: "a second CONNECT for a namespace that is being joined", parts: true, of: (d, both) => sends(d, both, hasTwoConnects) },
  { row: "the answer to a CONNECT that has others beside it in its body", parts: true, of: (d) => d.field === "body" && isReordered(d.reference, d.ours) },
  { row: "a preflight that asks for a WebSocket", parts: true, of: (d, both) => stepOf(d, both)?.do === "websocket" && stepOf(d, both).method === "OPTIONS" && both.set.options.cors !== undefined },
  {
    row: "events and CONNECTs in the same body as what ends their session",
    parts: true,
    of: (d, both) => (sends(d, both, isFollowed(EVENT)) || sends(d, both, isFollowed(CONNECT))) && (d.at === "facts" || text(d.ours).length > text(d.reference).length || (/^(\d:)?6/.test(plain(d.reference)) && /4[0-6]/.test(d.ours))),
  },
  { row: "pings of an Engine.IO 3 client between two of its GETs", of: (d) => d.field === "body" && /(1:3){2}/.test(d.reference) && d.ours !== d.reference && withoutPongs(d.reference) === withoutPongs(d.ours) },
  { row: "DISCONNECT before the connection is closed, over polling", parts: true, of: (d) => d.field === "body" && /(\x1e|2:)41$/.test(plain(d.reference)) && plain(d.reference).startsWith(plain(d.ours)) },
  { row: "a packet behind DISCONNECT in the same body", parts: true, of: (d, both) => sends(d, both, isFollowed(DISCONNECT)) },
  {
    row: "a POST whose connection is half closed before its body",
    of: (d, { script }) => script.some((step) => step.how === "end" && script.some((other) => other.on === step.on && other.part)) && (d.reference?.status === 400 || d.field === "entry"),
  },
  { row: "an origin beyond ASCII", of: (d, both) => d.field === "access-control-allow-origin" && header(stepOf(d, both), "origin").some((origin) => /[^ -~]/.test(origin)) },
  {
    row: "a header that is there twice",
    parts: true,
    of: (d, both) => {
      const step = both.script.findLast(({ on }, i) => on === onOf(d) && !(i > parseInt(d.at))) ?? stepOf(d, both);
      const names = step?.headers?.map(([name]) => name.toLowerCase()) ?? [];
      return new Set(names).size < names.length;
    },
  },
  { row: "a function that refuses an origin", of: (d, both) => d.field === "vary" && d.ours === "Origin" && both.set.options.cors?.origin?.ending !== undefined },
  {
    row: "a function that refuses an origin",
    parts: true,
    of: (d, both) => d.field === "status" && d.ours === 204 && stepOf(d, both).method === "OPTIONS" && both.set.options.cors?.origin?.ending !== undefined,
  },
  { row: "a number of attachments, or a length of Engine.IO 3, that is no plain number (`01`, `1.0`, `+1`, ` 6`)", parts: true, of: (d, both) => after(d, both, (step, text) => ODD_COUNT.test(text) || (!/EIO=4/.test(target(step)) && ODD_LENGTH.test(text))) },
  // {sid, pid: undefined} and {sid}
  { row: "MessagePack: `pid` in CONNECT's answer without recovery", of: (d) => text(d.reference).replaceAll("82a3736964b4<id>a3706964d40000", "81a3736964b4<id>") === text(d.ours) },
  { row: "MessagePack: keys of a map that are arrays, maps or dates", parts: true, of: (d, both) => both.set.msgpack && after(d, both, ({ data, body }) => hasOddKey(data?.hex ?? Buffer.from(String(body).slice(1), "base64").toString("hex"))) && (d.ours?.frame === "close" || d.at.startsWith("end") || d.at === "facts") },
  { row: "MessagePack: the order of keys where a namespace is refused", of: (d) => isRefusal(d.reference, d.ours) },
  { row: "JSONP: a form with two `d`", parts: true, of: (d, both) => after(d, both, (step) => /^d=.*&d=/.test(step.body)) },
  {
    row: "a POST that is being read when its session ends",
    of: (d, both) => d.reference?.body === "ok" && d.ours === undefined && both.script.some((step) => step.part && step.on === onOf(d)),
  },
  {
    row: "a plain request with `transport=websocket` for a session that has a WebSocket",
    parts: true,
    of: (d, both) => d.reference === undefined && d.ours?.status === 400 && stepOf(d, both)?.do === "request" && /transport=websocket/.test(target(stepOf(d, both))),
  },
  { row: "the reason in a Close", of: (d) => d.reference?.frame === "close" && d.ours?.frame === "close" && d.reference.code === d.ours.code && d.ours.text === undefined },
  {
    row: "a path that only begins like the server's, with `addTrailingSlash: false`",
    parts: true,
    of: (d, both) => both.set.options.addTrailingSlash === false && d.field === "status" && d.ours === 404 && /^\/socket\.io[^?/]/.test(target(stepOf(d, both))),
  },
  { row: "an upgrade for another path", parts: true, of: (d, both) => stepOf(d, both)?.do === "websocket" && d.reference === undefined && d.ours?.status === 404 },
  { row: "what only passes through", of: (d) => sameValues(d.reference?.text ?? d.reference, d.ours?.text ?? d.ours) },
];

/** A body without the call that JSONP makes of it. */
function plain(body) {
  const call = /^___eio\[\d*\]\((".*")\);$/.exec(body);
  return call ? JSON.parse(call[1]) : String(body);
}

/** Whether two bodies or frames of MessagePack refuse a namespace in the same words. */
function isRefusal(...both) {
  const packets = both.map((all) => /^b\{(83a474797065.*)\}$/.exec(all?.binary ?? all)?.[1]);
  if (packets.some((packet) => packet === undefined)) return false;
  const [reference, ours] = packets.map((packet) => decode(Buffer.from(packet, "hex")));
  return reference.type === 4 && ["type", "nsp"].every((key) => reference[key] === ours[key]) && text(reference.data) === text(ours.data);
}

const withoutPongs = (body) => String(body).replace(/1:3(?=\d+:|"|$)/g, "");

/** Whether ours has attachments that no placeholder names, and is the same without. */
function isUnnamed(reference, ours) {
  if (typeof reference !== "string" || typeof ours !== "string") return false;
  const without = ours.replace(/45(\d+-)(?!.*_placeholder)/g, "42").replace(/46(\d+-)(?!.*_placeholder)/g, "43").replace(/\x1eb[\w+/=]*/g, "");
  return without !== ours && sameValues(reference, without);
}

/** Whether two bodies or messages are the same once all that is in them is what JavaScript makes of it. */
function sameValues(left, right) {
  const values = (all) => {
    if (typeof all !== "string") return undefined;
    const packets = all.replace(/\d+:(?=4)/g, "\x1e").split("\x1e");
    return packets.map((packet) => {
      const at = packet.search(/[[{]/);
      if (at < 0) return packet;
      try {
        return packet.slice(0, at) + JSON.stringify(JSON.parse(packet.slice(at), (_, value) => (value?._placeholder === true ? { _placeholder: true, num: value.num } : value)));
      } catch {
        return packet;
      }
    });
  };
  const [a, b] = [values(left), values(right)];
  return a !== undefined && b !== undefined && a.join() === b.join();
}
