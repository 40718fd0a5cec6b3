// A small Socket.IO 4 client: one namespace, polling and WebSocket, binary, acks, reconnection.

const SEPARATOR = "\x1e";
const MAX_DELAY = 5000;

/** Connects to a Socket.IO server. */
export class Client extends EventTarget {
  #url;
  #auth;
  #engine;
  #acks = new Map();
  #nextAck = 0;
  #buffer = [];
  #partial;
  #attempts = 0;
  #wanted = true;
  connected = false;
  id;

  constructor(path = "/socket.io/", auth) {
    super();
    this.#url = new URL(path, location.href);
    this.#auth = auth;
    this.#open();
  }

  /** Calls `handler` for an event of the server. */
  on(event, handler) {
    this.addEventListener(`event:${event}`, ({ detail }) => handler(...detail));
    return this;
  }

  /** Calls `handler` for what happens to the connection: connect, disconnect, connect_error, transport, waiting. */
  when(what, handler) {
    this.addEventListener(what, ({ detail }) => handler(detail));
    return this;
  }

  /** Sends an event; until the connection is there it is kept. */
  emit(event, ...args) {
    this.#send([event, ...args]);
  }

  /** Sends an event and gives the server's answer. */
  ask(event, ...args) {
    return new Promise((resolve, reject) => {
      const id = this.#nextAck++;
      this.#acks.set(id, { resolve, reject });
      this.#send([event, ...args], id);
    });
  }

  #send(data, id = "") {
    if (!this.connected) return this.#buffer.push([data, id]);
    const attachments = [];
    const json = JSON.stringify(replaceBinary(data, attachments));
    const type = attachments.length ? `5${attachments.length}-` : "2";
    this.#engine.send(type + id + json, ...attachments);
  }

  #open() {
    const engine = new Engine(this.#url);
    this.#engine = engine;
    engine.onopen = () => engine.send("0" + (this.#auth ? JSON.stringify(this.#auth) : ""));
    engine.ontransport = (name) => this.#tell("transport", name);
    engine.onmessage = (message) => this.#receive(message);
    engine.onclose = (reason) => this.#closed(reason);
    engine.open();
  }

  #closed(reason) {
    this.#partial = undefined;
    for (const { reject } of this.#acks.values()) reject(new Error("the connection has ended"));
    this.#acks.clear();
    const wasConnected = this.connected;
    this.connected = false;
    this.#tell(wasConnected ? "disconnect" : "connect_error", reason);
    if (!this.#wanted) return;
    // Twice as long each time, and up to half more or less, so that not all clients come at once.
    const delay = Math.min(MAX_DELAY, 500 * 2 ** this.#attempts++) * (0.5 + Math.random());
    this.#tell("waiting", { delay, attempt: this.#attempts });
    setTimeout(() => this.#wanted && this.#open(), delay);
  }

  #receive(message) {
    if (typeof message !== "string") {
      this.#partial.attachments.push(message);
      if (this.#partial.attachments.length === this.#partial.count) {
        const { type, id, data, attachments } = this.#partial;
        this.#partial = undefined;
        this.#packet(type, id, restoreBinary(data, attachments));
      }
      return;
    }
    const [, type, count, id, json] = /^(\d)(?:(\d+)-)?(\d*)(.*)$/s.exec(message);
    const data = json ? JSON.parse(json) : undefined;
    if (count) this.#partial = { type: type - 3, count: Number(count), id, data, attachments: [] };
    else this.#packet(Number(type), id, data);
  }

  #packet(type, id, data) {
    switch (type) {
      case 0:
        this.connected = true;
        this.id = data.sid;
        this.#attempts = 0;
        this.#tell("connect", this.id);
        this.#buffer.splice(0).forEach(([packet, ack]) => this.#send(packet, ack));
        break;
      case 1:
        this.#wanted = false;
        this.#engine.close("the server has ended the session");
        break;
      case 2:
        this.#tell(`event:${data[0]}`, data.slice(1));
        break;
      case 3:
        this.#acks.get(Number(id))?.resolve(data[0]);
        this.#acks.delete(Number(id));
        break;
      case 4:
        this.#wanted = false;
        this.#engine.close(data.message ?? String(data));
        break;
    }
  }

  #tell(what, detail) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }
}

/** Engine.IO 4: begins with polling and moves to WebSocket when that works. */
class Engine {
  #url;
  #outgoing = [];
  #posting = false;
  #polling = false;
  #paused;
  #socket;
  #closed = false;
  #watchdog;
  #sid;
  #silence = 45_000;
  #transport = "polling";

  constructor(url) {
    this.#url = url;
  }

  async open() {
    try {
      const [open, ...more] = await this.#request("GET");
      const { sid, upgrades, pingInterval, pingTimeout } = JSON.parse(open.slice(1));
      this.#sid = sid;
      this.#silence = pingInterval + pingTimeout;
      this.#alive();
      this.ontransport("polling");
      this.onopen();
      more.forEach((packet) => this.#packet(packet));
      this.#poll();
      if (upgrades.includes("websocket")) this.#probe();
    } catch (error) {
      this.close(error.message);
    }
  }

  /** Sends one Socket.IO packet: its text and the attachments. */
  send(text, ...attachments) {
    this.#write("4" + text, ...attachments);
  }

  close(reason) {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#watchdog);
    this.#socket?.close();
    this.onclose(reason);
  }

  #write(...packets) {
    this.#outgoing.push(...packets);
    this.#flush();
  }

  async #flush() {
    if (this.#transport === "websocket") {
      for (const packet of this.#outgoing.splice(0)) this.#socket.send(packet);
      return;
    }
    if (this.#posting || this.#paused || this.#closed) return;
    this.#posting = true;
    try {
      while (this.#outgoing.length && !this.#paused) {
        const packets = this.#outgoing.splice(0).map((p) => (typeof p === "string" ? p : "b" + base64(p)));
        await this.#request("POST", packets.join(SEPARATOR));
      }
    } catch (error) {
      this.close(error.message);
    }
    this.#posting = false;
    this.#paused?.();
  }

  async #poll() {
    try {
      while (!this.#closed && this.#transport === "polling" && !this.#paused) {
        this.#polling = true;
        for (const packet of await this.#request("GET")) this.#packet(packet);
        this.#polling = false;
      }
    } catch (error) {
      this.close(error.message);
    }
    this.#polling = false;
    this.#paused?.();
  }

  async #request(method, body) {
    const url = new URL(this.#url);
    const session = this.#sid ? { sid: this.#sid } : {};
    url.search = new URLSearchParams({ EIO: "4", transport: "polling", ...session, t: Date.now().toString(36) });
    const headers = body === undefined ? {} : { "Content-Type": "text/plain;charset=UTF-8" };
    const response = await fetch(url, { method, body, headers, cache: "no-store" }).catch(() => {
      throw new Error("the server cannot be reached");
    });
    const text = await response.text();
    if (!response.ok) throw new Error(explain(response.status, text));
    return method === "GET" ? text.split(SEPARATOR) : [];
  }

  /** Spec: Engine.IO v4, "Upgrade": probe, pause polling, then `5`. */
  #probe() {
    const url = new URL(this.#url);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ EIO: "4", transport: "websocket", sid: this.#sid });
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send("2probe");
    socket.onmessage = ({ data }) => {
      if (data !== "3probe" || this.#closed) return socket.close();
      const upgrade = () => {
        if (this.#closed || this.#polling || this.#posting) return;
        this.#paused = undefined;
        this.#transport = "websocket";
        this.#socket = socket;
        socket.onmessage = ({ data: packet }) => this.#packet(packet);
        socket.onclose = () => this.close("the connection was lost");
        socket.send("5");
        this.ontransport("websocket");
        this.#flush();
      };
      this.#paused = upgrade;
      upgrade();
    };
  }

  #packet(packet) {
    this.#alive();
    if (typeof packet !== "string") return this.onmessage(packet);
    switch (packet[0]) {
      case "1":
        return this.close("the server has closed the connection");
      case "2":
        return this.#write("3");
      case "4":
        return this.onmessage(packet.slice(1));
      case "b":
        return this.onmessage(Uint8Array.from(atob(packet.slice(1)), (c) => c.charCodeAt(0)).buffer);
    }
  }

  #alive() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.close("the server does not answer"), this.#silence);
  }
}

function explain(status, text) {
  try {
    return JSON.parse(text).message;
  } catch {
    return `the server answered ${status}`;
  }
}

function replaceBinary(value, attachments) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return { _placeholder: true, num: attachments.push(value) - 1 };
  }
  if (Array.isArray(value)) return value.map((item) => replaceBinary(item, attachments));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, replaceBinary(v, attachments)]));
  }
  return value;
}

function restoreBinary(value, attachments) {
  if (value?._placeholder === true) return attachments[value.num];
  if (Array.isArray(value)) return value.map((item) => restoreBinary(item, attachments));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, restoreBinary(v, attachments)]));
  }
  return value;
}

function base64(data) {
  const bytes = new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}
