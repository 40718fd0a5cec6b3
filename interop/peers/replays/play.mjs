// Plays what a client sends, byte for byte, and looks at what comes back. A script is a list of steps; `{sid}` in a query is the session's id,
// and `&sid={sid}` is left out while there is none; `#` stands for the id of the server's last question.
//
//   {get, headers, packets}     as many GETs as these packets take
//   {hold, headers}             a GET that may wait; {held: packets} is its answer, `or` a refusal, where what follows can overtake it
//   {post, headers, body}       a POST of packets, or of bytes, that is answered with "ok"
//   {get | post, .., refused}   the status and the body of a refusal
//   {socket, headers, refused}  a request for a WebSocket, which is answered with 101 unless it says otherwise
//   {send}                      one message over the WebSocket: text, bytes, or a list of its fragments
//   {comes: packets}            what comes over it
//   {bye}                       the payload of a close frame, which is answered, and the end of the connection
//   {closed: true}              the server closes the WebSocket
//   {fact, is}                  what the server tells of the session
import assert from "node:assert/strict";
import { Wire } from "../../differential/wire.mjs";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const SEPARATOR = "\x1e";
/** Long enough for a machine with other things to do. */
const DEADLINE = 20_000;

export async function play({ revision, steps }, server) {
  const player = new Player(revision, server);
  try {
    for (const [i, step] of steps.entries()) {
      await player.step(step).catch((error) => {
        error.message = `step ${i}, ${JSON.stringify(step)}: ${error.message}`;
        throw error;
      });
    }
  } finally {
    player.clean();
  }
}

class Player {
  #wires = [];
  #sid;
  #question;
  /** The ids of the sockets by namespace. */
  #ids = new Map();
  #read = 0;

  constructor(revision, server) {
    Object.assign(this, { revision, server });
  }

  clean() {
    for (const wire of this.#wires) wire.destroy();
  }

  async step(step) {
    if (step.get !== undefined) return step.refused ? this.#refused("GET", step.get, step) : this.#poll(step);
    if (step.post !== undefined) return step.refused ? this.#refused("POST", step.post, step) : this.#post(step);
    if (step.hold !== undefined) return void (this.held = this.#request("GET", step.hold, step));
    if (step.held) return this.#held(step);
    if (step.socket !== undefined) return this.#open(step);
    if (step.send !== undefined) return this.#send([step.send].flat());
    if (step.comes) return this.#comes(step.comes);
    if (step.bye) return this.#bye(step.bye);
    if (step.closed) return this.#close();
    await this.#fact(step);
  }

  #request(method, query, { headers, body }) {
    const wire = new Wire(this.server.port);
    this.#wires.push(wire);
    const target = `/socket.io/?${query.replace("&sid={sid}", this.#sid ? `&sid=${this.#sid}` : "")}`;
    const lines = headers.map((line) => line.replace("{host}", `127.0.0.1:${this.server.port}`).replace("{key}", KEY));
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(this.#payload(body ?? []));
    if (body !== undefined) lines.push(`Content-Length: ${bytes.length}`);
    const head = `${method} ${target} HTTP/1.1\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`;
    wire.request(method, Buffer.concat([Buffer.from(head), bytes]));
    return wire;
  }

  /** Of texts; revision 3 counts in UTF-16. */
  #payload(packets) {
    const all = packets.map(this.#asked);
    return this.revision === 4 ? all.join(SEPARATOR) : all.map((packet) => `${packet.length}:${packet}`).join("");
  }

  #asked = (packet) => packet.replace("43#", `43${this.#question}`);

  async #answered(wire) {
    await wire.until(() => wire.came.length > 0, DEADLINE);
    const [answer] = wire.came;
    assert.ok(answer, "no answer");
    return answer;
  }

  /** The packets of an answer to a GET. */
  async #answer(wire) {
    const { status, headers, body } = await this.#answered(wire);
    assert.equal(status, 200, body);
    assert.ok(headers["content-type"], "no content type");
    const isBinary = headers["content-type"] === "application/octet-stream";
    const split = this.revision === 4 ? (text) => text.split(SEPARATOR) : isBinary ? splitOctets : splitText;
    return split(isBinary && body.startsWith("hex ") ? Buffer.from(body.slice(4), "hex") : body).map((packet) => this.#known(packet));
  }

  /** Learns the ids in a packet, and masks them. */
  #known(packet) {
    if (typeof packet !== "string") return packet;
    const id = /"sid":"([^"]+)"/.exec(packet)?.[1];
    if (packet.startsWith("0{")) this.#sid = id;
    const namespace = /^40(\/[^,]+)/.exec(packet)?.[1];
    if (packet.startsWith("40")) this.#ids.set(namespace ?? "/", id ?? (namespace ? `${namespace}#${this.#sid}` : this.#sid));
    const question = /^42(\d+)\["question"/.exec(packet)?.[1];
    if (question === undefined) return id === undefined ? packet : packet.replace(id, "*");
    this.#question = question;
    return packet.replace(/\d+/, "42#");
  }

  async #poll({ get, headers, packets, inAnyOrder }) {
    const got = [];
    while (got.length < packets.length) got.push(...(await this.#answer(this.#request("GET", get, { headers }))));
    if (inAnyOrder) assert.deepEqual(got.sort(), packets.toSorted());
    else assert.deepEqual(got, packets);
  }

  async #held({ held, or }) {
    const { status, body } = await this.#answered(this.held);
    if (or && status !== 200) assert.deepEqual({ status, body }, or);
    else assert.deepEqual(await this.#answer(this.held), held);
  }

  async #post({ post, headers, body }) {
    const answer = await this.#answered(this.#request("POST", post, { headers, body }));
    assert.deepEqual([answer.status, answer.body], [200, "ok"]);
    assert.ok(answer.headers["content-type"], "no content type");
  }

  async #refused(method, query, step) {
    const { status, body } = await this.#answered(this.#request(method, query, step));
    assert.deepEqual({ status, body }, step.refused);
  }

  async #open({ socket, headers, refused }) {
    this.wire = this.#request("GET", socket, { headers });
    const { status, headers: fields, body } = await this.#answered(this.wire);
    this.#read = 1;
    if (refused) return assert.deepEqual({ status, body }, refused);
    assert.equal(status, 101, body);
    assert.equal(fields["sec-websocket-accept"], ACCEPT);
    assert.equal(fields["sec-websocket-extensions"], undefined, "extensions that nobody has turned on");
  }

  #send(parts) {
    parts.forEach((part, i) => {
      const [fin, first] = [i === parts.length - 1, i === 0];
      const isText = typeof parts[0] === "string" || parts[0].text;
      const data = Buffer.from(typeof part === "string" ? this.#asked(part) : (part.text ?? part));
      this.wire.frame({ fin, op: first ? (isText ? 1 : 2) : 0, data: { hex: data.toString("hex") } });
    });
  }

  async #frame() {
    await this.wire.until(() => this.wire.came.length > this.#read, DEADLINE);
    const frame = this.wire.came[this.#read++];
    assert.ok(frame, "nothing came");
    return frame;
  }

  async #comes(packets) {
    const got = [];
    while (got.length < packets.length) {
      const { frame, hex, text, ...rest } = await this.#frame();
      got.push(frame === "text" ? this.#known(text) : frame === "binary" ? Buffer.from(hex, "hex") : { frame, text, ...rest });
    }
    assert.deepEqual(got, packets);
  }

  async #bye(payload) {
    this.wire.frame({ op: 8, data: { hex: payload.toString("hex") } });
    assert.equal((await this.#frame()).frame, "close");
    assert.deepEqual(await this.#frame(), { end: "end" });
  }

  async #close() {
    assert.equal((await this.#frame()).frame, "close");
  }

  async #fact({ fact, namespace = "/", is }) {
    if (fact === "upgrade") return assert.equal((await this.server.fact("upgrade", undefined, DEADLINE)).upgrade, "websocket");
    const id = this.#ids.get(namespace);
    const told = await this.server.fact(fact, (told) => told.id === id, DEADLINE);
    assert.equal(told[fact].reason, is);
  }
}

/** A payload of revision 3; lengths are counted in UTF-16. */
function splitText(payload) {
  const packets = [];
  for (let rest = payload; rest; ) {
    const colon = rest.indexOf(":");
    const end = colon + 1 + Number(rest.slice(0, colon));
    packets.push(rest.slice(colon + 1, end));
    rest = rest.slice(end);
  }
  return packets;
}

/** The same in bytes: a kind, the digits of the length, 255. */
function splitOctets(payload) {
  const packets = [];
  for (let rest = Buffer.from(payload); rest.length; ) {
    const mark = rest.indexOf(255);
    const end = mark + 1 + Number([...rest.subarray(1, mark)].join(""));
    const packet = rest.subarray(mark + 1, end);
    packets.push(rest[0] === 0 ? packet.toString() : packet);
    rest = rest.subarray(end);
  }
  return packets;
}
