// Starts a scenario server and reads the facts that it prints, one JSON object a line.
import { spawn } from "node:child_process";
import http from "node:http";
import net from "node:net";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { WebSocket } from "ws";

const command = process.env.SIO_SERVER ?? "reference";
export const isReference = command === "reference";

/** What is expected where the reference has a wart and this server does better. */
export const expected = ({ reference, ours }) => (isReference ? reference : ours);

const underTest = isReference
  ? [process.execPath, new URL("reference-server.mjs", import.meta.url).pathname]
  : command.split(" ");

const DEADLINE = 8_000;

/** Why a program does not start, and what makes it: `error` alone names no remedy. */
export function notStarted(program, error) {
  const [, profile, kind, name] = /(debug|release)\/(examples\/)?([^/]+)$/.exec(program) ?? [];
  const build = name && `: cargo build ${profile === "release" ? "--release " : ""}${kind ? "--example" : "--bin"} ${name}`;
  return new Error(`${program} cannot be started (${error.code ?? error.message})${build ?? ""}`);
}

export function within(promise, what = "in time", ms = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export const once = (emitter, event) =>
  within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), `"${event}"`);

const running = new Set();
// What a failed test leaves open must not keep its suite from ending.
if (process.env.NODE_TEST_CONTEXT) {
  after(() => {
    for (const child of running) child.kill("SIGKILL");
    const end = () => {
      console.error(`${process.argv[1]} has left something open, and is ended`);
      process.exit();
    };
    setTimeout(end, 5_000).unref();
  });
}

/** A program that prints facts. */
export class Program {
  #facts = [];
  #waiting = [];
  #failed;

  constructor(words, stdin = "ignore") {
    this.child = spawn(words[0], words.slice(1), { stdio: [stdin, "pipe", "inherit"] });
    running.add(this.child);
    this.#failed = new Promise((_, reject) => this.child.once("error", (error) => reject(notStarted(words[0], error))));
    this.#failed.catch(() => {});
    const ended = new Promise((resolve) => this.child.once("exit", resolve)).then(() => running.delete(this.child));
    this.exited = Promise.race([ended, this.#failed.catch(() => {})]);
    createInterface({ input: this.child.stdout }).on("line", (line) => this.#fact(JSON.parse(line)));
  }

  #fact(fact) {
    this.#facts.push(fact);
    this.#waiting = this.#waiting.filter((look) => !look());
  }

  /** The next fact of a kind, and, if a test for it is given, one that passes. Taken once. */
  fact(kind, test = () => true, ms = DEADLINE) {
    const take = () => {
      const at = this.#facts.findIndex((fact) => kind in fact && test(fact[kind]));
      return at < 0 ? undefined : this.#facts.splice(at, 1)[0];
    };
    const found = take();
    if (found) return Promise.resolve(found);
    const wait = new Promise((resolve) => {
      this.#waiting.push(() => {
        const fact = take();
        if (fact) resolve(fact);
        return fact !== undefined;
      });
    });
    return within(Promise.race([wait, this.#failed]), `a fact "${kind}"`, ms);
  }

  async stop() {
    this.child.kill("SIGKILL");
    await this.exited;
  }
}

/** A running server. */
export class Server extends Program {
  /** The server under test, or another one: the words that start it; at a port of its own, or a given one. */
  static async start(options = {}, flags = {}, words = underTest, port = 0, ms = DEADLINE) {
    const args = ["--port", String(port), "--options", JSON.stringify(options), "--flags", JSON.stringify(flags)];
    const server = new Server([...words, ...args]);
    const listening = server.fact("listening", undefined, ms);
    listening.catch(() => server.stop());
    server.port = (await listening).listening;
    server.url = `http://127.0.0.1:${server.port}`;
    return server;
  }
}

/** Runs a test with a server of its own. */
export const withServer = (options, flags, test) => async () => {
  const server = await Server.start(options, flags);
  try {
    await test(server);
  } finally {
    await server.stop();
  }
};

export const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";

/** One HTTP request on a connection of its own. */
export function request(server, method, path, { headers = {}, body } = {}) {
  return within(
    new Promise((resolve, reject) => {
      const options = { port: server.port, host: "127.0.0.1", method, path, headers, agent: false };
      const req = http.request(options, (res) => {
        const chunks = [];
        res.on("data", (chunk) => chunks.push(chunk));
        res.on("error", reject);
        res.on("end", () => {
          const bytes = Buffer.concat(chunks);
          resolve({ status: res.statusCode, headers: res.headers, body: bytes.toString(), bytes });
        });
      });
      req.on("error", reject);
      req.end(body);
    }),
    `an answer to ${method} ${path}`,
  );
}

export const get = (server, path, headers) => request(server, "GET", path, { headers });
export const post = (server, path, body, headers) =>
  request(server, "POST", path, { body, headers: { "content-type": "text/plain;charset=UTF-8", ...headers } });

/** Opens a polling session. */
export async function open(server) {
  const { body } = await get(server, HANDSHAKE);
  const data = JSON.parse(body.slice(1));
  return { ...data, path: `${HANDSHAKE}&sid=${data.sid}` };
}

/** The bytes that a raw request is answered with, until the server ends the connection. */
export function raw(server, text) {
  return within(
    new Promise((resolve) => {
      const socket = net.connect(server.port, "127.0.0.1", () => socket.write(text));
      const chunks = [];
      socket.on("data", (chunk) => chunks.push(chunk));
      socket.on("error", () => {});
      socket.on("close", () => resolve(Buffer.concat(chunks).toString("latin1")));
    }),
    "the end of a raw connection",
  );
}

export const upgradeRequest = (path, extra = "") =>
  `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`;

/** A raw WebSocket whose messages can be awaited one by one. */
export class Ws {
  #messages = [];
  #waiting = [];

  constructor(server, query = "EIO=4&transport=websocket", options = {}) {
    this.socket = new WebSocket(`ws://127.0.0.1:${server.port}/socket.io/?${query}`, options);
    this.closed = new Promise((resolve) => this.socket.on("close", (code) => resolve(code)));
    this.headers = new Promise((resolve) => this.socket.on("upgrade", (res) => resolve(res.headers)));
    this.socket.on("error", () => {});
    this.socket.on("message", (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      const waiting = this.#waiting.shift();
      if (waiting) waiting(message);
      else this.#messages.push(message);
    });
  }

  static async open(server, query, options) {
    const ws = new Ws(server, query, options);
    await once(ws.socket, "open");
    return ws;
  }

  /** A session with the main namespace joined. */
  static async connect(server) {
    const ws = await Ws.open(server);
    ws.handshake = JSON.parse((await ws.next()).slice(1));
    ws.send("40");
    const answer = await ws.next();
    ws.id = JSON.parse(answer.slice(2)).sid;
    return ws;
  }

  send(message) {
    this.socket.send(message);
  }

  next() {
    if (this.#messages.length) return Promise.resolve(this.#messages.shift());
    return within(new Promise((resolve) => this.#waiting.push(resolve)), "a message");
  }

  ended() {
    return within(this.closed, "the end of a WebSocket");
  }
}
