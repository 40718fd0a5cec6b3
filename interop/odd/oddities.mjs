// What a server may have that is odd: each entry changes one thing of an answer, a frame or a packet.
// An entry is [name, where, hooks]; `where` says what it needs: "polling", "websocket", "both" (the
// upgrade), 3 or 4 (the revision), or "" for everything.
import zlib from "node:zlib";
import { frame } from "./server.mjs";

const header = (line) => ({ answer: (a) => void a.headers.push(line), handshake: (h) => void h.headers.push(line) });
const first = (line) => ({ answer: (a) => void a.headers.unshift(line), handshake: (h) => void h.headers.unshift(line) });
const answer = (change) => ({ answer: (a) => void Object.assign(a, typeof change === "function" ? change(a) : change) });
const only = (kind, change) => ({ answer: (a) => void (a.kind === kind && Object.assign(a, typeof change === "function" ? change(a) : change)) });
const handshake = (change) => ({ handshake: (h) => void Object.assign(h, typeof change === "function" ? change(h) : change) });
const replaced = (name, value) => handshake((h) => ({ headers: h.headers.map(([key, old]) => [key, key === name ? value(old) : old]) }));
const without = (name) => handshake((h) => ({ headers: h.headers.filter(([key]) => key !== name) }));
const open = (change) => ({ open: (data) => (typeof data === "string" ? data : change(data)) });
const field = (name, value) => open((data) => ({ ...data, [name]: value }));
const missing = (name) => open(({ [name]: _, ...rest }) => rest);
const raw = (change) => ({ open: (data) => (typeof data === "string" ? data : change(JSON.stringify(data))) });
const frames = (make) => ({ frames: (done, payload, binary, ws) => done ?? make(binary ? 2 : 1, payload, ws) });
const extra = (...packets) => ({ first: (all) => void all.push(...packets) });
const ahead = (...packets) => ({ first: (all) => [...packets, ...all] });
const between = (...packets) => ({ news: (all) => [all[0], ...packets, ...all.slice(1)] });
const flag = (name, value) => ({ flag: [name, value] });

/** Lines of a head. */
export const LINES = {
  "folded header": "X-Folded: a\r\n b",
  "folded by a tab": "X-Folded: a\r\n\tb",
  "space before colon": "X-Space : a",
  "tab before colon": "X-Tab\t: a",
  "no colon": "this is no header",
  "empty name": ": a",
  "parentheses in a name": "X(y): a",
  "a name with a space": "X y: a",
  "latin-1 value": "X-Latin: \xe9\xe8",
  "utf-8 value": `X-Utf: ${Buffer.from("é€").toString("latin1")}`,
  "control character in a value": "X-Control: a\x01b",
  "NUL in a value": "X-Nul: a\x00b",
  "DEL in a value": "X-Del: a\x7fb",
  "empty value": "X-Empty:",
  "no space behind colon": "X-Tight:a",
  "long value": `X-Long: ${"x".repeat(6000)}`,
  "very long value": `X-Long: ${"x".repeat(14000)}`,
  "quotes": 'X-Quotes: "a',
  "doubled header": "Cache-Control: no-cache\r\ncache-control: private",
  "a cookie": "Set-Cookie: io=a; Path=/; HttpOnly",
  "a latin-1 cookie": "Set-Cookie: io=\xe9; Path=/",
  "a cookie without a value": "Set-Cookie: io",
  "a cookie with quotes": 'Set-Cookie: io="a b"; Path=/; Max-Age=abc',
  "an empty cookie": "Set-Cookie: ",
  "twenty cookies": Array.from({ length: 20 }, (_, n) => `Set-Cookie: c${n}=${n}`).join("\r\n"),
  "a hundred lines": Array.from({ length: 100 }, (_, n) => `X-${n}: ${n}`).join("\r\n"),
  "three hundred lines": Array.from({ length: 300 }, (_, n) => `X-${n}: ${n}`).join("\r\n"),
  "date of nonsense": "Date: yesterday",
  "server": "Server: Odd/1.0 (x) y",
  "hsts": "Strict-Transport-Security: max-age=1",
  "alt-svc": 'Alt-Svc: h3=":443"',
  "upgrade of http2": "Upgrade-Insecure-Requests: 1",
};

export const ODDITIES = [
  // Heads.
  ...Object.entries(LINES).map(([name, line]) => [name, "", header(line)]),
  ["folded header first", "", first(" folded first")],
  ["no colon first", "", first("junk")],
  ["keep-alive", "polling", header("Connection: keep-alive\r\nKeep-Alive: timeout=5")],
  ["keep-alive of a second", "polling", header("Connection: keep-alive\r\nKeep-Alive: timeout=1")],
  ["keep-alive of nonsense", "polling", header("Connection: keep-alive\r\nKeep-Alive: timeout=x, max")],
  ["connection: foo", "polling", header("Connection: foo")],
  ["no content type", "polling", answer(() => ({ headers: [] }))],
  ...["text/html", "application/octet-stream", "text/plain; charset=latin1", "text/plain; charset=utf-16", "application/json", "nonsense", "text/plain;;;"].map((type) => [
    `content type ${type}`, "polling", answer(() => ({ headers: [["Content-Type", type]] })),
  ]),
  ["header names in lower case", "", {
    answer: (a) => void (a.headers = a.headers.map((h) => (Array.isArray(h) ? [h[0].toLowerCase(), h[1]] : h))),
    handshake: (h) => void (h.headers = h.headers.map((x) => (Array.isArray(x) ? [x[0].toLowerCase(), x[1]] : x))),
  }],
  ["header names in upper case", "", {
    answer: (a) => void (a.headers = a.headers.map((h) => (Array.isArray(h) ? [h[0].toUpperCase(), h[1]] : h))),
    handshake: (h) => void (h.headers = h.headers.map((x) => (Array.isArray(x) ? [x[0].toUpperCase(), x[1]] : x))),
  }],
  ["line feeds alone", "", { answer: (a) => void (a.eol = "\n"), handshake: (h) => void (h.eol = "\n") }],
  ["no reason", "", { answer: (a) => void (a.reason = ""), handshake: (h) => void (h.reason = "") }],
  ["empty reason", "", { answer: (a) => void (a.reason = " "), handshake: (h) => void (h.reason = " ") }],
  ["latin-1 reason", "", { answer: (a) => void (a.reason = " \xe9"), handshake: (h) => void (h.reason = " \xe9") }],
  ["two spaces before the status", "", { answer: (a) => void (a.version += " "), handshake: (h) => void (h.version += " ") }],
  ["tab in the status line", "", { answer: (a) => void (a.reason = "\tOK"), handshake: (h) => void (h.reason = "\tOK") }],
  ["HTTP/1.0", "", { answer: (a) => void Object.assign(a, { version: "HTTP/1.0", close: true }), handshake: (h) => void (h.version = "HTTP/1.0") }],
  ["HTTP/1.0 that keeps", "polling", answer((a) => ({ version: "HTTP/1.0", headers: [...a.headers, ["Connection", "keep-alive"]] }))],
  ["HTTP/1.2", "", { answer: (a) => void (a.version = "HTTP/1.2"), handshake: (h) => void (h.version = "HTTP/1.2") }],
  ["http in lower case", "", { answer: (a) => void (a.version = "http/1.1"), handshake: (h) => void (h.version = "http/1.1") }],
  ["an empty line first", "", { answer: (a) => void (a.before = "\r\n"), handshake: (h) => void (h.before = "\r\n") }],
  ["100 Continue first", "", { answer: (a) => void (a.before = "HTTP/1.1 100 Continue\r\n\r\n"), handshake: (h) => void (h.before = "HTTP/1.1 100 Continue\r\n\r\n") }],
  ["103 Early Hints first", "", { answer: (a) => void (a.before = "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"), handshake: (h) => void (h.before = "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n") }],
  ["102 twice first", "", { answer: (a) => void (a.before = "HTTP/1.1 102 Processing\r\n\r\n".repeat(2)), handshake: (h) => void (h.before = "HTTP/1.1 102 Processing\r\n\r\n".repeat(2)) }],
  ["in pieces", "", { answer: (a) => void (a.pieces = 7), handshake: (h) => void (h.pieces = 5) }],
  ["in many pieces", "", { answer: (a) => void (a.pieces = 40), handshake: (h) => void (h.pieces = 30) }],
  // Bodies.
  ["chunked", "polling", answer({ framing: "chunked" })],
  ["chunks of one byte", "polling", answer({ framing: "chunked", chunk: 1 })],
  ["chunks of three bytes", "polling", answer({ framing: "chunked", chunk: 3 })],
  ["chunk extensions", "polling", answer({ framing: "chunked", ext: ';a=b;c="d"' })],
  ["spaces behind chunk sizes", "polling", answer({ framing: "chunked", ext: "  " })],
  ["trailers", "polling", answer({ framing: "chunked", trailers: "X-After: a\r\nX-More: b\r\n" })],
  ["chunked and a length", "polling", answer((a) => ({ framing: "chunked", headers: [...a.headers, ["Content-Length", "3"]] }))],
  ["chunked in capitals", "polling", answer((a) => ({ framing: "none", headers: [...a.headers, ["Transfer-Encoding", "Chunked"]], body: chunk(a.body) }))],
  ["gzip, chunked", "polling", answer((a) => ({ framing: "none", headers: [...a.headers, ["Transfer-Encoding", "gzip, chunked"]], body: chunk(zlib.gzipSync(a.body)) }))],
  ["identity", "polling", answer((a) => ({ framing: "close", headers: [...a.headers, ["Transfer-Encoding", "identity"]] }))],
  ["a body until the end", "polling", answer({ framing: "close" })],
  ["a body until the end, said", "polling", answer((a) => ({ framing: "close", headers: [...a.headers, ["Connection", "close"]] }))],
  ["the length twice", "polling", answer((a) => ({ headers: [...a.headers, ["Content-Length", a.body.length]] }))],
  ["the length as a list", "polling", answer((a) => ({ framing: "none", headers: [...a.headers, ["Content-Length", `${a.body.length}, ${a.body.length}`]] }))],
  ["the length with a plus", "polling", answer((a) => ({ framing: "none", headers: [...a.headers, ["Content-Length", `+${a.body.length}`]] }))],
  ["the length with a zero", "polling", answer((a) => ({ framing: "none", headers: [...a.headers, ["Content-Length", `0${a.body.length}`]] }))],
  ["the length with spaces", "polling", answer((a) => ({ framing: "none", headers: [...a.headers, ["Content-Length", `  ${a.body.length}  `]] }))],
  ["a length too small", "polling", answer((a) => ({ framing: "none", headers: [...a.headers, ["Content-Length", a.body.length - 1]] }))],
  ["a length too large, and the end", "polling", answer((a) => ({ framing: "none", close: true, headers: [...a.headers, ["Content-Length", a.body.length + 5]] }))],
  ["closes and says so", "polling", answer((a) => ({ close: true, headers: [...a.headers, ["Connection", "close"]] }))],
  ["closes and says nothing", "polling", answer({ close: true })],
  ["closes and says keep-alive", "polling", answer((a) => ({ close: true, headers: [...a.headers, ["Connection", "keep-alive"]] }))],
  ["resets after answers", "polling", answer({ close: true, reset: true })],
  ["408 behind answers", "polling", answer({ after: "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", close: true })],
  ["an empty line behind answers", "polling", answer({ after: "\r\n" })],
  ["gzip", "polling", answer((a) => ({ headers: [...a.headers, ["Content-Encoding", "gzip"]], body: zlib.gzipSync(a.body) }))],
  ["deflate", "polling", answer((a) => ({ headers: [...a.headers, ["Content-Encoding", "deflate"]], body: zlib.deflateSync(a.body) }))],
  ["raw deflate", "polling", answer((a) => ({ headers: [...a.headers, ["Content-Encoding", "deflate"]], body: zlib.deflateRawSync(a.body) }))],
  ["brotli", "polling", answer((a) => ({ headers: [...a.headers, ["Content-Encoding", "br"]], body: zlib.brotliCompressSync(a.body) }))],
  ["encoding identity", "polling", header("Content-Encoding: identity")],
  ["encoding of nonsense", "polling", header("Content-Encoding: none")],
  ["a BOM", "polling", answer((a) => ({ body: Buffer.concat([Buffer.from("\ufeff"), a.body]) }))],
  ["a BOM in the first answer", "polling", only("open", (a) => ({ body: Buffer.concat([Buffer.from("\ufeff"), a.body]) }))],
  ["POSTs answered by nothing", "polling", only("post", { body: Buffer.alloc(0) })],
  ["POSTs answered by yes", "polling", only("post", { body: Buffer.from("yes") })],
  ["POSTs answered by a page", "polling", only("post", { body: Buffer.from("<html>") })],
  ["POSTs answered by binary", "polling", only("post", { body: Buffer.from([0xff, 0, 1]) })],
  ["POSTs answered by 201", "polling", only("post", { status: 201 })],
  ["POSTs answered by 202", "polling", only("post", { status: 202 })],
  ["POSTs answered by 204", "polling", only("post", { status: 204, framing: "none", body: Buffer.alloc(0) })],
  ["the first answer is 201", "polling", only("open", { status: 201 })],
  ["GETs answered by 206", "polling", only("get", { status: 206 })],
  ["late answers to POSTs", "polling", flag("late", true)],
  // Payloads.
  ["a separator at the end", "polling 4", { payload: (text) => text + "\x1e" }],
  ["a separator at the beginning", "polling 4", { payload: (text) => "\x1e" + text }],
  ["two separators", "polling 4", { payload: (text) => text.replace("\x1e", "\x1e\x1e") }],
  ["a line feed at the end", "polling", { payload: (text) => text + "\n" }],
  ["a NOOP beside each payload", "polling 4", { payload: (text) => text + "\x1e6" }],
  ["a ping beside each payload", "polling 4", { payload: (text) => text + "\x1e2" }],
  ["base64 in lines", "polling 4", { payload: (text) => text.replace(/b[A-Za-z0-9+/=]+$/, (b) => b.replace(/.{3}/g, "$&\r\n")) }],
  ["base64 without padding", "polling 4", { payload: (text) => text.replace(/=+$/, "") }],
  ["base64 of URLs", "polling 4", { payload: (text) => text.replace(/(b[A-Za-z0-9+/=]+)$/, (b) => b.replaceAll("+", "-").replaceAll("/", "_")) }],
  ["lengths with zeros", "polling 3", { payload: (text) => text.replace(/^(\d+):/, "0$1:") }],
  ["lengths of bytes", "polling 3", { payload: (_, packets) => packets.map((p) => (Buffer.isBuffer(p) ? "b4" + p.toString("base64") : p)).map((p) => `${Buffer.byteLength(p)}:${p}`).join("") }],
  // The open packet.
  ...["pingInterval", "pingTimeout"].flatMap((name) => [
    ...[["a float", 25000.5], ["text", "25000"], ["zero", 0], ["negative", -1], ["null", null], ["true", true], ["a list", [25000]], ["an object", {}], ["tiny", 1], ["huge", 1e15], ["2^31", 2 ** 31], ["a day", 86400000], ["text of nonsense", "soon"]].map(
      ([what, value]) => [`${name} is ${what}`, "", field(name, value)]),
    [`${name} is missing`, "", missing(name)],
    [`${name} is 25000.0`, "", raw((json) => json.replace(new RegExp(`"${name}":\\d+`), `"${name}":25000.0`))],
    [`${name} is 25e3`, "", raw((json) => json.replace(new RegExp(`"${name}":\\d+`), `"${name}":25e3`))],
    [`${name} is there twice`, "", raw((json) => json.replace("{", `{"${name}":1,`))],
  ]),
  ...[["zero", 0], ["one", 1], ["ten", 10], ["text", "1000000"], ["a float", 1e6 + 0.5], ["negative", -5], ["null", null], ["huge", 1e300], ["an object", {}], ["false", false]].map(
    ([what, value]) => [`maxPayload is ${what}`, "4", field("maxPayload", value)]),
  ["maxPayload is missing", "4", missing("maxPayload")],
  ...[["null", null], ["mixed", ["websocket", 5, null]], ["unknown", ["websocket", "carrier-pigeon"]], ["a text", "websocket"], ["an object", { 0: "websocket" }], ["numbers", [1, 2]], ["in capitals", ["WebSocket"]], ["doubled", ["websocket", "websocket"]], ["polling", ["polling"]], ["webtransport", ["webtransport", "websocket"]]].map(
    ([what, value]) => [`upgrades are ${what}`, "", field("upgrades", value)]),
  ["upgrades are missing", "", missing("upgrades")],
  ...[["a number", 12345], ["a float", 1.5], ["empty", ""], ["with spaces", "a b c"], ["with an ampersand", "a&b=c"], ["unicode", "sïd€"], ["with a plus", "a+b/c=="], ["with a percent", "a%20b"], ["with a hash", "a#b"], ["long", "s".repeat(2000)], ["a UUID", "7b1f3c9e-1c1e-4a0e-9a0e-2f6f1d2c3b4a"], ["zero", "0"]].map(
    ([what, value]) => [`the sid is ${what}`, "", { sid: (sid) => (typeof value === "number" ? value : value && `${value}${sid}`.slice(0, value.length + 4)) }]),
  ["the sid is missing", "", missing("sid")],
  ["more fields", "", open((data) => ({ cookie: null, ...data, more: { a: [1] } }))],
  ["fields in another order", "", open((data) => Object.fromEntries(Object.entries(data).reverse()))],
  ["spaces in the open packet", "", raw((json) => json.replaceAll(",", " , ").replace("{", " { "))],
  ["line feeds in the open packet", "", raw((json) => json.replaceAll(",", ",\n"))],
  ["escapes in the open packet", "", raw((json) => json.replace("sid", "\\u0073id"))],
  ["a comma at the end of the open packet", "", raw((json) => json.replace(/}$/, ",}"))],
  ["junk behind the open packet", "", raw((json) => json + "x")],
  ["space behind the open packet", "", raw((json) => json + " \n")],
  // Packets of Engine.IO.
  ["a NOOP behind the open packet", "", extra("6")],
  ["a NOOP ahead of the open packet", "", ahead("6")],
  ["a ping behind the open packet", "4", extra("2")],
  ["a ping with data", "4", extra("2abc")],
  ["a pong behind the open packet", "", extra("3")],
  ["an upgrade packet", "", extra("5")],
  ["a second open packet", "", { first: (all) => [...all, all[0]] }],
  ["a message ahead of the open packet", "", ahead('42["early"]')],
  ["an unknown packet type", "", between("9")],
  ["a letter as packet type", "", between("x")],
  ["an empty packet", "", between("")],
  ["an empty message", "", between("4")],
  ["NOOPs between messages", "", between("6", "6", "6")],
  ["NOOPs with data", "", between("6abc")],
  ["pings between messages", "4", between("2", "2", "2")],
  ["pongs between messages", "", between("3", "3probe")],
  ["frequent pings", "4", flag("pings", 50)],
  // Packets of Socket.IO.
  ...Object.entries({
    "CONNECT without a sid": "40{}", "CONNECT without data": "40", "CONNECT with a number as sid": '40{"sid":5}', "CONNECT with an empty sid": '40{"sid":""}',
    "CONNECT with more": '40{"sid":"a","pid":"b","more":[1]}', "CONNECT with spaces": '40 {"sid":"a"}', "CONNECT with a list": '40["a"]', "CONNECT with a text": '40"a"',
    "CONNECT with the namespace": '40/,{"sid":"a"}', "CONNECT with null as sid": '40{"sid":null}', "CONNECT with null": "40null", "CONNECT with a number as pid": '40{"sid":"a","pid":7}',
    "CONNECT with a key twice": '40{"sid":"a","sid":"b"}', "CONNECT with a comma": '40,{"sid":"a"}',
  }).map(([name, packet]) => [name, "4", { connects: () => [packet] }]),
  ["CONNECT twice", "4", { connects: (all) => [...all, ...all] }],
  ["an event ahead of CONNECT", "4", { connects: (all) => ['42["early",1]', ...all] }],
  ["an event with CONNECT", "4", { connects: (all) => [...all, '42["soon",1]'] }],
  ["CONNECT of another namespace first", "4", { connects: (all) => ['40/other,{"sid":"o"}', ...all] }],
  ["CONNECT of revision 3 with data", "3", { joined: () => '40{"sid":"a"}' }],
  ["CONNECT of revision 3 with the namespace", "3", { joined: () => "40/" }],
  ["CONNECT of revision 3 with a list", "3", { joined: () => "40/,[]" }],
  ...Object.entries({
    "an event without arguments": '42["other"]', "an event without a name": "42[]", "an event with a number as name": "42[5]", "an event with an object": '42{"a":1}',
    "an event with null": "42null", "an event without data": "42", "spaces in an event": '42 [ "other" , 1 ]', "line feeds in an event": '42[\n"other",\n1]',
    "an event that is cut": '42["other"', "junk behind an event": '42["other"]x', "a reserved name": '42["connect",1]', "a reserved name disconnect": '42["disconnect"]',
    "an event of another namespace": '42/other,["other",1]', "an event of the root's namespace": '42/,["other",1]', "an event with an id": '427["other",1]',
    "an event with a huge id": '4299999999999999999999["other",1]', "an ack that nobody waits for": "43999[1]", "an ack without an id": "43[1]", "an ack with an object": '4399{"a":1}',
    "a numeric string": '42["other","1e400"]', "a huge number": '42["other",1e400]', "a deep event": `42["other",${"[".repeat(60)}${"]".repeat(60)}]`,
    "a lone surrogate": '42["other","\\ud800"]', "NUL in a text": '42["other","\\u0000"]', "a raw tab in a text": '42["other","\t"]', "a key __proto__": '42["other",{"__proto__":{"a":1}}]',
    "an unknown packet of Socket.IO": "47", "a letter of Socket.IO": "4x", "an attachment count without attachments": '450-["other"]', "a placeholder without attachments": '42["other",{"_placeholder":true,"num":0}]',
    "an attachment count of nonsense": '45x-["other"]', "an error of another namespace": '44/other,{"message":"no"}', "a disconnect of another namespace": "41/other",
    "a query in a namespace": '42/other?a=b,["other",1]', "a large event": `42["other","${"x".repeat(70000)}"]`, "an event with text €": '42["other","€"]',
  }).map(([name, packet]) => [name, "", between(packet)]),
  ["an ack twice", "", { ack: (all) => [...all, ...all] }],
  ["an ack with more", "", { ack: (all) => all.map((text) => text.replace("]", ",1,2]")) }],
  ["an ack with spaces", "", { ack: (all) => all.map((text) => text.replace("[", " [ ")) }],
  ["a binary ack", "", { ack: (all) => all.map((text) => text.replace("43", "460-")) }],
  ["an ack with the namespace", "", { ack: (all) => all.map((text) => text.replace("43", "43/,")) }],
  // WebSocket handshakes.
  ["Upgrade: WebSocket", "websocket", replaced("Upgrade", () => "WebSocket")],
  ["Upgrade in capitals", "websocket", replaced("Upgrade", () => "WEBSOCKET")],
  ["Upgrade with more", "websocket", replaced("Upgrade", () => "websocket, foo")],
  ["Upgrade of nonsense", "websocket", replaced("Upgrade", () => "h2c")],
  ["no Upgrade", "websocket", without("Upgrade")],
  ["Connection: upgrade", "websocket", replaced("Connection", () => "upgrade")],
  ["Connection: keep-alive, Upgrade", "websocket", replaced("Connection", () => "keep-alive, Upgrade")],
  ["Connection: Upgrade, close", "websocket", replaced("Connection", () => "Upgrade, close")],
  ["Connection: keep-alive", "websocket", replaced("Connection", () => "keep-alive")],
  ["Connection: close", "websocket", replaced("Connection", () => "close")],
  ["no Connection", "websocket", without("Connection")],
  ["Connection twice", "websocket", handshake((h) => ({ headers: [["Connection", "keep-alive"], ...h.headers] }))],
  ["Upgrade twice", "websocket", handshake((h) => ({ headers: [["Upgrade", "websocket"], ...h.headers] }))],
  ["no accept", "websocket", without("Sec-WebSocket-Accept")],
  ["a wrong accept", "websocket", replaced("Sec-WebSocket-Accept", () => "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")],
  ["spaces around the accept", "websocket", replaced("Sec-WebSocket-Accept", (old) => `  ${old}  `)],
  ["the accept twice", "websocket", handshake((h) => ({ headers: [...h.headers, h.headers.find(([key]) => key === "Sec-WebSocket-Accept")] }))],
  ["the version in the answer", "websocket", header("Sec-WebSocket-Version: 13")],
  ["a subprotocol", "websocket", handshake((h) => ({ headers: [...h.headers, ["Sec-WebSocket-Protocol", "chat"]] }))],
  ["an empty subprotocol", "websocket", handshake((h) => ({ headers: [...h.headers, ["Sec-WebSocket-Protocol", ""]] }))],
  ["an extension unasked", "websocket", handshake((h) => ({ headers: [...h.headers, ["Sec-WebSocket-Extensions", "x-foo"]] }))],
  ["an empty extension", "websocket", handshake((h) => ({ headers: [...h.headers, ["Sec-WebSocket-Extensions", ""]] }))],
  ["a length with 101", "websocket", handshake((h) => ({ headers: [...h.headers, ["Content-Length", "0"]] }))],
  ["chunked with 101", "websocket", handshake((h) => ({ headers: [...h.headers, ["Transfer-Encoding", "chunked"]] }))],
  ["a late handshake", "websocket", handshake({ delay: 300 })],
  ["200 instead of 101", "websocket", handshake({ status: 200 })],
  // Frames.
  ["two fragments", "websocket", frames((op, p) => [frame(op, p.subarray(0, 2), { fin: 0 }), frame(0, p.subarray(2))])],
  ["fragments of one byte", "websocket", frames((op, p) => [...p].map((byte, i) => frame(i ? 0 : op, Buffer.from([byte]), { fin: i === p.length - 1 ? 1 : 0 })))],
  ["an empty first fragment", "websocket", frames((op, p) => [frame(op, Buffer.alloc(0), { fin: 0 }), frame(0, p)])],
  ["an empty last fragment", "websocket", frames((op, p) => [frame(op, p, { fin: 0 }), frame(0, Buffer.alloc(0))])],
  ["a ping between fragments", "websocket", frames((op, p) => [frame(op, p.subarray(0, 1), { fin: 0 }), frame(9, Buffer.from("x")), frame(0, p.subarray(1))])],
  ["lengths that are not minimal", "websocket", frames((op, p) => [frame(op, p, { wide: p.length > 65535 ? 8 : 2 })])],
  ["lengths of 64 bits", "websocket", frames((op, p) => [frame(op, p, { wide: 8 })])],
  ["masked frames", "websocket", frames((op, p) => [frame(op, p, { mask: Buffer.from([1, 2, 3, 4]) })])],
  ["masked by zeros", "websocket", frames((op, p) => [frame(op, p, { mask: Buffer.alloc(4) })])],
  ["RSV1", "websocket", frames((op, p) => [frame(op, p, { rsv: 4 })])],
  ["RSV2", "websocket", frames((op, p) => [frame(op, p, { rsv: 2 })])],
  ["opcode 3", "websocket", frames((op, p) => [frame(3, Buffer.alloc(0)), frame(op, p)])],
  ["opcode 11", "websocket", frames((op, p) => [frame(11, Buffer.alloc(0)), frame(op, p)])],
  ["texts in binary frames", "websocket", frames((_, p) => [frame(2, p)])],
  ["bytes in text frames", "websocket", frames((_, p) => [frame(1, p)])],
  ["pings of WebSocket", "websocket", frames((op, p) => [frame(9, Buffer.from("ping")), frame(op, p)])],
  ["a ping of 125 bytes", "websocket", frames((op, p) => [frame(9, Buffer.alloc(125, 1)), frame(op, p)])],
  ["a ping of 126 bytes", "websocket", frames((op, p) => [frame(9, Buffer.alloc(126, 1)), frame(op, p)])],
  ["pongs of WebSocket", "websocket", frames((op, p) => [frame(10, Buffer.from("pong")), frame(op, p)])],
  ["a fragmented ping", "websocket", frames((op, p) => [frame(9, Buffer.alloc(1), { fin: 0 }), frame(op, p)])],
  ["empty texts", "websocket", frames((op, p) => [frame(op, p), frame(1, Buffer.alloc(0))])],
  ["empty binaries", "websocket", frames((op, p) => [frame(op, p), frame(2, Buffer.alloc(0))])],
  ["frames cut in two", "websocket", frames((op, p) => { const all = frame(op, p); return [all.subarray(0, 1), all.subarray(1)]; })],
  ["no UTF-8 in a text", "websocket", { frames: (done, p, binary) => done ?? (!binary && p.includes("ü") ? [frame(1, Buffer.from([0x34, 0x32, 0xff])), frame(1, p)] : undefined) }],
  // Upgrades.
  ["a late probe", "both", flag("probeDelay", 200)],
  ["a probe after a second", "both", flag("probeDelay", 1000)],
  ["a late release", "both", flag("releaseDelay", 300)],
  ["one release", "both", flag("releaseEvery", 100000)],
  ["releases without end", "both", flag("releaseEvery", 1)],
  ["a probe answered by a pong alone", "both", { probed: () => "3" }],
  ["a probe answered otherwise", "both", { probed: () => "3Probe" }],
  ["a probe answered by a NOOP", "both", { probed: () => "6" }],
];

function chunk(body) {
  return Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from("\r\n0\r\n\r\n")]);
}

/** A number between 0 and 1 from a seed, again and again: mulberry32. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The oddities that a revision and a transport have. */
export function fits(revision, transport) {
  return ODDITIES.filter(([, where]) => where.split(" ").every((need) => {
    if (need === "3" || need === "4") return Number(need) === revision;
    return need === "" || need === transport || (transport === "both" && need !== "both");
  }));
}

/** What a server does of some oddities. */
export function hooks(revision, transport, chosen) {
  const odd = { revision, transport, names: chosen.map(([name]) => name), hooks: chosen.map(([, , hooks]) => hooks) };
  for (const { flag } of odd.hooks) if (flag) odd[flag[0]] = flag[1];
  return odd;
}

/** Case `index` of a seed. */
export function generate(seed, index) {
  const next = random(seed * 1000003 + index);
  const pick = (all) => all[Math.floor(next() * all.length)];
  const revision = pick([3, 4, 4]);
  const transport = pick(["polling", "websocket", "both"]);
  const all = fits(revision, transport);
  const names = [pick(all)];
  if (next() < 0.4) names.push(pick(all));
  return hooks(revision, transport, [...new Set(names)]);
}
