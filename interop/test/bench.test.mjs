// `sio bench` against the reference, with the handlers that its help asks for. What is tested is sio, not
// the scenario server: skipped where there is none.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Server } from "socket.io";
import { isReference, within } from "../harness.mjs";

const sio = join(dirname(dirname(process.env.SIO_SERVER ?? "")), "sio");
const skip = isReference || !existsSync(sio) ? "there is no sio here" : false;

/** Runs `sio bench`; what it wrote, and with which code it left. */
const bench = (...args) =>
  within(
    new Promise((resolve) => {
      const child = execFile(sio, ["bench", ...args], (error, stdout, stderr) => {
        resolve({ code: error ? error.code : 0, stdout, stderr });
      });
      child.stdin.end();
    }),
    "the end of sio bench",
    30_000,
  );

describe("sio bench", { skip }, () => {
  let http, io, url;
  before(async () => {
    http = createServer();
    io = new Server(http, { serveClient: false });
    io.on("connection", (socket) => {
      socket.on("message", (payload) => socket.emit("message", payload));
      socket.on("say", (payload) => socket.emit("said", payload));
      socket.on("ack", (payload, answer) => answer(payload));
      socket.on("taken", (payload, answer) => answer());
      socket.on("broadcast", (payload) => io.emit("broadcast", payload));
      let count = 0;
      socket.on("lossy", (payload) => ++count % 10 && socket.emit("lossy", payload));
      socket.on("twice", (payload) => [1, 2].forEach(() => socket.emit("twice", payload)));
    });
    io.of("/closed").use((socket, next) => next(new Error("not you")));
    await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${http.address().port}`;
  });
  after(() => io.close());

  const SMALL = ["--connections", "10", "--warm-up", "0.2"];
  const report = async (...args) => {
    const time = args.includes("--for") ? [] : ["--for", "1"];
    const { code, stdout, stderr } = await bench(url, ...args, ...SMALL, ...time, "--json", "-");
    return { code, stderr, ...JSON.parse(stdout) };
  };
  /** Everything that was sent came, once and in order. */
  const complete = ({ code, messages, latency, throughput, errors, connections }) => {
    assert.deepEqual([code, errors, connections.opened, connections.failed], [0, [], 10, 0]);
    assert.ok(throughput.count > 0 && throughput.per_second > 0);
    assert.ok(latency.min_us <= latency.p50_us && latency.p50_us <= latency.max_us);
    assert.equal(messages.received, messages.expected);
    assert.equal(messages.lost, 0);
  };

  for (const options of [[], ["--binary"], ["--transport", "polling"], ["--transport", "upgrade"], ["--rate", "200"]]) {
    it(["echo", ...options].join(" "), async () => {
      const run = await report("echo", ...options);
      complete(run);
      assert.deepEqual([run.schema, run.messages.duplicated, run.messages.reordered], [1, 0, 0]);
      assert.equal(run.messages.received_payload_bytes, run.messages.received * 32);
      assert.equal(run.seconds.at(-1).open_connections, 10);
    });
  }

  it("echo at a fixed rate sends as many as are due", async () => {
    const { throughput } = await report("echo", "--rate", "100");
    assert.ok(Math.abs(throughput.per_second - 100) < 20, `${throughput.per_second}/s`);
  });

  it("echo with events of other names", async () => {
    complete(await report("echo", "--event", "say", "--reply-event", "said"));
  });

  it("ack", async () => complete(await report("ack")));
  it("ack at a fixed rate", async () => complete(await report("ack", "--rate", "200")));
  it("ack of a server that answers with nothing", async () => {
    const run = await report("ack", "--event", "taken");
    complete(run);
    assert.equal(run.messages.received_payload_bytes, 0);
  });

  it("broadcast reaches every connection", async () => {
    const run = await report("broadcast", "--one-in", "5");
    complete(run);
    assert.equal(run.messages.received, run.messages.sent * 10);
  });

  it("connect", async () => {
    const { code, connections, latency, messages } = await report("connect");
    assert.deepEqual([code, connections.failed, messages], [0, 0, null]);
    assert.ok(connections.opened >= latency.count && latency.count > 0);
    assert.equal(connections.asked, connections.opened);
  });

  it("idle", async () => {
    const { code, connections, latency, seconds } = await report("idle");
    assert.deepEqual([code, connections.opened, connections.lost, latency], [0, 10, 0, null]);
    assert.equal(seconds.at(-1).open_connections, 10);
  });

  it("counts what is lost and what comes twice", async () => {
    const lossy = await report("--event", "lossy", "--rate", "500");
    assert.equal(lossy.code, 3);
    assert.ok(lossy.messages.lost > 0);
    assert.equal(lossy.messages.lost, lossy.messages.sent - lossy.messages.received);
    const twice = await report("--event", "twice");
    assert.equal(twice.code, 3);
    assert.equal(twice.messages.lost, 0);
    assert.ok(twice.messages.duplicated > 0);
  });

  it("comes back after cuts and tells what they cost", async () => {
    const { reconnections, errors, connections } = await report("--jitter", "2", "--for", "3");
    assert.ok(reconnections.cut > 0 && reconnections.reconnected > 0);
    assert.ok(reconnections.gone.count === reconnections.reconnected);
    assert.deepEqual([errors, connections.lost], [[], 0]);
  });

  it("says so when the server does not answer", async () => {
    const { code, stderr, messages } = await report("--event", "nobody listens");
    assert.equal(code, 3);
    assert.match(stderr, /the server does not answer `nobody listens`: it has to emit/);
    assert.equal(messages.received, 0);
  });

  it("leaves with 1 when nothing can be connected", async () => {
    const { code, connections } = await report("--namespace", "/closed");
    assert.equal(code, 1);
    assert.deepEqual(connections.failures, [{ cause: "not you", count: 10 }]);
  });

  it("leaves with 2 when the arguments are wrong", async () => {
    for (const args of [["idle", "--rate", "1"], ["--payload", "1"], ["--auth", "x"], ["--json", "/no/such/folder/x"]]) {
      const { code, stdout } = await bench(url, ...args);
      assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    }
  });

  it("asks before it puts load on somebody else's server", async () => {
    const { code, stderr } = await bench("http://192.0.2.1");
    assert.equal(code, 2);
    assert.match(stderr, /--yes-i-may/);
  });

  it("writes a page that needs nothing else", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sio-bench-"));
    try {
      const file = join(folder, "report.html");
      const { code, stdout } = await bench(url, ...SMALL, "--for", "1", "--html", file, "--auth", '{"token":"s3cret"}');
      assert.equal(code, 0);
      assert.match(stdout, /^throughput +[\d,.]+ messages\/s/m);
      const page = await readFile(file, "utf8");
      assert.match(page, /^<!doctype html>/);
      assert.equal(page.match(/<svg /g).length, 4);
      assert.doesNotMatch(page, /s3cret|<script|href=|src=/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("reports what it has when it is interrupted", async () => {
    const child = execFile(sio, ["bench", url, ...SMALL, "--for", "600", "--json", "-"]);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (text) => (stdout += text));
    await within(
      new Promise((resolve) => child.stderr.on("data", (text) => (stderr += text).includes("measuring") && resolve())),
      "measuring",
    );
    child.kill("SIGINT");
    assert.equal(await within(ended), 0);
    const { ended_early, messages } = JSON.parse(stdout);
    assert.deepEqual([ended_early, messages.lost], [true, 0]);
  });
});
