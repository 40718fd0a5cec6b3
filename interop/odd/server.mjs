// A server that is right but for the oddities of a case, on raw sockets so that each byte can be odd.
import crypto from "node:crypto";
import net from "node:net";

const RS = "\x1e";
export const TEXT = "ünïcödé € 😀";
export const BYTES = Buffer.from([1, 2, 3, 250]);

/** The runs of a server, whatever carries its bytes: a request names its run in its query. */
export class Runs {
  runs = new Map();
  sockets = new Set();

  /** Takes a connection of TCP or TLS. */
  accept(socket) {
    this.sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.sockets.delete(socket));
    new Connection(socket, this.runs);
  }
  /** The path for one run of a case. */
  add(id, odd) {
    this.runs.set(String(id), new Run(odd));
    return `/?case=${id}`;
  }
  remove(id) {
    this.runs.get(String(id))?.end();
    this.runs.delete(String(id));
  }
  close() {
    for (const socket of this.sockets) socket.destroy();
  }
}

/** Lets a server listen; gives its port. */
export async function listen(server, host = "127.0.0.1") {
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, host, resolve));
  return server.address().port;
}

/** Starts a server for the cases of oddities.mjs. */
export async function start() {
  const runs = new Runs();
  const server = net.createServer({ noDelay: true }, (socket) => runs.accept(socket));
  const port = await listen(server);
  return {
    /** What the client is to know for one run of a case. */
    add: (id, odd) => ({ url: `http://127.0.0.1:${port}${runs.add(id, odd)}` }),
    remove: (id) => runs.remove(id),
    close() {
      runs.close();
      server.close();
    },
  };
}

/** What hooks of all oddities of a case make of something. */
function hooked(odd, name, value, ...more) {
  for (const oddity of odd.hooks) if (oddity[name]) value = oddity[name](value, ...more) ?? value;
  return value;
}

/** One client's run: its sessions. */
class Run {
  sessions = new Map();
  constructor(odd) {
    this.odd = odd;
  }
  end() {
    for (const session of this.sessions.values()) session.end();
  }
}

/** A TCP connection: requests in, answers out, perhaps a WebSocket. */
class Connection {
  bytes = Buffer.alloc(0);
  queue = [];
  constructor(socket, cases) {
    Object.assign(this, { socket, cases });
    socket.on("data", (data) => {
      if (this.ws) return this.ws.read(data);
      this.bytes = Buffer.concat([this.bytes, data]);
      this.parse();
    });
    socket.on("close", () => this.ws?.gone());
  }

  parse() {
    const end = this.bytes.indexOf("\r\n\r\n");
    if (end < 0) return;
    const [line, ...lines] = this.bytes.subarray(0, end).toString("latin1").split("\r\n");
    const headers = Object.fromEntries(lines.map((text) => {
      const at = text.indexOf(":");
      return [text.slice(0, at).toLowerCase(), text.slice(at + 1).trim()];
    }));
    const length = Number(headers["content-length"] ?? 0);
    if (this.bytes.length < end + 4 + length) return;
    const body = this.bytes.subarray(end + 4, end + 4 + length).toString();
    this.bytes = this.bytes.subarray(end + 4 + length);
    const [method, target] = line.split(" ");
    const query = new URL(target, "http://x").searchParams;
    const run = this.cases.get(query.get("case"));
    if (!run) return this.socket.destroy();
    if (headers.upgrade) return upgrade(this, run, query, headers);
    if (headers.connection?.toLowerCase() === "close") this.closing = true;
    polling(this, run, query, method, body, headers);
  }

  /** Writes pieces one after the other, with a pause of a millisecond. */
  async write(pieces) {
    for (const piece of pieces) {
      if (this.socket.destroyed) return;
      this.socket.write(piece);
      if (pieces.length > 1) await pause(1);
    }
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// --- Polling ---

function polling(connection, run, query, method, body, headers) {
  const { odd } = run;
  const answer = (kind, text) => send(connection, odd, kind, text);
  const sid = query.get("sid");
  if (!sid) {
    const session = new Session(run);
    const packets = hooked(odd, "first", ["0" + session.open("polling"), ...session.take()], session);
    return answer("open", session.payload(packets));
  }
  const session = run.sessions.get(sid);
  if (!session || !isLetIn(odd, headers)) return send(connection, odd, "refusal", '{"code":1,"message":"Session ID unknown"}', 400);
  if (method === "POST") {
    const packets = split(body, odd.revision);
    const reply = () => answer("post", hooked(odd, "ok", "ok"));
    if (odd.late) setTimeout(reply, 20);
    else reply();
    for (const packet of packets) session.packet(packet);
    return;
  }
  if (session.get) return send(connection, odd, "refusal", '{"code":3,"message":"Bad request"}', 400);
  session.get = (packets) => {
    session.get = undefined;
    answer("get", session.payload(packets));
  };
  session.flush();
}

/** Says whether a request within a session has what the case wants of it. */
function isLetIn({ lets }, headers) {
  return !lets || lets(headers);
}

/** Sends an answer of HTTP as the case has it. */
async function send(connection, odd, kind, text, status = 200) {
  const plain = {
    kind, status, version: "HTTP/1.1", reason: status === 200 ? " OK" : " Bad Request", eol: "\r\n", before: "",
    headers: [["Content-Type", "text/plain; charset=UTF-8"], ["Cache-Control", "no-store"]],
    body: Buffer.from(text), framing: "length", chunk: 1e9, pieces: 1, ext: "", trailers: "", after: "",
  };
  const a = hooked(odd, "answer", plain);
  const { body, eol } = a;
  if (connection.closing && !a.headers.some(([name]) => name.toLowerCase() === "connection")) {
    a.headers.push(["Connection", "close"]);
  }
  const lines = a.headers.map((header) => (typeof header === "string" ? header : `${header[0]}: ${header[1]}`));
  if (a.framing === "length") lines.push(`Content-Length: ${body.length}`);
  if (a.framing === "chunked") lines.push("Transfer-Encoding: chunked");
  // Two oddities may leave a body without a length: it ends with the connection.
  const isEndless = status !== 204 && a.status !== 204 && !lines.some((line) => /^(content-length|transfer-encoding)\s*:/i.test(line));
  const head = Buffer.from(`${a.before}${a.version} ${a.status}${a.reason}${eol}${lines.map((line) => line + eol).join("")}${eol}`, "latin1");
  const out = [head];
  if (a.framing === "chunked") {
    for (let at = 0; at < body.length; at += a.chunk) {
      const part = body.subarray(at, at + a.chunk);
      out.push(Buffer.from(`${part.length.toString(16)}${a.ext}\r\n`), part, Buffer.from("\r\n"));
    }
    out.push(Buffer.from(`0\r\n${a.trailers}\r\n`));
  } else out.push(body);
  out.push(Buffer.from(a.after));
  const all = Buffer.concat(out);
  const size = Math.ceil(all.length / a.pieces);
  const pieces = [];
  for (let at = 0; at < all.length; at += size) pieces.push(all.subarray(at, at + size));
  await connection.write(pieces);
  if (a.framing === "close" || isEndless || a.close || connection.closing) {
    const { socket } = connection;
    if (!a.reset) socket.end();
    else if (socket.encrypted) socket.destroy();
    else socket.resetAndDestroy();
  } else connection.parse();
}

/** Splits a payload. */
function split(body, revision) {
  if (revision === 4) return body.split(RS);
  const packets = [];
  for (let rest = body; rest; ) {
    const at = rest.indexOf(":");
    const length = Number(rest.slice(0, at));
    packets.push(rest.substr(at + 1, length));
    rest = rest.slice(at + 1 + length);
  }
  return packets;
}

// --- Sessions ---

class Session {
  queue = [];
  timers = [];
  constructor(run) {
    this.run = run;
    this.odd = run.odd;
    this.sid = hooked(this.odd, "sid", crypto.randomBytes(10).toString("hex"));
    run.sessions.set(String(this.sid), this);
    if (this.odd.revision === 3) this.queue.push(hooked(this.odd, "joined", "40", this));
  }

  /** The text of the open packet's data. */
  open(transport) {
    const data = { sid: this.sid, upgrades: transport === "polling" && this.odd.transport === "both" ? ["websocket"] : [], pingInterval: 25000, pingTimeout: 20000 };
    if (this.odd.revision === 4) data.maxPayload = 1e6;
    const open = hooked(this.odd, "open", data, this);
    const text = typeof open === "string" ? open : JSON.stringify(open);
    if (this.odd.pings) this.timers.push(setInterval(() => this.push("2"), this.odd.pings));
    return text;
  }

  payload(packets) {
    const text = this.odd.revision === 4
      ? packets.map((p) => (Buffer.isBuffer(p) ? "b" + p.toString("base64") : p)).join(RS)
      : packets.map((p) => (Buffer.isBuffer(p) ? "b4" + p.toString("base64") : p)).map((p) => `${p.length}:${p}`).join("");
    return hooked(this.odd, "payload", text, packets, this);
  }

  push(...packets) {
    this.queue.push(...hooked(this.odd, "packets", packets, this));
    this.flush();
  }

  take() {
    return this.queue.splice(0);
  }

  flush() {
    if (!this.queue.length) return;
    if (this.ws) for (const packet of this.take()) this.ws.send(packet);
    else if (this.get && !this.probing) this.get(this.take());
  }

  /** A packet of the client. */
  packet(packet) {
    const { odd } = this;
    if (Buffer.isBuffer(packet)) return;
    if (packet === "1") return this.end();
    if (packet[0] === "2") return this.push("3" + packet.slice(1));
    if (packet[0] !== "4") return;
    const text = packet.slice(1);
    if (text[0] === "0" && odd.revision === 4) return this.push(...hooked(odd, "connects", ['40{"sid":"s' + this.sid + '"}'], this));
    const event = /^2(\d+)(\[.*\])$/s.exec(text);
    if (!event) return;
    const [name, value] = JSON.parse(event[2]);
    if (name !== "echo") return;
    const packets = hooked(odd, "ack", [`43${event[1]}[${JSON.stringify(value)}]`], event[1], value);
    if (!this.told) {
      this.told = true;
      packets.push(...hooked(odd, "news", ['42["news",1]', `42["news",${JSON.stringify(TEXT)}]`, '451-["news",{"_placeholder":true,"num":0}]', BYTES], this));
    }
    this.push(...packets);
  }

  end() {
    for (const timer of this.timers) clearInterval(timer);
    this.run.sessions.delete(String(this.sid));
    this.get?.(["6"]);
    this.ws?.connection.socket.end();
  }
}

// --- WebSocket ---

async function upgrade(connection, run, query, headers) {
  const { odd } = run;
  const accept = crypto.createHash("sha1").update(headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  const h = hooked(odd, "handshake", {
    version: "HTTP/1.1", status: 101, reason: " Switching Protocols", eol: "\r\n", before: "", pieces: 1, delay: 0,
    headers: [["Upgrade", "websocket"], ["Connection", "Upgrade"], ["Sec-WebSocket-Accept", accept]],
  });
  const lines = h.headers.map((header) => (typeof header === "string" ? header : `${header[0]}: ${header[1]}`));
  const head = Buffer.from(`${h.before}${h.version} ${h.status}${h.reason}${h.eol}${lines.map((line) => line + h.eol).join("")}${h.eol}`, "latin1");
  const sid = query.get("sid");
  const session = sid ? run.sessions.get(sid) : new Session(run);
  if (!session || (sid && !isLetIn(odd, headers))) return connection.socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 18\r\n\r\nSession ID unknown");
  connection.ws = new WebSocket(connection, session, Boolean(sid));
  if (h.delay) await pause(h.delay);
  const size = Math.ceil(head.length / h.pieces);
  const pieces = [];
  for (let at = 0; at < head.length; at += size) pieces.push(head.subarray(at, at + size));
  // What is sent right behind the head comes with it.
  connection.socket.cork();
  const written = connection.write(pieces);
  if (h.pieces > 1) await written;
  connection.ws.opened();
  connection.socket.uncork();
}

class WebSocket {
  bytes = Buffer.alloc(0);
  constructor(connection, session, isProbe) {
    Object.assign(this, { connection, session, isProbe });
  }

  opened() {
    if (this.isProbe) return;
    const { session } = this;
    session.ws = this;
    for (const packet of hooked(session.odd, "first", ["0" + session.open("websocket")], session)) this.send(packet);
    session.flush();
    this.read(Buffer.alloc(0));
  }

  send(packet) {
    const { odd } = this.session;
    const binary = Buffer.isBuffer(packet);
    const payload = binary && odd.revision === 3 ? Buffer.concat([Buffer.from([4]), packet]) : Buffer.from(packet);
    const frames = hooked(odd, "frames", undefined, payload, binary, this) ?? [frame(binary ? 2 : 1, payload)];
    for (const bytes of frames) this.connection.socket.write(bytes);
  }

  read(data) {
    this.bytes = Buffer.concat([this.bytes, data]);
    for (;;) {
      const { bytes } = this;
      if (bytes.length < 6) return;
      let [length, at] = [bytes[1] & 127, 2];
      if (length === 126) [length, at] = [bytes.readUInt16BE(2), 4];
      else if (length === 127) [length, at] = [Number(bytes.readBigUInt64BE(2)), 10];
      if (bytes.length < at + 4 + length) return;
      const mask = bytes.subarray(at, at + 4);
      const payload = Buffer.from(bytes.subarray(at + 4, at + 4 + length)).map((byte, i) => byte ^ mask[i % 4]);
      this.bytes = bytes.subarray(at + 4 + length);
      const opcode = bytes[0] & 15;
      if (opcode === 8) {
        this.connection.socket.end(frame(8, payload));
        this.gone();
      } else if (opcode === 9) this.connection.socket.write(frame(10, payload));
      else if (opcode === 1) this.text(payload.toString());
    }
  }

  async text(text) {
    const { session } = this;
    if (!this.isProbe || session.ws === this) return session.packet(text);
    const { odd } = session;
    if (text === "2probe") {
      session.probing = true;
      if (odd.probeDelay) await pause(odd.probeDelay);
      this.send(hooked(odd, "probed", "3probe"));
      const release = () => session.get?.(["6"]);
      const timer = setInterval(release, odd.releaseEvery ?? 100);
      session.timers.push(timer);
      this.timer = timer;
      if (odd.releaseDelay) await pause(odd.releaseDelay);
      release();
    } else if (text === "5") {
      clearInterval(this.timer);
      session.ws = this;
      session.get?.(["6"]);
      session.flush();
    }
  }

  gone() {
    if (this.session.ws === this) this.session.end();
    else {
      clearInterval(this.timer);
      this.session.probing = false;
      this.session.flush();
    }
  }
}

/** A frame of a server. */
export function frame(opcode, payload, { fin = 1, rsv = 0, mask, wide } = {}) {
  const { length } = payload;
  const size = wide ?? (length > 65535 ? 8 : length > 125 ? 2 : 0);
  const head = Buffer.alloc(2 + size);
  head[0] = (fin << 7) | (rsv << 4) | opcode;
  head[1] = (mask ? 128 : 0) | (size === 8 ? 127 : size === 2 ? 126 : length);
  if (size === 2) head.writeUInt16BE(length, 2);
  if (size === 8) head.writeBigUInt64BE(BigInt(length), 2);
  if (!mask) return Buffer.concat([head, payload]);
  return Buffer.concat([head, mask, Buffer.from(payload).map((byte, i) => byte ^ mask[i % 4])]);
}
