// A small Socket.IO 4 client: one namespace over one connection.
//
// It opens with HTTP long-polling and upgrades to WebSocket, sends and receives events with binary
// arguments and acks, watches the server's heartbeat, and reconnects with backoff and jitter.
//
// Other than the official client it has no other namespaces, no options, and no buffer for what is
// emitted while it is not connected: `emit` then does nothing, `emitWithAck` rejects.
//
// The protocol: Engine.IO v4 (class Engine), Socket.IO v5 (class Socket).

/** Named listeners. `fire` calls them, so that a subclass may have an `emit` of its own. */
class Emitter {
  #listeners = new Map();

  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return this;
  }

  off(event, listener) {
    this.#listeners.get(event)?.delete(listener);
    return this;
  }

  fire(event, ...args) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        // A mistake in one listener is reported and harms neither the others nor the connection.
        reportError(error);
      }
    }
  }
}

// ---------------------------------------------------------------------------------- Engine.IO

/**
 * One Engine.IO session.
 *
 *     opening ──open packet──▶ open, polling ──probe, pause, "5"──▶ open, websocket
 *        └──────────────────────────┴──────────any failure─────────────────┴──▶ closed
 *
 * It fires `message` (string or ArrayBuffer), `transport` (name), `upgrade_error` (error), and once
 * at the end `close` (reason, error).
 */
class Engine extends Emitter {
  transport = "polling";
  #url;
  #state = "opening";
  #queue = []; // packets to send: strings as on the wire, binary messages as Uint8Array
  #limit = Infinity; // what one POST may hold, in bytes
  #patience = 0; // how long the server may be silent, in milliseconds
  #watchdog;
  #requests = new AbortController();
  #polling; // settles when no GET is pending
  #posting; // settles when no POST is pending; undefined while there is none
  #pausing = false; // between the probe's answer and the upgrade
  #ws; // the probe, later the transport

  constructor(path) {
    super();
    this.#url = new URL(path, location.href);
    this.#url.search = "EIO=4&transport=polling";
    this.#polling = this.#poll();
  }

  /** Sends a message: a string, or bytes. */
  send(message) {
    this.#send(typeof message === "string" ? `4${message}` : bytes(message));
  }

  /** Ends the session, and tells the server so after what is still to be sent. */
  close() {
    if (this.transport === "websocket" || this.#state !== "open") return this.#end("forced close");
    const body = [...this.#queue.map(toText), "1"].join(SEPARATOR);
    // The pending GET is given up only then: without it the server would think us lost.
    const goodbye = async () => {
      await this.#posting;
      await fetch(this.#url, { method: "POST", headers: TEXT, body, keepalive: true });
    };
    const requests = this.#requests;
    this.#requests = new AbortController();
    goodbye().catch(() => {}).finally(() => requests.abort());
    this.#end("forced close");
  }

  #end(reason, error) {
    if (this.#state === "closed") return;
    this.#state = "closed";
    clearTimeout(this.#watchdog);
    this.#requests.abort();
    this.#ws?.close();
    this.fire("close", reason, error);
  }

  // Sending

  #send(packet) {
    this.#queue.push(packet);
    this.#flush();
  }

  #flush() {
    if (this.#state !== "open") return;
    if (this.transport === "websocket") {
      for (const packet of this.#queue.splice(0)) this.#ws.send(packet);
    } else if (!this.#posting && !this.#pausing && this.#queue.length > 0) {
      this.#posting = this.#post().finally(() => (this.#posting = undefined));
    }
  }

  // One POST at a time: the server takes a second one for an attack.
  async #post() {
    while (this.#state === "open" && !this.#pausing && this.#queue.length > 0) {
      await this.#request({ method: "POST", headers: TEXT, body: this.#payload() });
    }
  }

  /** Takes as many packets from the queue as one POST may hold, at least one. */
  #payload() {
    const packets = [];
    let size = 0;
    while (this.#queue.length > 0) {
      const packet = toText(this.#queue[0]);
      size += UTF8.encode(packet).length + 1;
      if (packets.length > 0 && size > this.#limit) break;
      packets.push(packet);
      this.#queue.shift();
    }
    return packets.join(SEPARATOR);
  }

  // Receiving

  // One GET at a time, the next as soon as one is answered.
  async #poll() {
    while (this.#state !== "closed" && this.transport === "polling" && !this.#pausing) {
      const payload = await this.#request({});
      for (const packet of payload?.split(SEPARATOR) ?? []) this.#receive(packet);
    }
  }

  /** The body of the answer. A failure ends the session. */
  async #request(options) {
    const { signal } = this.#requests;
    try {
      const response = await fetch(this.#url, { ...options, cache: "no-store", signal });
      if (!response.ok) throw await refusal(response);
      return await response.text();
    } catch (error) {
      if (!signal.aborted) this.#end("transport error", explain(error));
    }
  }

  #receive(packet) {
    if (this.#state === "closed") return;
    if (typeof packet !== "string") return this.fire("message", packet);
    const data = packet.slice(1);
    switch (packet[0]) {
      case "0":
        return this.#open(data);
      case "1":
        return this.#end("transport close");
      case "2":
        this.#watch();
        return this.#send(`3${data}`);
      case "4":
        return this.fire("message", data);
      case "6":
        return; // only there to answer a GET
      case "b":
        return this.fire("message", fromBase64(data));
      default:
        this.#end("transport error", new Error(`The server sent no Engine.IO packet: "${packet.slice(0, 40)}"`));
    }
  }

  #open(json) {
    let open;
    try {
      open = JSON.parse(json);
    } catch {
      return this.#end("transport error", new Error("The server's first packet is not readable."));
    }
    this.#url.searchParams.set("sid", open.sid);
    this.#limit = open.maxPayload ?? Infinity;
    this.#patience = open.pingInterval + open.pingTimeout;
    this.#state = "open";
    this.#watch();
    this.fire("transport", this.transport);
    this.fire("open");
    if (open.upgrades?.includes("websocket") && "WebSocket" in globalThis) this.#upgrade();
  }

  // Spec: Engine.IO v4, "Heartbeat": the server pings, and who hears no ping is alone.
  #watch() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#end("ping timeout"), this.#patience);
  }

  // Spec: Engine.IO v4, "Upgrade". Until the "5" is sent the session lives on polling, whatever
  // happens to the probe.
  async #upgrade() {
    const url = new URL(this.#url);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("transport", "websocket");
    const ws = (this.#ws = new WebSocket(url));
    ws.binaryType = "arraybuffer";
    try {
      const answer = await new Promise((resolve, reject) => {
        ws.onopen = () => ws.send("2probe");
        ws.onmessage = ({ data }) => resolve(data);
        ws.onclose = () => reject(new Error("The WebSocket was refused; a proxy may not let it through."));
      });
      if (answer !== "3probe") throw new Error("The WebSocket's probe got a wrong answer.");
    } catch (error) {
      ws.close();
      if (this.#state === "open") this.fire("upgrade_error", error);
      return;
    }

    // No request may be pending when the transports change: the server ends the GET with a noop.
    this.#pausing = true;
    await Promise.all([this.#polling, this.#posting]);
    this.#pausing = false;
    if (this.#state !== "open") return;
    if (ws.readyState !== WebSocket.OPEN) {
      this.#polling = this.#poll();
      this.#flush();
      return this.fire("upgrade_error", new Error("The WebSocket was lost during the upgrade."));
    }
    ws.onmessage = ({ data }) => this.#receive(data);
    ws.onclose = ({ code, reason }) => {
      const text = `The WebSocket was closed (${[code, reason].filter(Boolean).join(", ")}).`;
      this.#end("transport close", new Error(text));
    };
    ws.send("5");
    this.transport = "websocket";
    this.fire("transport", this.transport);
    this.#flush();
  }
}

const SEPARATOR = "\x1e";
const TEXT = { "content-type": "text/plain;charset=UTF-8" };
const UTF8 = new TextEncoder();

const bytes = (data) =>
  ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);

const toText = (packet) => (typeof packet === "string" ? packet : `b${toBase64(packet)}`);

function toBase64(bytes) {
  let text = "";
  // In pieces: a function takes only so many arguments.
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return btoa(text);
}

const fromBase64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer;

/** What to do about the errors of Engine.IO, by their code. */
const HINTS = {
  0: "The server does not allow HTTP long-polling.",
  1: "The server does not know this session: it was restarted, or the requests of one client reach different servers (sticky sessions are needed).",
  2: "A proxy may have changed the request.",
  3: "A proxy may have changed the request.",
  4: "The server allows this client no connection.",
  5: "The server speaks another version of the protocol.",
};

/** Why the server answered a request with an error. */
async function refusal(response) {
  let answer;
  try {
    answer = await response.json();
  } catch {
    const { pathname } = new URL(response.url);
    const hint = response.status === 404 ? `There is no Socket.IO server at ${pathname}.` : "";
    return new Error(`The server answers with HTTP ${response.status}. ${hint}`.trim());
  }
  const error = new Error(`${answer.message}. ${HINTS[answer.code] ?? ""}`.trim());
  return Object.assign(error, { code: answer.code, status: response.status });
}

/** `fetch` fails with a TypeError that says nothing but differs from browser to browser. */
const explain = (error) =>
  error instanceof TypeError ? new Error("The server cannot be reached.", { cause: error }) : error;

// ---------------------------------------------------------------------------------- Socket.IO

/**
 * A connection to the main namespace, which reconnects.
 *
 * `on` takes the server's events and `connect`, `disconnect` (reason, error), `connect_error`
 * (error). `socket.io.on` takes `transport` (name), `upgrade_error` (error) and `reconnecting`
 * ({ attempt, delay }: the next attempt and the milliseconds until it begins).
 */
export class Socket extends Emitter {
  /** The id that the server gave; undefined while not connected. */
  id;
  /** How often the server gave one. */
  sessions = 0;
  io = new Emitter();
  #path;
  #engine;
  #acks = new Map();
  #nextAck = 0;
  #incomplete; // a packet whose attachments have not all arrived
  #attempt = 0;
  #retry; // the timer of the next attempt
  #late; // the timer of this attempt

  constructor(path = "/socket.io/") {
    super();
    this.#path = path;
    addEventListener("online", () => this.#retry !== undefined && this.connect());
    this.connect();
  }

  get connected() {
    return this.id !== undefined;
  }

  /** The name of the transport; undefined while there is no session. */
  get transport() {
    return this.#engine?.transport;
  }

  /** Connects, without waiting for the next attempt. Does nothing if it is about to already. */
  connect() {
    if (this.#engine) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    const engine = (this.#engine = new Engine(this.#path));
    engine
      .on("open", () => engine.send("0"))
      .on("message", (message) => this.#receive(message))
      .on("transport", (name) => this.io.fire("transport", name))
      .on("upgrade_error", (error) => this.io.fire("upgrade_error", error))
      .on("close", (reason, error) => this.#closed(reason, error));
    this.#late = setTimeout(() => this.#fail("The server does not answer.", true), CONNECT_TIMEOUT);
  }

  /** Disconnects, and does not connect again until `connect` is called. */
  disconnect() {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (this.connected) this.#engine.send("1");
    this.#leave("io client disconnect");
  }

  /** Sends an event. Nothing happens while not connected. */
  emit(event, ...args) {
    if (this.connected) this.#send("2", "", [event, ...args]);
  }

  /** Sends an event; resolves with the first value of the server's answer. */
  emitWithAck(event, ...args) {
    return new Promise((resolve, reject) => {
      if (!this.connected) return reject(new Error("not connected"));
      const id = this.#nextAck++;
      const timer = setTimeout(() => {
        this.#acks.delete(id);
        reject(new Error("operation has timed out"));
      }, ACK_TIMEOUT);
      this.#acks.set(id, {
        resolve: (value) => (clearTimeout(timer), resolve(value)),
        reject: (error) => (clearTimeout(timer), reject(error)),
      });
      this.#send("2", id, [event, ...args]);
    });
  }

  /** Sends an event ("2") or an ack ("3"); with attachments these are "5" and "6". */
  #send(type, id, args) {
    const attachments = [];
    const json = JSON.stringify(takeOut(args, attachments));
    const kind = attachments.length > 0 ? `${Number(type) + 3}${attachments.length}-` : type;
    this.#engine.send(`${kind}${id}${json}`);
    for (const attachment of attachments) this.#engine.send(attachment);
  }

  #receive(message) {
    try {
      if (typeof message === "string") {
        if (this.#incomplete) throw new Error("text came instead of an attachment");
        const packet = parse(message);
        if (packet.missing > 0) this.#incomplete = packet;
        else this.#handle(packet);
      } else {
        const packet = this.#incomplete;
        if (!packet) throw new Error("an attachment came without its packet");
        if (packet.attachments.push(message) < packet.missing) return;
        this.#incomplete = undefined;
        packet.data = putBack(packet.data, packet.attachments);
        this.#handle(packet);
      }
    } catch (error) {
      this.#leave("parse error", new Error(`The server sent a wrong packet: ${error.message}.`));
      this.#reconnect();
    }
  }

  #handle({ type, id, data }) {
    switch (type) {
      case "0":
        clearTimeout(this.#late);
        this.#attempt = 0;
        this.sessions += 1;
        this.id = data.sid;
        return this.fire("connect");
      case "1":
        return this.#leave("io server disconnect");
      case "2":
      case "5":
        if (id === undefined) return this.fire(...data);
        return this.fire(...data, (...args) => this.connected && this.#send("3", id, args));
      case "3":
      case "6":
        this.#acks.get(id)?.resolve(data[0]);
        return this.#acks.delete(id);
      case "4":
        // The application's own "no": asking again would not change it.
        return this.#fail(data.message ?? "The server refuses the connection.", false);
    }
  }

  /** Gives up the engine; says so to the listeners if there was a connection. */
  #leave(reason, error) {
    const engine = this.#engine;
    const wasConnected = this.connected;
    this.#engine = this.id = this.#incomplete = undefined;
    clearTimeout(this.#late);
    engine?.close();
    for (const ack of this.#acks.values()) ack.reject(new Error("socket has been disconnected"));
    this.#acks.clear();
    if (wasConnected) this.fire("disconnect", reason, error);
  }

  /** The attempt failed before there was a connection. */
  #fail(message, again) {
    this.#leave();
    this.fire("connect_error", new Error(message));
    if (again) this.#reconnect();
  }

  #closed(reason, error) {
    if (!this.#engine) return; // it was closed by `#leave`
    if (!this.connected) return this.#fail(error?.message ?? reason, true);
    this.#leave(reason, error);
    this.#reconnect();
  }

  // The delay doubles, and varies by half, so that the clients of a restarted server do not all
  // come at once.
  #reconnect() {
    if (this.#engine || this.#retry !== undefined) return; // a listener has acted already
    const longer = Math.min(DELAY * 2 ** this.#attempt, DELAY_MAX);
    const delay = Math.min(longer * (0.5 + Math.random()), DELAY_MAX);
    this.#attempt += 1;
    this.#retry = setTimeout(() => this.connect(), delay);
    this.io.fire("reconnecting", { attempt: this.#attempt, delay });
  }
}

// Milliseconds; the defaults of the official client, but for the acks, which there wait for ever.
const CONNECT_TIMEOUT = 20_000;
const ACK_TIMEOUT = 20_000;
const DELAY = 1_000;
const DELAY_MAX = 5_000;

/** `<type>[<attachments>-][<namespace>,][<ack id>][json]` */
const PACKET = /^([0-6])(?:(\d+)-)?(?:\/[^,]*,)?(\d+)?(.*)$/s;
const RESERVED = ["connect", "connect_error", "disconnect"];

function parse(text) {
  const [, type, missing, id, json] = PACKET.exec(text) ?? [];
  if (type === undefined) throw new Error("unknown packet type");
  const packet = {
    type,
    missing: Number(missing ?? 0),
    id: id === undefined ? undefined : Number(id),
    data: json === "" ? undefined : JSON.parse(json),
    attachments: [],
  };
  const { data } = packet;
  const valid =
    type === "0" ? typeof data?.sid === "string"
    : type === "1" ? true
    : type === "4" ? data !== null && typeof data === "object"
    : Array.isArray(data) && (type === "3" || type === "6" || !RESERVED.includes(data[0]));
  const binary = type === "5" || type === "6";
  if (!valid || (packet.missing > 0) !== binary || packet.missing > 10) throw new Error("invalid payload");
  return packet;
}

/** A copy of a value in which placeholders stand for its binary parts, which go into `attachments`. */
function takeOut(value, attachments) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return { _placeholder: true, num: attachments.push(value) - 1 };
  }
  if (value === null || typeof value !== "object" || typeof value.toJSON === "function") return value;
  if (Array.isArray(value)) return value.map((item) => takeOut(item, attachments));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, takeOut(item, attachments)]));
}

/** The reverse. */
function putBack(value, attachments) {
  if (value === null || typeof value !== "object") return value;
  if (value._placeholder === true) {
    if (!(value.num in attachments)) throw new Error("illegal attachments");
    return attachments[value.num];
  }
  for (const key of Object.keys(value)) value[key] = putBack(value[key], attachments);
  return value;
}
