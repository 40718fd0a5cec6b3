// What set-ups are built of: things that run on spare loopback ports and are all ended again.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Server } from "socket.io";

export const HOST = "127.0.0.1";

/** Everything that one set-up has started. */
export class Lab {
  #ends = [];

  /** What must be done at the end; the last one first. */
  atEnd(end) {
    this.#ends.push(end);
  }

  async stop() {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }

  /** Listens on a spare port, and at the end cuts every connection. */
  async listen(server) {
    const sockets = new Set();
    server.on("connection", (socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => sockets.delete(socket));
    });
    server.on("tlsClientError", () => {});
    server.on("clientError", (_, socket) => socket.destroy());
    await new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, HOST, resolve);
    });
    this.atEnd(
      () =>
        new Promise((resolve) => {
          server.close(resolve);
          for (const socket of sockets) socket.destroy();
        }),
    );
    return server.address().port;
  }

  /** An HTTP server, or an HTTPS server if there is a key. */
  http(tls, handler) {
    return tls ? https.createServer(tls, handler) : http.createServer(handler);
  }

  directory() {
    const path = mkdtempSync(join(tmpdir(), "sio-lab-"));
    this.atEnd(() => rmSync(path, { recursive: true, force: true }));
    return path;
  }

  /** Runs a program, which is ended by its process id, with its children if it is `detached`. What it prints is kept. */
  spawn(command, args, options = {}) {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
    const exited = new Promise((resolve) => child.once("close", resolve).once("error", resolve));
    child.printed = "";
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        child.printed += `${line}\n`;
        child.emit("line", line);
      });
    }
    child.failed = exited.then(() => {
      throw new Error(`${command} has ended: ${child.printed}`);
    });
    child.failed.catch(() => {});
    this.atEnd(async () => {
      if (child.exitCode === null && child.pid) process.kill(options.detached ? -child.pid : child.pid, "SIGKILL");
      await exited;
    });
    return child;
  }

  /** The first line of a program that the pattern matches. */
  line(child, pattern) {
    const found = new Promise((resolve) => {
      child.on("line", (line) => {
        const match = pattern.exec(line);
        if (match) resolve(match);
      });
    });
    return Promise.race([found, child.failed]);
  }

  /** Waits until a program accepts connections. */
  async accepting(child, port) {
    let ended = false;
    child.failed.catch(() => (ended = true));
    const once = () =>
      new Promise((resolve) => {
        const socket = net.connect(port, HOST, () => resolve(true));
        socket.on("error", () => resolve(false));
        socket.on("connect", () => socket.destroy());
      });
    while (!(await once())) if (ended) await child.failed;
  }
}

/** A port on which nothing listens. */
export async function sparePort() {
  const server = net.createServer();
  const port = await new Promise((resolve) => server.listen(0, HOST, () => resolve(server.address().port)));
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Describes a set-up.
 *
 * `expect` are the checks that must find something, `may` those that are free to, `not` those that may not even inform; all
 * others may inform, and neither warn nor fail. `twin` names the set-up that differs only in the fault. `sees` is what a user
 * of the official client sees; `informs` are the checks that must at least inform; where the doctor may also say that it cannot tell, the set-up is `inconclusive`; a healthy set-up needs none, for there the client connects. `{origin}` in an argument is the
 * origin of the URL, `{backend}` what `start` gives with the URL.
 */
export function setup(name, { start, expect = [], may = [], not = [], twin, missing, sees, informs = [], inconclusive = false, ...rest }) {
  return {
    name,
    expect,
    may,
    not,
    informs,
    twin,
    inconclusive,
    missing: missing ?? (() => undefined),
    sees,
    arguments: rest.arguments ?? [],
    start: async () => {
      const lab = new Lab();
      try {
        const started = await start(lab);
        const { url, ...words } = typeof started === "string" ? { url: started } : started;
        return { url, words: { origin: new URL(url).origin, ...words }, stop: () => lab.stop() };
      } catch (error) {
        await lab.stop();
        throw error;
      }
    },
  };
}

/** What sites answer that have a page of their own. */
export const page = (res, status, title, headers = {}) => {
  const body = `<!DOCTYPE html>\n<html><head><title>${title}</title></head>\n<body><h1>${title}</h1></body></html>\n`;
  res.writeHead(status, { "content-type": "text/html", "content-length": Buffer.byteLength(body), ...headers });
  res.end(body);
};

/** The reference, with an application that answers 404 beside it; gives the port. */
export async function reference(lab, options = {}, { tls, application, prepare = () => {}, make } = {}) {
  const server = lab.http(tls, application ?? ((req, res) => page(res, 404, "Not Found")));
  const io = make ? make(server, options) : new Server(server, options);
  io.on("connection", (socket) => socket.on("ask", (...args) => typeof args.at(-1) === "function" && args.pop()(...args)));
  prepare(io, server);
  const port = await lab.listen(server);
  lab.atEnd(() => new Promise((resolve) => (io.engine.close(), resolve())));
  return port;
}

const here = (path) => new URL(path, import.meta.url).pathname;
const target = process.env.CARGO_TARGET_DIR ?? here("../../target");

export const first = (...paths) => paths.find((path) => path && existsSync(path));

const scenario = process.env.SIO_SERVER === "reference" ? undefined : process.env.SIO_SERVER;
/** The server of this project that the other suites use too. */
const server = first(scenario, `${target}/release/examples/interop_server`);
export const noOurs = () => (server ? undefined : "there is no server here: cargo build --release --example interop_server");

/** It runs with options of the reference; gives the port. */
export async function ours(lab, options = {}) {
  const child = lab.spawn(server, ["--port", "0", "--options", JSON.stringify(options)]);
  const [, port] = await lab.line(child, /"listening":(\d+)/);
  return Number(port);
}
