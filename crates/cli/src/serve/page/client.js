// A small Socket.IO 4 client for the page of `sio serve`: one namespace, Engine.IO 4 by
// long-polling and then WebSocket, binary both ways, acknowledgements, reconnection.
//
//   const socket = new Socket();              // the server the page came from
//   socket.on("message", (message) => ...);   // the server's events
//   socket.on("connect", () => ...);          // and the client's own, see OWN_EVENTS
//   socket.connect();
//   socket.emit("typing", true);
//   const answer = await socket.request("join", { name, room });
//
// It deliberately does not keep what is sent without a connection: `emit` returns false and
// `request` rejects, and the page decides.

const SEPARATOR = "\x1e";
const CONNECT_TIMEOUT = 20_000;

// Engine.IO packet types.
const CLOSE = "1", PING = "2", PONG = "3", MESSAGE = "4", UPGRADE = "5";

// Events of the client itself. The server cannot cause them by sending an event of that name.
const OWN_EVENTS = new Set([
  "connect",        // ()
  "disconnect",     // (reason)
  "connect_error",  // (error)
  "reconnecting",   // ({ attempt, delay, reason })
  "transport",      // ("polling" | "websocket", milliseconds since the session was opened)
  "upgrade_error",  // (error): the connection stays on polling
]);

class Emitter {
  #listeners = new Map();

  on(name, listener) {
    const list = this.#listeners.get(name) ?? [];
    this.#listeners.set(name, [...list, listener]);
    return this;
  }

  fire(name, ...args) {
    for (const listener of this.#listeners.get(name) ?? []) listener(...args);
  }
}

// ---- Engine.IO: one session, over polling and then WebSocket ------------------------------

// Fires `open` (), `transport` (name), `data` (string or ArrayBuffer), `upgrade_error` (error)
// and, once, `close` (reason, error).
class Engine extends Emitter {
  sid = null;
  transport = null;
  #url;
  #state = "new"; // new, opening, open, closed
  #abort = new AbortController();
  #queue = [];         // packets that wait for the transport
  #posting = null;     // the POST under way, a promise
  #polling = null;     // the GET under way, a promise
  #paused = false;     // polling has stopped for the upgrade
  #socket = null;      // the WebSocket, probing or in use
  #watchdog = 0;
  #patience = 0;       // how long the server may be silent
  #maxPayload = Infinity;

  constructor(url) {
    super();
    this.#url = url;
  }

  async open() {
    this.#state = "opening";
    const timer = setTimeout(() => this.#abort.abort(), CONNECT_TIMEOUT);
    try {
      const packets = (await this.#request("GET")).split(SEPARATOR);
      const first = packets.shift();
      if (this.#state === "closed") return;
      if (first[0] !== "0") throw new Error("the server does not speak Engine.IO here");
      const hello = JSON.parse(first.slice(1));
      this.sid = hello.sid;
      this.#patience = hello.pingInterval + hello.pingTimeout;
      if (hello.maxPayload) this.#maxPayload = hello.maxPayload;
      this.#state = "open";
      this.transport = "polling";
      this.#heard();
      this.fire("transport", "polling");
      this.fire("open");
      for (const packet of packets) this.#receive(packet);
      if (hello.upgrades?.includes("websocket") && "WebSocket" in globalThis) this.#probe();
      this.#poll();
    } catch (error) {
      this.#end("transport error", error);
    } finally {
      clearTimeout(timer);
    }
  }

  // `data` is a string or bytes.
  send(data) {
    this.#write(typeof data === "string" ? MESSAGE + data : data);
  }

  close(reason = "forced close") {
    if (this.#state === "open") {
      if (this.transport === "websocket") {
        this.#socket.send(CLOSE);
      } else {
        // The page may be going away: `keepalive` lets this request outlive it.
        const options = { method: "POST", body: CLOSE, keepalive: true };
        fetch(this.#address("polling"), options).catch(() => {});
      }
    }
    this.#end(reason);
  }

  #address(transport) {
    const url = new URL(this.#url);
    if (transport === "websocket") url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("EIO", "4");
    url.searchParams.set("transport", transport);
    if (this.sid) url.searchParams.set("sid", this.sid);
    return url;
  }

  async #request(method, body) {
    let response;
    try {
      const headers = body === undefined ? {} : { "content-type": "text/plain;charset=UTF-8" };
      const options = { method, body, headers, cache: "no-store", signal: this.#abort.signal };
      response = await fetch(this.#address("polling"), options);
      const text = await response.text();
      if (response.ok) return text;
      throw new Error(explain(response.status, text));
    } catch (error) {
      if (response && !response.ok) throw error;
      throw new Error("the server cannot be reached", { cause: error });
    }
  }

  // Polls until the session ends or polling is paused.
  async #poll() {
    while (this.#state === "open" && !this.#paused) {
      this.#polling = this.#request("GET");
      try {
        const payload = await this.#polling;
        for (const packet of payload.split(SEPARATOR)) this.#receive(packet);
      } catch (error) {
        this.#end("transport error", error);
      }
    }
    this.#polling = null;
  }

  #write(packet) {
    if (this.#state !== "open") return;
    if (this.transport === "websocket") {
      this.#socket.send(packet);
      return;
    }
    this.#queue.push(packet);
    this.#post();
  }

  // One POST at a time keeps the order.
  async #post() {
    while (this.#queue.length > 0 && !this.#posting && !this.#paused && this.#state === "open") {
      this.#posting = this.#request("POST", this.#payload());
      try {
        await this.#posting;
      } catch (error) {
        this.#end("transport error", error);
      }
      this.#posting = null;
    }
  }

  // Takes as much from the queue as fits into one request.
  #payload() {
    let payload = this.#text(this.#queue.shift());
    while (this.#queue.length > 0) {
      const next = this.#text(this.#queue[0]);
      // A UTF-16 unit is at most three bytes.
      if ((payload.length + next.length + 1) * 3 > this.#maxPayload) break;
      this.#queue.shift();
      payload += SEPARATOR + next;
    }
    return payload;
  }

  #text(packet) {
    return typeof packet === "string" ? packet : "b" + toBase64(packet);
  }

  #receive(packet) {
    if (this.#state !== "open") return;
    this.#heard();
    if (typeof packet !== "string") return this.fire("data", packet);
    switch (packet[0]) {
      case "b": return this.fire("data", fromBase64(packet.slice(1)));
      case CLOSE: return this.#end("transport close");
      case PING: return this.#write(PONG);
      case MESSAGE: return this.fire("data", packet.slice(1));
      default: // `6` has nothing to say.
    }
  }

  // The server pings; if it has been silent for too long, it is gone.
  #heard() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#end("ping timeout"), this.#patience);
  }

  // Asks for WebSocket beside the running poll: `2probe`, `3probe`, the last poll, `5`.
  #probe() {
    const socket = new WebSocket(this.#address("websocket"));
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    const fail = () => {
      if (this.transport === "websocket" || this.#state !== "open") return;
      socket.onclose = socket.onmessage = socket.onerror = null;
      socket.close();
      this.#socket = null;
      this.fire("upgrade_error", new Error("the WebSocket could not be opened"));
      if (this.#paused) {
        this.#paused = false;
        if (!this.#polling) this.#poll();
        this.#post();
      }
    };
    socket.onerror = socket.onclose = fail;
    socket.onopen = () => socket.send(PING + "probe");
    socket.onmessage = async ({ data }) => {
      if (data !== PONG + "probe") return fail();
      // What arrives from here on belongs to the new transport.
      socket.onmessage = (event) => this.#receive(event.data);
      this.#paused = true;
      await Promise.allSettled([this.#polling, this.#posting]);
      // Let the poll and the POST that just ended hand over what they brought.
      await new Promise((done) => setTimeout(done));
      if (this.#state !== "open" || !this.#socket) return;
      socket.send(UPGRADE);
      this.transport = "websocket";
      socket.onerror = null;
      socket.onclose = () => this.#end("transport close");
      this.fire("transport", "websocket");
      for (const packet of this.#queue.splice(0)) socket.send(packet);
    };
  }

  #end(reason, error) {
    if (this.#state === "closed") return;
    this.#state = "closed";
    clearTimeout(this.#watchdog);
    this.#abort.abort();
    this.#queue.length = 0;
    if (this.#socket) {
      this.#socket.onopen = this.#socket.onmessage = null;
      this.#socket.onclose = this.#socket.onerror = null;
      this.#socket.close();
    }
    this.fire("close", reason, error);
  }
}

// Words for an answer that is not 200: the server's own, where it gave any.
function explain(status, text) {
  try {
    const { code, message } = JSON.parse(text);
    if (message) return `the server refused: ${message} (code ${code})`;
  } catch {
    // Not the JSON of Engine.IO: something between here and the server answered.
  }
  return `the server answered ${status}`;
}

function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(text);
}

function fromBase64(text) {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer;
}

// ---- Socket.IO: events, acknowledgements and attachments ----------------------------------

// Socket.IO packet types.
const Type = { CONNECT: 0, DISCONNECT: 1, EVENT: 2, ACK: 3, CONNECT_ERROR: 4, BINARY_EVENT: 5, BINARY_ACK: 6 };

// A packet is a text and the attachments that follow it.
function encode(type, data, id) {
  const attachments = [];
  const json = JSON.stringify(data, (_, value) => {
    if (!(value instanceof ArrayBuffer) && !ArrayBuffer.isView(value)) return value;
    const bytes = value instanceof ArrayBuffer
      ? new Uint8Array(value)
      : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return { _placeholder: true, num: attachments.push(bytes) - 1 };
  });
  const binary = attachments.length > 0;
  const head = binary ? `${type === Type.EVENT ? Type.BINARY_EVENT : Type.BINARY_ACK}${attachments.length}-` : `${type}`;
  return [head + (id ?? "") + (json ?? ""), ...attachments];
}

// `<type>[<attachments>-][/<namespace>,][<id>][<json>]`
const PACKET = /^([0-6])(?:(\d+)-)?(?:(\/[^,]*),)?(\d+)?([^]*)$/;

function decode(text) {
  const match = PACKET.exec(text);
  if (!match) throw new Error("not a Socket.IO packet");
  const [, type, count, namespace = "/", id, json] = match;
  return {
    type: Number(type),
    namespace,
    id: id === undefined ? undefined : Number(id),
    data: json === "" ? undefined : JSON.parse(json),
    missing: Number(count ?? 0),
    attachments: [],
  };
}

function fill(value, attachments) {
  if (Array.isArray(value)) return value.map((item) => fill(item, attachments));
  if (value === null || typeof value !== "object") return value;
  if (value._placeholder === true) {
    if (!(value.num in attachments)) throw new Error("an attachment is missing");
    return attachments[value.num];
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, attachments)]));
}

export class Socket extends Emitter {
  id = null;
  connected = false;
  #url;
  #engine = null;
  #partial = null;        // a packet whose attachments are still to come
  #requests = new Map();  // by id: { resolve, reject, timer }
  #nextId = 0;
  #attempt = 0;
  #retry = 0;
  #timeout = 0;

  constructor(url = new URL("/socket.io/", location.href)) {
    super();
    this.#url = url;
  }

  get transport() {
    return this.#engine?.transport ?? null;
  }

  connect() {
    if (this.#engine) return;
    clearTimeout(this.#retry);
    const engine = new Engine(this.#url);
    const started = performance.now();
    this.#engine = engine;
    engine.on("open", () => engine.send(encode(Type.CONNECT)[0]));
    engine.on("transport", (name) => this.fire("transport", name, performance.now() - started));
    engine.on("upgrade_error", (error) => this.fire("upgrade_error", error));
    engine.on("data", (data) => this.#receive(data));
    engine.on("close", (reason, error) => this.#closed(reason, error));
    this.#timeout = setTimeout(() => engine.close("timeout"), CONNECT_TIMEOUT);
    engine.open();
  }

  disconnect() {
    clearTimeout(this.#retry);
    if (!this.#engine) return;
    if (this.connected) this.#engine.send(encode(Type.DISCONNECT)[0]);
    this.#engine.close("io client disconnect");
  }

  // Whether the event could be handed to a connection.
  emit(name, ...args) {
    if (!this.connected) return false;
    for (const part of encode(Type.EVENT, [name, ...args])) this.#engine.send(part);
    return true;
  }

  // Sends an event and gives the first value of its acknowledgement.
  request(name, data, timeout = 10_000) {
    if (!this.connected) return Promise.reject(new Error("there is no connection"));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const expire = () => {
        this.#requests.delete(id);
        reject(new Error("the server did not acknowledge in time"));
      };
      this.#requests.set(id, { resolve, reject, timer: setTimeout(expire, timeout) });
      for (const part of encode(Type.EVENT, [name, data], id)) this.#engine.send(part);
    });
  }

  #receive(data) {
    try {
      if (typeof data !== "string") {
        if (!this.#partial) throw new Error("an attachment without a packet");
        this.#partial.attachments.push(data);
        this.#partial.missing -= 1;
      } else {
        if (this.#partial) throw new Error("a packet where an attachment was due");
        this.#partial = decode(data);
      }
      if (this.#partial.missing > 0) return;
      const packet = this.#partial;
      this.#partial = null;
      packet.data = fill(packet.data, packet.attachments);
      this.#handle(packet);
    } catch (error) {
      console.error("a packet of the server cannot be read:", error);
      this.#engine?.close("parse error");
    }
  }

  #handle({ type, namespace, id, data }) {
    if (namespace !== "/" && !namespace.startsWith("/?")) return;
    switch (type) {
      case Type.CONNECT:
        clearTimeout(this.#timeout);
        this.id = data.sid;
        this.connected = true;
        this.#attempt = 0;
        return this.fire("connect");
      case Type.CONNECT_ERROR:
        // The server said no, which asking again does not change.
        this.fire("connect_error", new Error(`the server refused: ${data?.message ?? "no reason given"}`));
        return this.#engine.close("io server disconnect");
      case Type.DISCONNECT:
        return this.#engine.close("io server disconnect");
      case Type.EVENT:
      case Type.BINARY_EVENT: {
        const [name, ...args] = data;
        if (!OWN_EVENTS.has(name)) this.fire(name, ...args);
        // An acknowledgement that is asked for is given, though no handler has anything to add.
        if (id !== undefined) this.#engine?.send(encode(Type.ACK, [], id)[0]);
        return;
      }
      case Type.ACK:
      case Type.BINARY_ACK: {
        const request = this.#requests.get(id);
        if (!request) return;
        this.#requests.delete(id);
        clearTimeout(request.timer);
        return request.resolve(data[0]);
      }
    }
  }

  #closed(reason, error) {
    const wasConnected = this.connected;
    clearTimeout(this.#timeout);
    this.#engine = null;
    this.#partial = null;
    this.id = null;
    this.connected = false;
    for (const { reject, timer } of this.#requests.values()) {
      clearTimeout(timer);
      reject(new Error("the connection was lost before the server acknowledged"));
    }
    this.#requests.clear();
    if (wasConnected) this.fire("disconnect", reason);
    else if (error) this.fire("connect_error", error);
    if (!reason.startsWith("io ")) this.#reconnect(error?.message ?? reason);
  }

  // Waits 1, 2, 4, then 5 seconds, each half more or less, so that the clients of a server
  // that restarts do not return all at once.
  #reconnect(reason) {
    const delay = Math.min(1000 * 2 ** this.#attempt, 5000) * (0.5 + Math.random());
    this.#attempt += 1;
    this.fire("reconnecting", { attempt: this.#attempt, delay, reason });
    this.#retry = setTimeout(() => this.connect(), delay);
  }
}
