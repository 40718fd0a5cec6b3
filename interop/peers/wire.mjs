// A relay in front of a server that keeps what passes: the packets of Engine.IO in both directions, in the order in which they came by, and the
// ends of the connections.
import net from "node:net";
import zlib from "node:zlib";

const HEAD_END = "\r\n\r\n";

export class Wire {
  /** `{ from: "client" | "server", packet }`, or `{ from, end: true }`; `on` numbers the connections. */
  seen = [];
  #waiting = [];
  #open = new Set();

  static async start(port, revision) {
    const wire = new Wire();
    let count = 0;
    wire.relay = net.createServer({ allowHalfOpen: true }, (client) => {
      const server = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      const on = ++count;
      const tell = (fact) => wire.#tell({ on, ...fact });
      const requests = new Messages(revision, (packet) => tell({ from: "client", packet }));
      const answers = new Messages(revision, (packet) => tell({ from: "server", packet }));
      answers.switched = () => (requests.frames = true);
      const forward = (source, sink, messages, from) => {
        wire.#open.add(source);
        source.setNoDelay(true);
        source.on("data", (bytes) => {
          messages.take(bytes);
          sink.write(bytes);
        });
        source.on("end", () => {
          tell({ from, end: true });
          sink.end();
        });
        source.on("error", () => sink.destroy());
        source.on("close", () => wire.#open.delete(source));
      };
      forward(client, server, requests, "client");
      forward(server, client, answers, "server");
    });
    await new Promise((resolve) => wire.relay.listen(0, "127.0.0.1", resolve));
    wire.url = `http://127.0.0.1:${wire.relay.address().port}`;
    return wire;
  }

  #tell(fact) {
    this.seen.push(fact);
    this.#waiting = this.#waiting.filter((look) => !look());
  }

  /** Once that holds of what was seen. */
  until(test) {
    return new Promise((resolve) => {
      const look = () => test(this.seen) && (resolve(), true);
      if (!look()) this.#waiting.push(look);
    });
  }

  stop() {
    this.relay.close();
    for (const socket of this.#open) socket.destroy();
  }
}

/** One direction of a connection: bodies of HTTP, then frames of WebSocket. */
class Messages {
  frames = false;
  switched = () => {};
  #bytes = Buffer.alloc(0);
  #message = [];

  constructor(revision, tell) {
    Object.assign(this, { revision, tell });
  }

  take(bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    while (this.frames ? this.#frame() : this.#body());
  }

  #body() {
    const end = this.#bytes.indexOf(HEAD_END);
    if (end < 0) return false;
    const head = this.#bytes.subarray(0, end).toString("latin1").toLowerCase();
    const field = (name) => new RegExp(`\r\n${name}: *([^\r]*)`).exec(head)?.[1];
    const start = end + HEAD_END.length;
    const isSwitched = head.startsWith("http/1.1 101");
    let body, length;
    if (field("transfer-encoding") === "chunked") {
      const chunked = unchunk(this.#bytes.subarray(start));
      if (!chunked) return false;
      [body, length] = chunked;
    } else {
      length = isSwitched ? 0 : Number(field("content-length") ?? 0);
      if (this.#bytes.length < start + length) return false;
      body = this.#bytes.subarray(start, start + length);
    }
    this.#bytes = this.#bytes.subarray(start + length);
    if (field("content-encoding") === "gzip") body = zlib.gunzipSync(body);
    if (isSwitched) {
      this.frames = true;
      this.switched();
    }
    const isBinary = field("content-type")?.startsWith("application/octet-stream");
    for (const packet of split(body, this.revision, isBinary)) this.tell(packet);
    return true;
  }

  #frame() {
    const bytes = this.#bytes;
    if (bytes.length < 2) return false;
    let at = 2;
    let length = bytes[1] & 0x7f;
    if (length === 126) {
      if (bytes.length < 4) return false;
      length = bytes.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (bytes.length < 10) return false;
      length = Number(bytes.readBigUInt64BE(2));
      at = 10;
    }
    const mask = bytes[1] & 0x80 ? bytes.subarray(at, (at += 4)) : undefined;
    if (bytes.length < at + length) return false;
    const payload = Buffer.from(bytes.subarray(at, at + length));
    if (mask) for (let i = 0; i < length; i++) payload[i] ^= mask[i % 4];
    this.#bytes = bytes.subarray(at + length);
    const code = bytes[0] & 0xf;
    if (code === 8) this.tell("close frame");
    if (code > 2) return true;
    this.#message.push(payload);
    if (!(bytes[0] & 0x80)) return true;
    const message = Buffer.concat(this.#message);
    this.isBinary = code ? code === 2 : this.isBinary;
    this.tell(this.isBinary ? message : message.toString());
    this.#message = [];
    return true;
  }
}

/** A chunked body and how many bytes it takes up, once it is whole. */
function unchunk(bytes) {
  const chunks = [];
  for (let at = 0; ; ) {
    const line = bytes.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = parseInt(bytes.subarray(at, line).toString(), 16);
    const end = line + 2 + size + 2;
    if (bytes.length < end) return undefined;
    if (!size) return [Buffer.concat(chunks), end];
    chunks.push(bytes.subarray(line + 2, line + 2 + size));
    at = end;
  }
}

/** The packets of a body. */
function split(body, revision, isBinary) {
  if (!body.length) return [];
  if (revision === 4) return body.toString().split("\x1e");
  const packets = [];
  if (isBinary) {
    for (let at = 0; at < body.length; ) {
      const end = body.indexOf(255, at);
      const length = Number([...body.subarray(at + 1, end)].join(""));
      const packet = body.subarray(end + 1, end + 1 + length);
      packets.push(body[at] ? packet : packet.toString());
      at = end + 1 + length;
    }
    return packets;
  }
  for (let rest = body.toString(); rest; ) {
    const colon = rest.indexOf(":");
    // What is no payload: "ok", a refusal.
    if (!/^\d+$/.test(rest.slice(0, colon))) break;
    const end = colon + 1 + Number(rest.slice(0, colon));
    packets.push(rest.slice(colon + 1, end));
    rest = rest.slice(end);
  }
  return packets;
}
