// One TCP connection: bytes out, and what comes in read as HTTP answers or WebSocket frames.
import net from "node:net";
import zlib from "node:zlib";

const OPCODES = { 0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong" };
const HEAD_END = Buffer.from("\r\n\r\n");

/** The bytes of a script's text, `{hex}` or `{repeat, times}`. */
export function bytes(spec) {
  if (spec === undefined) return Buffer.alloc(0);
  if (typeof spec === "string") return Buffer.from(spec);
  if (spec.hex !== undefined) return Buffer.from(spec.hex, "hex");
  return Buffer.from((spec.before ?? "") + spec.repeat.repeat(spec.times) + (spec.after ?? ""));
}

/** Text where the bytes are UTF-8, else hex. */
export function readable(buffer) {
  const text = buffer.toString();
  return Buffer.from(text).equals(buffer) ? text : `hex ${buffer.toString("hex")}`;
}

export class Wire {
  came = [];
  frames = false;
  closeCame = false;
  closeSent = false;
  ended = false;
  #buffer = Buffer.alloc(0);
  #flushed;
  #methods = [];
  #waiting = new Set();
  #inflated = Buffer.alloc(0);

  constructor(port, came = () => {}) {
    this.onCame = came;
    this.socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    this.socket.on("data", (data) => {
      this.#buffer = Buffer.concat([this.#buffer, data]);
      this.#read(false);
    });
    this.socket.on("error", (error) => error.code === "ECONNRESET" && (this.reset = true));
    this.socket.on("end", () => this.#end());
    this.socket.on("close", () => this.#end());
  }

  get unanswered() {
    return this.#methods.length;
  }

  write(data) {
    if (this.socket.writable) this.#flushed = new Promise((resolve) => this.socket.write(data, resolve));
  }

  /** Ends when all that was written has left. */
  flushed() {
    return this.#flushed;
  }

  /** Ends this side, and waits until all that was written has left. */
  finish() {
    return new Promise((resolve) => this.socket.end(resolve));
  }

  request(method, data) {
    this.#methods.push(method);
    this.write(data);
  }

  frame({ fin = true, op = 1, rsv = 0, mask = true, form, code, data, deflate }) {
    let payload = bytes(data);
    if (code !== undefined) payload = Buffer.concat([Buffer.from([code >> 8, code & 255]), payload]);
    if (deflate) {
      payload = zlib.deflateRawSync(payload, { finishFlush: zlib.constants.Z_SYNC_FLUSH }).subarray(0, -4);
      rsv |= 4;
    }
    const size = payload.length;
    const shape = form ?? (size < 126 ? 7 : size < 65536 ? 16 : 64);
    const head = [(fin ? 128 : 0) | (rsv << 4) | op];
    const masked = mask ? 128 : 0;
    if (shape === 7) head.push(masked | Math.min(size, 125));
    else if (shape === 16) head.push(masked | 126, size >> 8, size & 255);
    else head.push(masked | 127, 0, 0, 0, 0, (size >>> 24) & 255, (size >> 16) & 255, (size >> 8) & 255, size & 255);
    const key = [1, 2, 3, 4];
    if (mask) payload = payload.map((byte, i) => byte ^ key[i & 3]);
    if (op === 8) this.closeSent = true;
    this.write(Buffer.concat([Buffer.from(head), Buffer.from(mask ? key : []), payload]));
  }

  /** Ends when the test passes, the connection has ended, or the time is over. */
  until(test, ms) {
    if (test() || this.ended) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve();
      };
      const look = () => (test() || this.ended) && done();
      const timer = setTimeout(done, ms);
      this.#waiting.add(look);
    });
  }

  destroy() {
    this.gone = true;
    this.socket.destroy();
  }

  #add(entry) {
    this.came.push(entry);
    this.onCame(entry, this);
  }

  #end() {
    if (this.ended) return;
    this.#read(true);
    this.ended = true;
    if (this.#buffer.length) this.#add({ rest: readable(this.#buffer) });
    if (!this.gone) this.#add({ end: this.reset ? "reset" : "end" });
    this.socket.end();
    for (const look of [...this.#waiting]) look();
  }

  #read(ended) {
    while (this.#buffer.length) {
      const length = this.frames ? this.#readFrame() : this.#readAnswer(ended);
      if (!length) break;
      this.#buffer = this.#buffer.subarray(length);
    }
    for (const look of [...this.#waiting]) look();
  }

  /** The length of the first answer, once it is there. */
  #readAnswer(ended) {
    const all = this.#buffer;
    const headEnd = all.indexOf(HEAD_END);
    if (headEnd < 0) return 0;
    const [first, ...lines] = all.toString("latin1", 0, headEnd).split("\r\n");
    const status = Number(first.split(" ")[1]);
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(":");
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      headers[name] = name in headers ? `${headers[name]} | ${value}` : value;
    }
    const from = headEnd + 4;
    let until = from;
    let body = Buffer.alloc(0);
    if (status === 100) {
      this.#add({ status });
      return from;
    }
    if (status === 101) this.frames = true;
    else if (this.#methods[0] === "HEAD" || status === 204 || status === 304) until = from;
    else if (/chunked/i.test(headers["transfer-encoding"] ?? "")) {
      const chunks = [];
      for (;;) {
        const lineEnd = all.indexOf("\r\n", until);
        if (lineEnd < 0) return 0;
        const size = parseInt(all.toString("latin1", until, lineEnd), 16);
        if (all.length < lineEnd + 4 + size) return 0;
        chunks.push(all.subarray(lineEnd + 2, lineEnd + 2 + size));
        until = lineEnd + 4 + size;
        if (size === 0) break;
      }
      body = Buffer.concat(chunks);
    } else if ("content-length" in headers) {
      until = from + Number(headers["content-length"]);
      if (all.length < until) return 0;
      body = all.subarray(from, until);
    } else if (/^HTTP\/1.1 (4|5)/.test(first) && /close/i.test(headers.connection ?? "")) {
      if (!ended) return 0;
      until = all.length;
      body = all.subarray(from);
    }
    this.#methods.shift();
    const encoding = headers["content-encoding"];
    if (encoding === "gzip") body = zlib.gunzipSync(body);
    if (encoding === "deflate") body = zlib.inflateSync(body);
    this.#add({ status, headers, body: readable(body) });
    return until;
  }

  #readFrame() {
    const all = this.#buffer;
    if (all.length < 2) return 0;
    let size = all[1] & 127;
    let from = 2;
    if (size === 126) {
      if (all.length < 4) return 0;
      size = all.readUInt16BE(2);
      from = 4;
    } else if (size === 127) {
      if (all.length < 10) return 0;
      size = Number(all.readBigUInt64BE(2));
      from = 10;
    }
    const frame = { frame: OPCODES[all[0] & 15] ?? `opcode ${all[0] & 15}` };
    if (!(all[0] & 128)) frame.fin = false;
    if (all.toString("latin1", 0, 5) === "HTTP/") {
      this.#add({ rest: readable(all) });
      return all.length;
    }
    if (all.length < from + size) return 0;
    let payload = all.subarray(from, from + size);
    if (all[0] & 64) {
      const context = this.#inflated.length ? { dictionary: this.#inflated } : {};
      const tail = Buffer.from([0, 0, 255, 255]);
      payload = zlib.inflateRawSync(Buffer.concat([payload, tail]), { finishFlush: zlib.constants.Z_SYNC_FLUSH, ...context });
      this.#inflated = Buffer.concat([this.#inflated, payload]).subarray(-32768);
      frame.compressed = true;
    }
    if (all[1] & 128) frame.masked = true;
    if (frame.frame === "close") {
      this.closeCame = true;
      if (size) frame.code = payload.readUInt16BE(0);
      payload = payload.subarray(2);
    }
    if (frame.frame === "binary") frame.hex = payload.toString("hex");
    else if (payload.length || frame.frame === "text") frame.text = readable(payload);
    this.#add(frame);
    return from + size;
  }
}
