// Plays a script at a server. A script is a list of steps, in JSON:
//
//   {do: "request", on, method, target, headers, body, chunks, version, part}   one HTTP request
//   {do: "websocket", on, target, headers, without, method}                     a request for a WebSocket
//   {do: "frame", on, op, data, fin, rsv, mask, form, code, deflate}            one WebSocket frame
//   {do: "bytes", on, data}                                                     anything else
//   {do: "hang up", on, how: "reset" | "end"}
//
// `on` names a connection, which is opened when it is first named. `as` names the session that is opened by a step,
// `{name}` in a target or in data is its id, `{ack}` the id of the last event that asked for an answer.
//
// The outcome is what came, step by step, without times; ids, ports and dates are masked.
//
// Nothing is waited for by time. A server handles what it reads in the order in which it came, whatever the connection:
// once it has answered a request that was sent behind a step's bytes (a fence), it has done what the step makes it do.
import http from "node:http";
import { Wire, bytes } from "./wire.mjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** One task of a server may need another, which runs behind the answer to the first fence. */
const FENCES = 3;
/** How long a server may take for an answer, and a script to be played, in milliseconds. */
const ANSWER = 60_000;
const SCRIPT = 120_000;
/** Headers that say nothing about the protocol, or name the time. */
const IGNORED = new Set(["content-length", "date", "keep-alive", "transfer-encoding"]);

let played = 0;

/** What comes, in `patience` times as many rounds and with pauses. A script that does not end says so (`unfinished`). */
export async function play(script, set, server, patience = 0) {
  const player = new Player(set, server, patience);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${SCRIPT / 1000} s`)), SCRIPT);
  });
  try {
    return await Promise.race([player.play(script), late]);
  } catch (error) {
    return [...player.outcome, { step: "end", on: "script", unfinished: error.message }];
  } finally {
    clearTimeout(timer);
    player.clean();
  }
}

class Player {
  name = `case-${++played}`;
  wires = new Map();
  sessions = new Map();
  outcome = [];
  ids = new Set();
  ack = "0";
  #beats = 0;

  constructor(set, server, patience) {
    Object.assign(this, { set, server, patience });
    this.agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  }

  async play(script) {
    for (const [i, step] of script.entries()) {
      await this.step(step);
      await this.settle(i);
    }
    return this.end();
  }

  wire(on) {
    let wire = this.wires.get(on);
    if (!wire) {
      wire = new Wire(this.server.port, (entry) => this.#look(entry, wire));
      wire.name = on;
      wire.isNew = true;
      this.wires.set(on, wire);
    }
    return wire;
  }

  /** Learns what later steps need. */
  #look(entry, wire) {
    const text = entry.body ?? entry.text ?? "";
    if (entry.body) entry.body = this.#hexadecimal(canonical(entry.body));
    if (entry.text) entry.text = this.#hexadecimal(canonical(entry.text));
    const opened = /0\{\\?"sid\\?":\\?"([^"\\]*)\\?",\\?"upgrades/.exec(text);
    if (opened && wire.opens) {
      this.sessions.set(wire.opens, { id: opened[1], ...wire.session });
      // An old client has joined by itself, and is told in the first answer or in the next.
      if (wire.session.old && wire.session.polling) {
        entry.welcome = /2:40/.test(entry.body) ? "first" : "next";
        entry.body = entry.body.replace("2:40", "");
        if (entry.welcome === "next") this.unwelcomed = wire.opens;
      }
      wire.opens = undefined;
    }
    for (const [, id] of text.matchAll(/\\?"[sp]id\\?":\\?"([\w-]{16,24})\\?"/g)) this.ids.add(id);
    if (entry.hex) this.#learn(Buffer.from(entry.hex, "hex"));
    const asked = [...text.matchAll(/2(?:\/[^,]*,)?(\d+)\["question"/g)].pop();
    if (asked) this.ack = asked[1];
  }

  #learn(bytes) {
    for (const [id] of bytes.toString("latin1").matchAll(/(?<=sid\xb4)[\w-]{20}/g)) this.ids.add(id);
  }

  /** Messages in base64 as `b{hex}`, where ids can be found. */
  #hexadecimal(text) {
    if (!this.set.msgpack) return text;
    return text.replace(/(^|\("|\x1e|\\u001e)b([gh][\w+/]{11,}=*)/g, (_, before, base64) => {
      const bytes = Buffer.from(base64, "base64");
      this.#learn(bytes);
      return `${before}b{${bytes.toString("hex")}}`;
    });
  }

  #fill(text) {
    return text.replace(/\{(\w+)\}/g, (all, name) => {
      if (name === "ack") return this.ack;
      return /^s\d+$/.test(name) ? (this.sessions.get(name)?.id ?? "unknown") : all;
    });
  }

  #data(spec) {
    return typeof spec === "string" ? this.#fill(spec) : spec;
  }

  async step(step) {
    if (step.do === "hang up") {
      const wire = this.wires.get(step.on);
      if (!wire) return;
      wire.gone = true;
      if (step.how === "end") await wire.finish();
      else wire.socket.resetAndDestroy();
      return;
    }
    const wire = this.wire(step.on);
    if (wire.gone) return;
    if (step.as) {
      wire.opens = step.as;
      const target = step.target.replace(/#.*/, "");
      const query = new URLSearchParams(target.slice(target.indexOf("?")));
      wire.session = { old: query.getAll("EIO").pop() !== "4", polling: step.do === "request", target };
    }
    if (step.do === "request") {
      const body = step.body === undefined ? undefined : bytes(this.#data(step.body));
      wire.request(step.method, this.#request(step, body));
    } else if (step.do === "websocket") {
      wire.request(step.method ?? "GET", this.#websocket(step));
    } else if (step.do === "frame") {
      if (wire.frames) wire.frame({ ...step, data: this.#data(step.data) });
    } else if (step.do === "bytes") {
      if (!wire.frames) wire.request("GET", "");
      const data = bytes(this.#data(step.data));
      wire.write(typeof step.data === "string" ? Buffer.from(data.toString().replaceAll("{case}", this.name)) : data);
    } else throw new Error(`a step that does ${step.do}`);
    await wire.flushed();
    if (!step.as) return;
    await this.#fence();
    await this.#welcome();
  }

  async #welcome() {
    const name = this.unwelcomed;
    if (!name) return;
    this.unwelcomed = undefined;
    const { id, target } = this.sessions.get(name);
    const body = await this.#askIfAnswered(`${target}&sid=${encodeURIComponent(id)}`);
    if (!body?.includes("2:40")) this.outcome.push({ on: `welcome ${name}`, body });
  }

  #request({ method, target, headers = [], chunks, version = "1.1", length }, body) {
    const lines = [`${method} ${this.#fill(target)} HTTP/${version}`];
    if (!headers.some(([name]) => /^host$/i.test(name)) && version === "1.1") lines.push("Host: h");
    lines.push(`X-Case: ${this.name}`, ...headers.map(([name, value]) => `${name}: ${value}`));
    if (chunks) lines.push("Transfer-Encoding: chunked");
    else if (length !== undefined) lines.push(`Content-Length: ${length}`);
    else if (body) lines.push(`Content-Length: ${body.length}`);
    const head = Buffer.from(lines.join("\r\n") + "\r\n\r\n");
    if (!chunks) return Buffer.concat([head, body ?? Buffer.alloc(0)]);
    const parts = [head];
    for (let at = 0; at < body.length; at += chunks) {
      const part = body.subarray(at, at + chunks);
      parts.push(Buffer.from(part.length.toString(16) + "\r\n"), part, Buffer.from("\r\n"));
    }
    parts.push(Buffer.from("0\r\n\r\n"));
    return Buffer.concat(parts);
  }

  #websocket({ method = "GET", target, headers = [], without = [] }) {
    const usual = [
      ["Connection", "Upgrade"],
      ["Upgrade", "websocket"],
      ["Sec-WebSocket-Version", "13"],
      ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
    ].filter(([name]) => !without.includes(name));
    return this.#request({ method, target, headers: [...usual, ...headers] });
  }

  /** Everything that a server does because of what it has read comes before the answers to these. */
  async #fence() {
    // A connection is accepted behind those that were opened before.
    const opened = [...this.wires.values()].filter((wire) => wire.isNew);
    for (const wire of opened) wire.isNew = false;
    if (opened.length) await this.#ask("/settled", false);
    for (let i = 0; i < FENCES * (this.patience + 1); i++) {
      const beat = `beat ${++this.#beats}`;
      for (const wire of this.wires.values()) {
        if (wire.frames && !wire.closeCame && !wire.closeSent && !wire.ended && !wire.gone) wire.frame({ op: 9, data: beat });
      }
      await this.#ask("/settled");
    }
    if (this.patience) await sleep(this.patience * 60);
  }

  async settle(step) {
    await this.#fence();
    this.#collect(step);
  }

  #collect(step) {
    for (const [on, wire] of this.wires) {
      for (const entry of wire.came.splice(0)) {
        if (entry.end || (entry.frame === "pong" && entry.text?.startsWith("beat "))) continue;
        // Apart, since it says nothing of the answer behind it.
        this.outcome.push({ step, on: entry.status === 100 ? `${on} 100` : on, ...tidy(entry) });
      }
    }
  }

  /** The body of the answer to a GET. */
  async #ask(path, agent = this.agent, tries = 3) {
    const request = http.request({ port: this.server.port, host: "127.0.0.1", path, agent });
    try {
      return await answered(request);
    } catch (error) {
      // A server ends connections that have waited for long.
      if (tries === 1) throw new Error(`no answer to ${path}: ${error.message}`);
      return this.#ask(path, false, tries - 1);
    }
  }

  /** The same, or nothing where the server has not answered when it has done all that it does now. */
  async #askIfAnswered(path) {
    const request = http.request({ port: this.server.port, host: "127.0.0.1", path, agent: false });
    const answer = answered(request).catch(() => undefined);
    await new Promise((resolve) => request.on("finish", resolve).on("error", resolve));
    const body = await Promise.race([answer, this.#ask("/settled", false).then(() => this.#fence())]);
    request.destroy();
    return body;
  }

  /** What has become of the connections and sessions. */
  async end() {
    for (const wire of this.wires.values()) {
      if (wire.frames && wire.closeCame && !wire.closeSent) wire.frame({ op: 8, data: "" });
    }
    await this.settle("end");
    for (const [on, wire] of this.wires) {
      // Servers keep connections that are only for HTTP for different times.
      if (!wire.gone && (wire.frames || wire.unanswered)) {
        this.outcome.push({ step: "end", on, state: wire.reset ? "reset" : wire.ended ? "ended" : "open" });
      }
    }
    const transport = this.set.transports[0];
    for (const [name, { id, old, polling, target }] of this.sessions) {
      const sid = encodeURIComponent(id);
      // Refused by its revision at the latest, so that the session is not touched.
      const body = await this.#askIfAnswered(`${this.set.path}?EIO=${old ? 4 : 3}&transport=${transport}&sid=${sid}`);
      const alive = !/"code":1/.test(body);
      this.outcome.push({ step: "end", session: name, alive });
      for (let i = 0; alive && polling && i < 3; i++) {
        const drain = `drain ${name} ${i}`;
        await this.step({ do: "request", on: drain, method: "GET", target: `${target}&sid={${name}}` });
        await this.#fence();
        const pending = !this.wires.get(drain).came.length;
        this.#collect("end");
        if (pending || this.outcome.at(-1).status !== 200) break;
      }
    }
    this.outcome.push(...this.server.take(this.name).map(told));
    return JSON.parse(this.#mask(JSON.stringify(this.outcome)));
  }

  #mask(text) {
    for (const [name, { id }] of this.sessions) text = text.replaceAll(id, `<${name}>`);
    for (const id of this.ids) text = text.replaceAll(id, "<id>").replaceAll(Buffer.from(id).toString("hex"), "<id>");
    return text
      .replaceAll(this.name, "<case>")
      .replace(/"id":"[\w-]{20}"/g, '"id":"<id>"')
      .replace(/"rooms":\[[^\]]*\]/g, (rooms) => rooms.replace(/"[\w-]{20}"/g, '"<id>"'))
      .replace(/(2(?:\/[^,"]*,)?)\d+(\[\\"question)/g, "$1<ack>$2")
      .replace(/,\\"[\w.-]{6,9}\\"\]/g, (all) => (this.set.options.connectionStateRecovery ? ',\\"<offset>\\"]' : all))
      .replace(/\\"time\\":\\"[^"]*\\"/g, '\\"time\\":<time>')
      .replace(/\\"issued\\":\d+/g, '\\"issued\\":<time>')
      .replaceAll(`:${this.server.port}`, ":<port>");
  }

  clean() {
    for (const { id, old, polling, target } of this.sessions.values()) {
      if (!polling) continue;
      const path = `${target}&sid=${encodeURIComponent(id)}`;
      const request = http.request({ port: this.server.port, host: "127.0.0.1", method: "POST", path, agent: false });
      request.on("error", () => {}).on("response", (answer) => answer.resume());
      request.end(old ? "1:1" : "1");
    }
    for (const wire of this.wires.values()) wire.destroy();
    this.agent.destroy();
  }
}

/** Ends a request; its answer's body. */
function answered(request) {
  return new Promise((resolve, reject) => {
    request.setTimeout(ANSWER, () => request.destroy(new Error(`nothing for ${ANSWER / 1000} s`)));
    request.on("error", reject).on("response", (answer) => {
      let body = "";
      answer.on("data", (data) => (body += data)).on("end", () => resolve(body)).on("error", reject);
    });
    request.end();
  });
}

/** The same, with the keys of a handshake in order. */
function canonical(text) {
  return text.replace(/\[\{.*"issued".*\}\]/s, (json) => {
    try {
      return JSON.stringify(JSON.parse(json).map((value) => ordered(value)));
    } catch {
      return json;
    }
  });
}

function ordered(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort().map(([key, value]) => [key, ordered(value)]));
}

/** An answer with the headers that matter. */
function tidy(entry) {
  if (!entry.headers) return entry;
  const headers = {};
  for (const [name, value] of Object.entries(entry.headers).sort()) {
    if (name === "connection") {
      if (/close/i.test(value)) headers.connection = "close";
    } else if (!IGNORED.has(name)) headers[name] = value;
  }
  return { ...entry, headers };
}

function told(fact) {
  // An error may have no text.
  const [kind, value] = Object.entries(fact)[0] ?? ["error", ""];
  return { step: "end", fact: { [kind]: sorted(value) } };
}

/** The same with its keys in order, without what JavaScript calls undefined, and without errors of the application. */
function sorted(value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  const entries = Object.entries(value).filter(([key, value]) => value !== null && key !== "error");
  return Object.fromEntries(entries.sort().map(([key, value]) => [key, sorted(value)]));
}
