// Packets of Socket.IO and of Engine.IO, valid and broken, and the bodies that carry them.
import { Encoder } from "socket.io-msgpack-parser";

const NAMESPACES = ["/admin,", "/guarded,", "/dyn-7,", "/fn-x,", "/unknown,", "/,"];
const ODD_NAMESPACES = ["/admin", "/admin?x=1,", "/#,", "/admin#b,", "//admin,", "/dyn-7?token=1,", " /admin,", "admin,", "/ü,", "/a b,", "/dyn-7/../admin,", "/%61dmin,", "/\ud83d\ude00,"];
const ODD_IDS = ["007", "999999999999999", "9007199254740993", "18446744073709551615", "18446744073709551616", "1".repeat(40), "1.5", "-1", " 1", "1 2", "1 ", "+1", "1e2", "\u0661"];
const ODD_COUNTS = ["0-", "2-", "10-", "11-", "-", "x-", "1", "01-", "1.0-", "1e0-", " 1-", "1 -", "+1-", "-1-", "0x1-", "99999999999999999999-", ""];
const NUMBERS = ["0", "1", "-1", "-0", "1.5", "1.0", "1e3", "1E-2", "1e400", "12345678901234567890", "0.1000", "01", "1.", ".5", "+1", "NaN", "-"];
const STRINGS = ['""', '"a"', '"é"', '"\u2028"', '"\\u0000"', '"\\ud800"', '"\\udc00x"', '"\\ud83d\\ude00"', '"\ud83d\ude00"', '"__proto__"', '"\\/"', '"\t"', '"\u007f"', '"\\x"', '"\\u12"', '"\u001e"', '"a', '"%F0"'];
/** Names that belong to the protocol, or to the server's sockets. */
const RESERVED = ["connect", "connect_error", "connection", "disconnect", "disconnecting", "newListener", "removeListener", "error", "message"];
/** Which attachment a placeholder names. */
const NUMS = ["0", "1", "-1", "-0", "0.0", "1.0", "0e0", "1e0", "10e-1", "0.5", "1.5", "-0.5", "1e-9", "1e400", "9007199254740993", '"0"', "null", "true", "[0]", "{}"];
const OBJECTS = ['{}', '{"a":1}', '{"a":1,"a":2}', '{"b":1,"2":2,"1":3}', '{"__proto__":{"x":1}}', '{"constructor":1}', '{"a":{"b":[1,{}]}}', '{a:1}', '{"a":1,}', '{"type":"Buffer","data":[1]}', '{"toJSON":1}'];

/** Of equal keys the last counts. */
const DOUBLED = [
  '{"token":"no","token":"ok"}', '{"token":"ok","token":"no"}', '{"key":0,"key":1}', '{"offset":"a","pid":"nope","offset":"b"}', '{"pid":"nope","pid":"none","offset":"b"}',
  '{"pid":1,"pid":"nope","offset":1,"offset":"b"}', '{"pid":"nope","pid":null}', '{"refuse":true,"refuse":false}',
];

export class Packets {
  constructor(random, set) {
    this.random = random;
    this.set = set;
  }

  json(depth = 2) {
    const { random } = this;
    return random.weighted([
      [4, () => random.pick(["null", "true", "false", "1", '"x"', '"text"'])],
      [3, () => random.pick(NUMBERS)],
      [3, () => random.pick(STRINGS)],
      [2, () => random.pick(OBJECTS)],
      [1, () => { const n = random.pick([5, 100, 127, 128, 129, 300]); return "[".repeat(n) + "]".repeat(n); }],
      [depth > 0 ? 3 : 0, () => `[${random.times(0, 3, () => this.json(depth - 1)).join(random.pick([",", ", ", ",,"]))}]`],
    ]);
  }

  /** Something that the scenario server's handlers take without failing. */
  #handled(random) {
    return random.weighted([
      [8, () => ["echo", ...random.times(0, 3, () => this.json())]],
      [4, () => ["ack", ...random.times(0, 3, () => this.json())]],
      [1, () => ["leave me", random.pick(["true", "false"])]],
      [1, () => ["many", random.pick(["0", "1", "3"])]],
      [1, () => ["ask", random.pick(["1", '"q"', "null"]), "0"]],
      [1, () => ["spy"]],
      [1, () => ["drop me", "1"]],
      [1, () => ["emit with", random.pick(['{"volatile":true}', '{"compress":false}', '{"send":true}', '{"local":true}', "{}"]), "1", '"said"', "1"]],
      [1, () => ["nobody listens", "1"]],
    ]).map((part, i) => (i ? part : JSON.stringify(part)));
  }

  #acked(random) {
    return random.weighted([
      [3, () => ["ack", ...random.times(0, 3, () => this.json())]],
      [1, () => ["join", random.pick(['"r"', '["r","q"]'])]],
      [1, () => ["leave", '"r"']],
      [1, () => ["transport"]],
      [1, () => ["handshake"]],
      [1, () => ["reserved", random.pick(['"connect"', '"disconnect"', '"connect_error"', '"disconnecting"', '"newListener"', '"error"', '"message"'])]],
    ]).map((part, i) => (i ? part : JSON.stringify(part)));
  }

  /** The text of an event's arguments, mostly right. */
  event(id) {
    const { random } = this;
    if (random.chance(0.85)) {
      const parts = id ? this.#acked(random) : this.#handled(random);
      const space = random.chance(0.1) ? random.pick([" ", "\n", "\t"]) : "";
      return `[${parts.join("," + space)}${space}]`;
    }
    const odd = random.pick([
      ...RESERVED.map((name) => `["${name}",1]`), '["connect"]', '["disconnect"]',
      "[1,2]", "[]", "{}", "null", '"x"', "", "[null]", '[["echo"]]', "[true]", '["echo"', '["echo"]x', '["echo"] ', ' ["echo"]', "false", "[{}]", "0",
      '["__proto__"]', '["toString",1]', '[""]', '["\\u0065cho",1]', '["echo",1,]', "\ufeff[\"echo\"]",
    ]);
    return id ? this.#answering(odd) : odd;
  }

  /** With an id it has to be an event that both servers answer. */
  #answering(event) {
    return event.replace(/"(echo|\\u0065cho|message)"/, '"ack"');
  }

  namespace() {
    return this.random.weighted([[12, ""], [6, () => this.random.pick(NAMESPACES)], [1, () => this.random.pick(ODD_NAMESPACES)]]);
  }

  auth() {
    return this.random.weighted([
      [8, ""],
      [3, () => this.random.pick(['{"token":"ok"}', '{"key":1}', '{"refuse":true}', "{}", '{"rooms":["r"],"token":"ok"}'])],
      [2, () => this.random.pick(["null", "[]", '"x"', "1", "{", '{"a":1}x', "true", '{"__proto__":1}', "[1]", " {}", '{"pid":"nope","offset":"x"}', '{"pid":1}', ...DOUBLED])],
    ]);
  }

  connect() {
    const name = this.namespace();
    if (name === "/guarded," && this.random.chance(0.6)) return `0${name}{"token":"ok"}`;
    if (name === "/fn-x," && this.random.chance(0.7)) return `0${name}{"key":1}`;
    return `0${name}${this.auth()}`;
  }

  /** One packet of Socket.IO in text. */
  packet() {
    const { random } = this;
    const id = () => random.weighted([[5, ""], [4, () => random.pick(["0", "1", "12"])], [1, () => random.pick(ODD_IDS)]]);
    const count = () => random.weighted([[3, "1-"], [1, () => random.pick(ODD_COUNTS)]]);
    const placed = () => random.pick([
      '["echo",{"_placeholder":true,"num":0}]', '["echo",{"_placeholder":true,"num":0}]', '["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]',
      '["echo",{"_placeholder":true,"num":1}]', '["echo",{"_placeholder":true,"num":-1}]', '["echo",{"_placeholder":true,"num":"0"}]', '["echo",{"_placeholder":true,"num":0.5}]',
      '["echo",{"_placeholder":true}]', '["echo",{"_placeholder":1,"num":0}]', '["echo",{"num":0,"_placeholder":true,"x":1}]', '["echo",1]', '{"_placeholder":true,"num":0}',
      '[{"_placeholder":true,"num":0}]', '["echo",[{"a":{"_placeholder":true,"num":0}}]]', '["ack",{"_placeholder":true,"num":0}]', '["connect",{"_placeholder":true,"num":0}]', "[]", "",
      '["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]',
      `["echo",{"_placeholder":true,"num":${random.pick(NUMS)}}]`, `["echo",{"a":[{"num":${random.pick(NUMS)},"_placeholder":true}]}]`,
      `["echo",{"_placeholder":true,"num":${random.pick(NUMS)},"num":${random.pick(NUMS)}}]`, `["${random.pick(RESERVED)}",{"_placeholder":true,"num":0}]`,
    ]);
    return random.weighted([
      [16, () => { const i = id(); return `2${this.namespace()}${i}${this.event(i)}`; }],
      [4, () => this.connect()],
      [2, () => `1${this.namespace()}${random.weighted([[6, ""], [1, () => random.pick(["x", "{}", "0", "null", '"x"', "1"])]])}`],
      [2, () => `3${this.namespace()}${random.pick(["", "{ack}", "0", "99", ...ODD_IDS.slice(0, 4)])}${random.pick(["", "[]", "[1]", '["a","b"]', "{}", "null", '"x"', "[1"])}`],
      [1, () => `4${this.namespace()}${random.pick(["", "{}", '"x"', "1", '{"message":"no"}'])}`],
      [5, () => { const i = id(); return `5${count()}${this.namespace()}${i}${i ? this.#answering(placed()) : placed()}`; }],
      [1, () => `6${count()}${this.namespace()}${random.pick(["0", "{ack}", ""])}${random.pick(['[{"_placeholder":true,"num":0}]', "[]", "{}"])}`],
      [1, () => random.pick(["", "7", "8[]", "9", "x", " 2[\"echo\"]", "-1", "é", "[]", "2", "5", "6", "00", "22[\"ack\"]", "\u0662[\"echo\"]", "\0"])],
    ]);
  }

  /** A packet of Engine.IO 4 in text. */
  engine() {
    const { random } = this;
    return random.weighted([
      [20, () => `4${this.packet()}`],
      [4, () => `b${this.base64()}`],
      [1, () => random.pick(["2", "2probe", "3", "3probe", "5", "6", "0", "0{}", "1", "6x", "2x", "1x"])],
      [1, () => random.pick(["", "7", "9x", "x", "4", "b", "-", " 4", "\u0664", "\ufffd", "B", "44"])],
    ]);
  }

  base64() {
    return this.random.weighted([
      [4, () => this.random.pick(["AQID", "AA==", "", "AQI="])],
      [2, () => this.random.pick(["AQID\n", "AQ\nID", "-_-_", "+/+/", "AQI", "A", "AQ==AQ==", "A=QID", "!!", "AQID é", "=", "AQ=", " AQID", "AQID\r\n"])],
    ]);
  }

  binary() {
    return { hex: this.random.pick(["010203", "", "00", "ff", "04010203", "1e", "34", "f09f9880"]) };
  }

  /** A body of Engine.IO 4. */
  payload() {
    const { random } = this;
    const packets = random.weighted([
      [6, () => [this.engine()]],
      [4, () => random.times(2, 4, () => this.engine())],
      [2, () => ["451-[\"echo\",{\"_placeholder\":true,\"num\":0}]", `b${this.base64()}`]],
    ]);
    let body = packets.join("\x1e");
    if (random.chance(0.06)) body = random.pick(["\x1e", body + "\x1e", "\x1e" + body, body.replace("\x1e", "\x1e\x1e"), "", body + "\n"]);
    if (random.chance(0.04)) {
      const bytes = Buffer.from(body);
      const at = random.below(bytes.length + 1);
      const odd = Buffer.from(random.pick(["ff", "c3", "eda080", "f0908d", "c080", "fe", "00", "efbbbf"]), "hex");
      return { hex: Buffer.concat([bytes.subarray(0, at), odd, bytes.subarray(at)]).toString("hex") };
    }
    if (random.chance(0.03)) return { repeat: "x", times: random.pick([80, 300, 2000]), before: '42["echo","', after: '"]' };
    return body;
  }

  /** A packet of Engine.IO 3 in text. */
  oldEngine() {
    const { random } = this;
    return random.weighted([
      [20, () => `4${this.packet()}`],
      [3, () => `b4${this.base64()}`],
      [2, () => random.pick(["2", "2probe", "2x"])],
      [1, () => random.pick(["3", "5", "6", "0", "1", "", "7", "x", "b", "b2", "bx", "b9AQID", "4", " 4", "é"])],
    ]);
  }

  /** A body of Engine.IO 3: in text, or in the binary form. */
  oldPayload() {
    const { random } = this;
    const packets = random.times(1, 3, () => this.oldEngine());
    if (random.chance(0.8)) {
      const length = (packet) => random.weighted([
        [30, String(packet.length)],
        [1, () => random.pick([String(Buffer.byteLength(packet)), String(packet.length + 1), String(packet.length - 1), ` ${packet.length}`, `+${packet.length}`, `0${packet.length}`, `${packet.length}.0`, "", "x", "-1", "1e0", "99999999999999999999", "0x4", "9".repeat(400)])],
      ]);
      let body = packets.map((packet) => `${length(packet)}:${packet}`).join("");
      if (random.chance(0.05)) body = random.pick([body + "x", body + "5", "0:", ":", "", body.slice(0, -1), body + "0:", body + "\n"]);
      return { body };
    }
    const parts = packets.map((packet) => {
      const bytes = random.chance(0.3) ? Buffer.from([4, 1, 2, 3]) : Buffer.from(packet);
      const kind = random.weighted([[20, bytes[0] === 4 ? 1 : 0], [1, () => random.pick([0, 1, 2])]]);
      const size = random.weighted([[20, String(bytes.length)], [1, () => random.pick([String(bytes.length + 1), "0", "", "99"])]]);
      return Buffer.concat([Buffer.from([kind, ...[...size].map(Number), 255]), bytes]);
    });
    let body = Buffer.concat(parts);
    if (random.chance(0.08)) body = random.pick([body.subarray(0, -1), Buffer.concat([body, Buffer.from([0])]), Buffer.alloc(0), Buffer.from([9, 9]), Buffer.concat([Buffer.from([0, 255]), body]), Buffer.from([0, 11, 255, 52])]);
    return { body: { hex: body.toString("hex") }, binary: true };
  }

  /** A packet for the msgpack parser. */
  msgpack() {
    const { random } = this;
    const type = random.weighted([[8, 2], [3, 0], [1, 1], [1, 3], [1, () => random.pick([4, 5, 6, 7, -1, "2", null])]]);
    const nsp = random.weighted([[8, "/"], [2, "/admin"], [1, () => random.pick(["", "admin", 1, null, "/unknown"])]]);
    const value = () => random.pick([1, -1, 1.5, "x", null, true, [1], { a: 1 }, Buffer.from([1, 2]), 2 ** 40, "é"]);
    const asks = random.chance(0.3);
    const data = () => random.weighted([
      [8, () => (type === 2 ? [asks ? "ack" : random.pick(["echo", "ack"]), value()] : type === 3 ? [value()] : undefined)],
      [1, () => [random.pick(RESERVED), ...random.times(0, 1, value)]],
      [1, () => random.pick([[], {}, null, "x", [1], 1, [null], [[asks ? "ack" : "echo"]]])],
    ]);
    const id = () => random.pick([0, 1, 300, 1.5, -1, -33, -0, 2 ** 40, 2 ** 53, -(2 ** 40), 1e300, "1", null, [1]]);
    const pairs = [["type", type], ["nsp", nsp], ["data", data()]];
    if (asks) pairs.push(["id", id()]);
    if (random.chance(0.05)) pairs.splice(random.below(3), 1);
    // Of equal keys the last counts.
    if (random.chance(0.08)) pairs.push(random.pick([["type", type], ["type", 2], ["nsp", nsp], ["nsp", "/"], ["data", data()], [asks ? "id" : "y", id()], ["x", value()], ["__proto__", 1]]));
    const encoded = (value) => Buffer.from(new Encoder().encode(value)[0]);
    const bytes = Buffer.concat([Buffer.from([0x80 | pairs.length]), ...pairs.flat().map(encoded)]);
    if (random.chance(0.04)) return this.#damaged(bytes);
    const hex = bytes.toString("hex");
    return { hex: random.chance(0.04) ? random.pick([hex.slice(0, -2), hex + "00", "", "c1", "80", "90"]) : hex };
  }

  /** The same with a byte that is another. */
  #damaged(bytes) {
    const { random } = this;
    const changed = Buffer.from(bytes);
    changed[random.below(bytes.length)] = random.pick([0x00, 0x7f, 0x80, 0x81, 0x90, 0x91, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc7, 0xca, 0xcf, 0xd3, 0xd4, 0xd6, 0xd7, 0xd9, 0xdb, 0xdd, 0xdf, 0xff, random.below(256)]);
    return { hex: changed.toString("hex") };
  }
}
