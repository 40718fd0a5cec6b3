// `sio connect` as its users see it: a script, or a person who pipes lines in.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { WebSocketServer } from "ws";
import { isReference, within, withServer } from "../harness.mjs";

const built = isReference
  ? new URL("../../target/release/sio", import.meta.url).pathname
  : join(dirname(dirname(process.env.SIO_SERVER)), "sio");
const sio = process.env.SIO_BIN ?? built;
const skip = existsSync(sio) ? false : "there is no sio here";

/** A running `sio connect`. */
class Connect {
  out = "";
  err = "";
  #looks = [];

  static to(...args) {
    return new Connect([sio, "connect", ...args]);
  }

  /** With a terminal, which the program `script` makes; the history is kept below `state`. */
  static atTerminal(state, ...args) {
    const words = [`XDG_STATE_HOME=${state}`, "TERM=xterm", "NO_COLOR=1", sio, "connect", ...args].map((word) => `'${word}'`);
    return new Connect(["script", "--quiet", "--return", "--command", `env ${words.join(" ")}`, "/dev/null"]);
  }

  constructor([program, ...args]) {
    this.child = spawn(program, args, { stdio: "pipe" });
    this.child.stdin.on("error", () => {});
    for (const [name, stream] of [["out", this.child.stdout], ["err", this.child.stderr]]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this[name] += text;
        this.#looks = this.#looks.filter((look) => !look());
      });
    }
    const exited = new Promise((resolve) => this.child.once("close", (code, signal) => resolve(code ?? signal)));
    this.exited = within(exited, "the end of sio").finally(() => this.child.kill("SIGKILL"));
    this.exited.catch(() => {});
  }

  /** Waits until stdout or stderr matches. */
  printed(pattern) {
    const matches = () => pattern.test(this.out) || pattern.test(this.err);
    if (matches()) return Promise.resolve();
    const wait = new Promise((resolve) => this.#looks.push(() => matches() && (resolve(), true)));
    return within(wait, `${pattern}`).catch((error) => {
      throw new Error(`${error.message} in ${this.out}${this.err}`);
    });
  }

  /** Types, and waits for what is seen from then on. */
  async type(keys, pattern) {
    this.out = "";
    this.child.stdin.write(keys);
    await this.printed(pattern);
  }

  line(text) {
    this.child.stdin.write(`${text}\n`);
  }

  /** The objects of --json, without their times; those of the types if some are given. */
  records(...types) {
    const records = this.out.split("\n").filter(Boolean).map((line) => JSON.parse(line));
    for (const record of records) assert.ok(Math.abs(Date.now() - record.at) < 60_000, "the time of a record");
    const wanted = records.filter(({ type }) => !types.length || types.includes(type));
    return wanted.map(({ at, ...record }) => record);
  }

  /** The lines of stdout, without their times. */
  lines() {
    return this.out.split("\n").filter(Boolean).map((line) => {
      assert.match(line, /^\d\d:\d\d:\d\d\.\d{3} /);
      return line.slice(13).replace(/ \(\d+ ms\)$/, "");
    });
  }
}

/** Runs `sio connect` to its end. */
async function run(args, input = "") {
  const connect = Connect.to(...args);
  connect.child.stdin.end(input);
  connect.code = await connect.exited;
  return connect;
}

const test = (name, body, options = {}, flags = {}) => it(name, withServer(options, flags, body));

describe("sio connect", { skip, concurrency: true }, () => {
  test("emits, prints the answers as JSON, and leaves", async ({ url }) => {
    const done = await run([url, "--no-upgrade", "--json", "--ack", "--emit", 'ack 1 {"a":[true,null]}', "--emit", "ack", '"x y"']);
    const [connect, ...rest] = done.records("connect", "sent", "disconnect");
    assert.deepEqual({ ...connect, id: connect.id.length }, {
      type: "connect",
      id: 20,
      namespace: "/",
      transport: "polling",
      recovered: false,
    });
    assert.deepEqual(rest, [
      { type: "sent", name: "ack", args: [1, { a: [true, null] }] },
      { type: "sent", name: "ack", args: ["x y"] },
    ]);
    const acks = done.records("ack").map(({ ms, ...ack }) => (assert.ok(Number.isInteger(ms)), ack));
    assert.deepEqual(acks, [
      { type: "ack", name: "ack", args: [1, { a: [true, null] }] },
      { type: "ack", name: "ack", args: ["x y"] },
    ]);
    assert.deepEqual([done.code, done.err], [0, ""]);
  });

  test("events go to stdout, the rest to stderr", async ({ url }) => {
    const done = await run([url, "--emit", "many 3", "--count", "3"]);
    assert.deepEqual(done.lines(), ["← n 0", "← n 1", "← n 2"]);
    assert.match(done.err, /• connected as \S{20} to \/ over \w+\n.*→ many 3\n/s);
    assert.equal(done.code, 0);
  });

  test("listens to the events that are named", async ({ url }) => {
    const emits = ["--emit", 'echo 1', "--emit", 'ask "x" 0', "--emit", "echo 2"];
    const done = await run([url, ...emits, "--listen", "echo", "--count", "2"]);
    assert.deepEqual(done.lines(), ["← echo 1", "← echo 2"]);
    assert.equal(done.code, 0);
  });

  test("bytes go there and back", async ({ url }) => {
    const directory = mkdtempSync(join(tmpdir(), "sio-connect-"));
    const file = join(directory, "a picture.png");
    const bytes = Buffer.from(Array.from({ length: 2000 }, (_, i) => i % 251));
    writeFileSync(file, bytes);
    const emits = ["--emit", `echo @file:${JSON.stringify(file)} @hex:00ff`, "--emit", "echo", "@base64:aGk=", "1"];
    const json = await run([url, ...emits, "--count", "2", "--json"]);
    const pretty = await run([url, ...emits, "--count", "2"]);
    rmSync(directory, { recursive: true });
    assert.deepEqual(json.records("event").map(({ args }) => args), [
      [{ base64: bytes.toString("base64") }, { base64: "AP8=" }],
      [{ base64: "aGk=" }, 1],
    ]);
    assert.deepEqual(pretty.lines(), ["← echo <bytes 2 kB 00010203…> <bytes 2 B 00ff>", "← echo <bytes 2 B 6869> 1"]);
    assert.deepEqual([json.code, pretty.code], [0, 0]);
  });

  test("a refusal is told with its data", async ({ url }) => {
    const refused = await run([`${url}/guarded`, "--emit", "count", "--ack"]);
    assert.match(refused.err, /• cannot connect: not authorized \{"code":42\}\n/);
    assert.deepEqual([refused.code, refused.out], [1, ""]);
    const json = await run([`${url}/guarded`, "--json"]);
    // The session may have moved to a WebSocket before.
    const records = json.records().filter(({ type }) => type !== "upgrade");
    assert.deepEqual(records, [{ type: "connect_error", message: "not authorized", data: { code: 42 } }]);
    assert.equal(json.code, 1);
    const welcome = await run([`${url}/guarded`, "--auth", '{"token":"ok"}', "--emit", "ack 1", "--ack"]);
    assert.deepEqual([welcome.code, welcome.lines()], [0, ["✓ ack 1"]]);
    const unknown = await run([`${url}/nowhere`]);
    assert.match(unknown.err, /• cannot connect: Invalid namespace\n  \S/);
    assert.equal(unknown.code, 1);
  });

  it("a port where nobody listens is told with a hint", async () => {
    const server = createServer();
    const port = await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
    await new Promise((resolve) => server.close(resolve));
    const done = await run([`http://127.0.0.1:${port}`, "--emit", "x"]);
    assert.match(done.err, /^\S+ • cannot connect: xhr poll error .*\n  \S.*\n$/);
    assert.deepEqual([done.code, done.out], [1, ""]);
  });

  test("the URL's path is the namespace", async (server) => {
    const done = await run([`${server.url}/admin`, "--emit", "ack 7", "--ack"]);
    const { connect } = await server.fact("connect");
    const { disconnect } = await server.fact("disconnect");
    assert.deepEqual([connect.nsp, disconnect.reason], ["/admin", "client namespace disconnect"]);
    assert.match(done.err, new RegExp(`connected as ${connect.id} to /admin`));
    assert.deepEqual([done.code, done.lines()], [0, ["✓ ack 7"]]);
    const dynamic = await run([server.url, "--namespace", "/dyn-1", "--emit", "ack 8", "--ack"]);
    assert.deepEqual([dynamic.code, dynamic.lines()], [0, ["✓ ack 8"]]);
  });

  test("lines that are piped in are commands", async ({ url }) => {
    const done = await run([url], '# a comment\n\nack ack 1 "two"\nack transport\n"emit with" {} 1 "x" 1\nack ack 3');
    // An event comes before the answers that follow it; it may overtake those before it.
    const lines = done.lines();
    assert.deepEqual(lines.filter((line) => line[0] === "✓"), ['✓ ack 1 "two"', '✓ transport "polling"', "✓ ack 3"]);
    assert.ok(lines.indexOf("← x 1") < lines.indexOf("✓ ack 3") && lines.includes("← x 1"));
    assert.equal(done.code, 0);
  }, { allowUpgrades: false });

  test("a script stops at a wrong line", async (server) => {
    const done = await run([server.url], "ack set data\n");
    assert.match(done.err, /sio: line 1: data is not JSON; text stands in quotation marks\n  write: ack set "data"\n/);
    assert.deepEqual([done.code, done.out], [2, ""]);
  });

  test("wrong arguments are told with the right ones", async ({ url }) => {
    const emit = await run([url, "--emit", "chat hello you"]);
    assert.match(emit.err, /hello you is not JSON.*\n  write: --emit 'chat "hello you"'\n/);
    const header = await run([url, "--header", "X-A b"]);
    assert.match(header.err, /a colon is missing: 'X-A: b'/);
    const address = await run(["localhost:x"]);
    assert.deepEqual([emit.code, header.code, address.code], [2, 2, 2]);
  });

  test("an answer that does not come is exit code 3", async ({ url }) => {
    const done = await run([url, "--json", "--emit", "nobody 1", "--ack", "--ack-timeout", "0.2"]);
    assert.deepEqual(done.records("ack_error"), [
      { type: "ack_error", name: "nobody", message: "operation has timed out" },
    ]);
    assert.equal(done.code, 3);
  });

  test("a time ends it: well, or without what was awaited", async ({ url }) => {
    const listening = await run([url, "--for", "0.2", "--listen"]);
    assert.deepEqual([listening.code, listening.out], [0, ""]);
    const waiting = await run([url, "--for", "0.2", "--count", "1"]);
    assert.deepEqual([waiting.code, waiting.out], [3, ""]);
  });

  test("Ctrl-C leaves politely", async (server) => {
    const connect = Connect.to(server.url, "--listen");
    await connect.printed(/connected as/);
    connect.child.kill("SIGINT");
    assert.equal(await connect.exited, 0);
    assert.equal((await server.fact("disconnect")).disconnect.reason, "client namespace disconnect");
  });

  test("a server that ends it is exit code 4", async ({ url }) => {
    const done = await run([url, "--emit", "leave me", "true", "--listen"]);
    assert.match(done.err, /• disconnected: io server disconnect\n/);
    assert.equal(done.code, 4);
  });

  test("a lost connection is found again", async ({ url }) => {
    const connect = Connect.to(url, "--json");
    await connect.printed(/"type":"connect"/);
    connect.line(`"close engine"`);
    await connect.printed(/"type":"disconnect".*"type":"connect"/s);
    connect.line("ack ack 1");
    connect.child.stdin.end();
    assert.equal(await connect.exited, 0);
    const types = connect.records("connect", "disconnect", "reconnecting", "ack").map(({ type }) => type);
    assert.deepEqual(types, ["connect", "disconnect", "reconnecting", "connect", "ack"]);
    const [{ reason, will_reconnect }] = connect.records("disconnect");
    assert.deepEqual([reason, will_reconnect], ["transport close", true]);
    const once = await run([url, "--no-reconnect", "--listen", "--emit", `"close engine"`]);
    assert.equal(once.code, 4);
  });

  test("who has left can come back", async ({ url }) => {
    const connect = Connect.to(url, "--json");
    await connect.printed(/"type":"connect"/);
    connect.line("/disconnect");
    await connect.printed(/"type":"disconnect"/);
    connect.line("/connect");
    await connect.printed(/"type":"disconnect".*"type":"connect"/s);
    connect.line("echo 1");
    await connect.printed(/"type":"event"/);
    connect.child.stdin.end();
    assert.equal(await connect.exited, 0);
    const [{ reason, will_reconnect }] = connect.records("disconnect");
    assert.deepEqual([reason, will_reconnect], ["io client disconnect", false]);
  });

  test("questions of the server can be answered", async ({ url }) => {
    const connect = Connect.to(url, "--json");
    connect.line('ask "why" 0');
    await connect.printed(/"wants_ack":true/);
    connect.line('/answer {"because":1}');
    await connect.printed(/"answered"/);
    connect.child.stdin.end();
    assert.equal(await connect.exited, 0);
    assert.deepEqual(connect.records("event"), [
      { type: "event", name: "question", args: ["why"], wants_ack: true },
      { type: "event", name: "answered", args: [null, { because: 1 }], wants_ack: false },
    ]);
  });

  test("the transports are chosen", async ({ url }) => {
    const transport = async (...args) => {
      const done = await run([url, ...args, "--json", "--emit", "transport", "--ack"]);
      assert.equal(done.code, 0);
      return done.records("ack")[0].args[0];
    };
    assert.equal(await transport("--transport", "websocket"), "websocket");
    assert.equal(await transport("--no-upgrade"), "polling");
    assert.equal(await transport("--transport", "websocket", "--transport", "polling"), "websocket");
    const upgraded = Connect.to(url, "--listen", "--json");
    await upgraded.printed(/"type":"upgrade"/);
    assert.deepEqual(upgraded.records("upgrade"), [{ type: "upgrade", transport: "websocket" }]);
    upgraded.child.kill("SIGINT");
    assert.equal(await upgraded.exited, 0);
  });

  test("a connection is one session", async ({ url }) => {
    const done = await run([url, "--emit", "count", "--ack"]);
    assert.deepEqual(done.lines(), ["✓ count 1"]);
  });

  test("what a handshake has is given", async ({ url }) => {
    const args = ["--auth", '{"token":"t"}', "--query", "room=a b", "--header", "X-Me: sio"];
    const done = await run([url, ...args, "--json", "--emit", "handshake", "--ack"]);
    const [{ args: [{ auth, query, headers }] }] = done.records("ack");
    assert.deepEqual([auth, query.room, headers["x-me"]], [{ token: "t" }, "a b", "sio"]);
  });

  test("another path", async ({ url }) => {
    const done = await run([url, "--path", "/my-io", "--emit", "ack 1", "--ack"]);
    assert.deepEqual([done.code, done.lines()], [0, ["✓ ack 1"]]);
    const lost = await run([url, "--json"]);
    const [{ type, status }] = lost.records();
    assert.deepEqual([lost.code, type, status], [1, "connect_error", 404]);
  }, { path: "/my-io" });

  it("M16 a plain WebSocket server is no Socket.IO server, whichever the transport", async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    server.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
    await new Promise((resolve) => server.once("listening", resolve));
    try {
      const url = `http://127.0.0.1:${server.address().port}`;
      for (const transport of ["websocket", "polling"]) {
        const done = await run([url, "--transport", transport, "--timeout", "1", "--no-reconnect", "--emit", "ack 1", "--ack", "--json"]);
        assert.deepEqual([done.code, done.records().map(({ type }) => type)], [1, ["connect_error"]], transport);
      }
    } finally {
      for (const socket of server.clients) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test("MessagePack", async ({ url }) => {
    const done = await run([url, "--parser", "msgpack", "--emit", 'ack {"a":[1.5,"x"]} @hex:ff', "--ack", "--json"]);
    assert.deepEqual(done.records("ack")[0].args, [{ a: [1.5, "x"] }, { base64: "/w==" }]);
    assert.equal(done.code, 0);
  }, {}, { parser: "msgpack" });

  test("as a client of version 2", async ({ url }) => {
    const done = await run([url, "--client-version", "2", "--emit", 'ack "x" @hex:ff', "--ack", "--json"]);
    assert.deepEqual(done.records("ack")[0].args, ["x", { base64: "/w==" }]);
    // The server joins the namespace in the body that has the open packet.
    const [{ id, transport }] = done.records("connect");
    assert.ok(id.length === 20 && transport, "what the open packet has told");
    assert.equal(done.code, 0);
  }, { allowEIO3: true });

  const noTerminal = spawnSync("script", ["--version"]).status !== 0 && "there is no script of util-linux here";
  it("a prompt completes, and remembers from one time to the next", { skip: noTerminal }, withServer({}, {}, async ({ url }) => {
    const state = mkdtempSync(join(tmpdir(), "sio-prompt-"));
    const [tab, up, enter] = ["\t", "\x1b[A", "\r"];
    const first = Connect.atTerminal(state, url);
    await first.printed(/connected as[^]*> /);
    await first.type(`echo "one"${enter}`, /← echo "one"/);
    // The event was seen: its name is completed from here on.
    await first.type(`ec${tab}`, /echo/);
    await first.type(` "two"${enter}`, /← echo "two"/);
    await first.type(`${up}${up}${enter}`, /← echo "one"/);
    await first.type(`/disc${tab}`, /\/disconnect/);
    // Ctrl-U takes the line away.
    first.child.stdin.write(`\x15/quit${enter}`);
    assert.equal(await first.exited, 0);
    const second = Connect.atTerminal(state, url);
    await second.printed(/connected as[^]*> /);
    await second.type(`${up}${up}${enter}`, /← echo "two"/);
    second.child.stdin.write("\x04");
    assert.equal(await second.exited, 0);
    rmSync(state, { recursive: true });
  }));

  test("who reads only the beginning is no error", async ({ url }) => {
    const connect = Connect.to(url, "--emit", "ticks 1000 1", "--listen");
    await connect.printed(/← tick 0/);
    connect.child.stdout.destroy();
    assert.equal(await connect.exited, 0);
  });
});
