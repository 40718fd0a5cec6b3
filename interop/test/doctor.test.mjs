// `sio doctor`: each fault is named, and its healthy twin is left alone.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { WebSocketServer } from "ws";
import { Server, isReference, within, withServer } from "../harness.mjs";

const built = isReference
  ? new URL("../../target/release/sio", import.meta.url).pathname
  : join(dirname(dirname(process.env.SIO_SERVER)), "sio");
const sio = process.env.SIO_BIN ?? built;
const skip = existsSync(sio) ? false : "there is no sio here";

/** Runs `sio doctor` to its end. */
async function run(...args) {
  const child = spawn(sio, ["doctor", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const done = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (done.out += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (done.err += text));
  const exited = new Promise((resolve) => child.once("close", (code, signal) => resolve(code ?? signal)));
  done.code = await within(exited, "the end of sio doctor", 12_000).finally(() => child.kill("SIGKILL"));
  return done;
}

/** The report of an examination. */
async function examine(...args) {
  const done = await run(...args, "--json");
  assert.ok(done.out, done.err);
  const report = JSON.parse(done.out);
  assert.equal(report.schema, 1);
  assert.ok(report.requests <= 40, `${report.requests} requests`);
  assert.ok(report.duration_ms < 10_000, `${report.duration_ms} ms`);
  report.code = done.code;
  report.status = Object.fromEntries(report.layers.map(({ id, status }) => [id, status]));
  return report;
}

const told = ({ findings }) => findings.map(({ id, severity, title }) => `${id} ${severity} ${title}`);

function healthy(report) {
  assert.deepEqual(report.findings.filter(({ id, severity }) => severity !== "info" && id !== "D25"), []);
  assert.equal(report.code, 0, JSON.stringify(report.layers));
}

/** One fatal finding and no other above info, but the warning that WebSockets are open to all pages; what depends on it is skipped. */
function faulty(report, id, title, confidence = "certain") {
  const findings = report.findings.filter((finding) => finding.severity !== "info" && finding.id !== "D25");
  assert.deepEqual(findings.map((finding) => finding.id), [id], told(report).join("\n"));
  const [finding] = findings;
  assert.match(finding.title, title);
  assert.deepEqual([finding.severity, finding.confidence], ["fatal", confidence]);
  assert.ok(finding.evidence.length > 0 && finding.meaning && finding.fix.text);
  assert.equal(report.code, 2);
  return finding;
}

const test = (name, body, options = {}, flags = {}) => it(name, withServer(options, flags, body));

/** A server for the time of a test. */
async function listening(server, body) {
  const sockets = new Set();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await body(`http://127.0.0.1:${server.address().port}`);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** A TCP proxy; `choose` gives the port for each connection, `change` changes what a client sends first. */
const proxy = (choose, change = (bytes) => bytes) =>
  net.createServer((client) => {
    const server = net.connect(choose(client), "127.0.0.1");
    for (const [from, to] of [[client, server], [server, client]]) {
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
    client.once("data", (bytes) => {
      server.write(change(bytes));
      client.pipe(server);
    });
    server.pipe(client);
  });

async function withTwo(body) {
  const servers = [await Server.start(), await Server.start()];
  try {
    await body(...servers.map(({ port }) => port));
  } finally {
    for (const server of servers) await server.stop();
  }
}

const answering = (status, type, text) =>
  createServer((_, res) => res.writeHead(status, { "content-type": type }).end(text));

describe("sio doctor", { skip, concurrency: 2 }, () => {
  test("a healthy server is left alone", async ({ url }) => {
    const report = await examine(url);
    healthy(report);
    assert.deepEqual(report.findings, []);
    assert.deepEqual(report.server.eio, [4]);
    assert.equal(report.server.version_range, "4.5+");
    assert.equal(report.status.D13, "ok");
    assert.equal(report.status.D20, "skipped");
  });

  test("so is one that takes old clients, for old clients too", async ({ url }) => {
    const report = await examine(url);
    healthy(report);
    assert.deepEqual(report.server.eio, [3, 4]);
    const old = await examine(url, "--client", "js@2");
    healthy(old);
    assert.equal(old.status.D13, "ok");
    healthy(await examine(`${url}/admin`, "--client", "js@2"));
  }, { allowEIO3: true });

  test("D08 an old client of a server that takes none", async ({ url }) => {
    const finding = faulty(await examine(url, "--client", "js@2"), "D28", /as old as js 2/);
    assert.match(finding.evidence[0].body, /"code":5/);
    assert.match(finding.fix.snippets.Node, /allowEIO3/);
    healthy(await examine(url, "--client", "js@4"));
  });

  it("D08 a server that speaks the old revision only", async () => {
    const open = '{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":60000}';
    let sessions = 0;
    const server = createServer((req, res) => {
      const isPost = req.method === "POST";
      const text = `0${open.replace('"a"', `"a${sessions++}"`)}`;
      if (isPost) res.end("ok");
      else if (!req.url.includes("sid=")) res.end(`${text.length}:${text}2:40`);
      req.resume();
    });
    server.on("upgrade", (_, socket) => socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 17\r\n\r\nTransport unknown"));
    await listening(server, async (url) => {
      const report = await examine(url, "--client", "js@4");
      // It has no WebSocket either, which is told as well.
      const ids = ({ findings }) => findings.map(({ id }) => id);
      assert.deepEqual(ids(report), ["D28", "D09"]);
      assert.match(report.findings[0].title, /Socket\.IO 1 or 2/);
      assert.deepEqual(report.server.eio, [3]);
      assert.deepEqual(ids(await examine(url, "--client", "js@2")), ["D09"]);
      const [finding] = (await examine(url)).findings;
      assert.deepEqual([finding.id, finding.confidence], ["D08", "likely"]);
    });
  });

  test("D09 WebSocket only, while clients begin with polling", async ({ url }) => {
    const finding = faulty(await examine(url), "D09", /WebSocket only/);
    assert.match(finding.evidence[0].body, /"code":0/);
    const report = await examine(url, "--transport", "websocket");
    healthy(report);
    assert.equal(report.status.D10, "skipped");
    assert.equal(report.status.D15, "ok");
  }, { transports: ["websocket"] });

  test("D09 polling only works, and is told", async ({ url }) => {
    const report = await examine(url);
    assert.deepEqual(told(report), ["D09 warn the server offers polling only"]);
    assert.equal(report.code, 0);
    assert.equal(report.status.D15, "ok");
  }, { transports: ["polling"] });

  test("the report in Spanish", async ({ url }) => {
    const { out, code } = await run(`${url}/nope`, "--lang", "es");
    assert.equal(code, 2);
    assert.match(out, /✘ D15 el servidor no tiene el espacio de nombres \/nope {2}\(grave, seguro\)/);
    assert.match(out, /^ {4}remedio$/m);
    assert.doesNotMatch(out, /skipped|inconclusive|evidence|fault|requests/);
    const { out: markdown } = await run(`${url}/nope`, "--lang", "es", "--md", "-");
    assert.match(markdown, /^espacio de nombres `\/nope`, ruta `\/socket\.io\/`/m);
    assert.match(markdown, /^\| D16 latido \| omitido \|/m);
    assert.doesNotMatch(markdown, /Namespace|path `|requests|Fix|\| ok \|/);
    const nobody = await listening(createServer(), async (url) => url);
    const refused = await run(nobody, "--lang", "es");
    assert.match(refused.out, /conectar con 127\.0\.0\.1:\d+ → conexión rechazada/);
  });

  test("D07 a wrong path, and the right one", async ({ url }) => {
    const report = await examine(url, "--path", "/chat/");
    const finding = faulty(report, "D07", /answers at \/socket\.io\/, not at \/chat\//);
    assert.match(finding.fix.snippets["Node client"], /path: "\/socket\.io\/"/);
    assert.equal(report.status.D15, "skipped");
    faulty(await examine(`${url}/api`, "--path", "/x"), "D07", /answers at \/socket\.io\//);
  });

  test("D07 the path that begins with the URL's", async ({ url }) => {
    faulty(await examine(`${url}/live`), "D07", /answers at \/live\/socket\.io\//);
    healthy(await examine(url, "--path", "/live/socket.io"));
  }, { path: "/live/socket.io/" });

  test("D15 a namespace that is not there", async ({ url }) => {
    const report = await examine(`${url}/nope`);
    const finding = faulty(report, "D15", /no namespace \/nope/);
    assert.match(finding.evidence[0].answer, /Invalid namespace/);
    assert.equal(report.status.D16, "skipped");
    healthy(await examine(`${url}/admin`));
    healthy(await examine(url, "--namespace", "/admin"));
  });

  test("D15 credentials that are refused, which the report does not show", async ({ url }) => {
    const report = await examine(`${url}/guarded`, "--auth", '{"token":"s3cretly","wait":0}');
    faulty(report, "D15", /refuses: not authorized \{"code":42\}/);
    assert.ok(!JSON.stringify(report).includes("s3cretly"));
    healthy(await examine(`${url}/guarded`, "--auth", '{"token":"ok"}'));
  });

  test("D15 a token that has expired", async ({ url }) => {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const token = `${part({ alg: "HS256" })}.${part({ exp: Math.floor(Date.now() / 1000) - 7300 })}.c2ln`;
    const report = await examine(`${url}/guarded`, "--auth", JSON.stringify({ token }));
    assert.match(faulty(report, "D15", /refuses/).meaning, /expired 2 h ago/);
  });

  test("D15 the MessagePack parser", async ({ url }) => {
    faulty(await examine(url), "D15", /MessagePack/);
  }, {}, { parser: "msgpack" });

  test("D06 a server that forbids", async ({ url }) => {
    const report = await examine(url);
    faulty(report, "D06", /forbids the connection: no entry/);
    assert.equal(report.status.D12, "skipped");
  }, {}, { allowRequest: "no entry" });

  it("D10 two servers without sticky sessions", () =>
    withTwo(async (...ports) => {
      let next = 0;
      await listening(proxy(() => ports[next++ % 2]), async (url) => {
        const report = await examine(url);
        const finding = faulty(report, "D10", /no sticky sessions/);
        assert.match(finding.evidence[0].body, /Session ID unknown/);
        assert.deepEqual(Object.keys(finding.fix.snippets).sort(), ["Apache", "HAProxy", "nginx"]);
        assert.equal(report.status.D13, "skipped");
        assert.equal(report.status.D14, "skipped");
        assert.equal(report.status.D15, "ok");
      });
    }));

  it("D10 two servers with sticky sessions by cookie, which not all clients keep", () =>
    withTwo(async (...ports) => {
      let next = 0;
      const server = createServer((req, res) => {
        const found = /route=(\d)/.exec(req.headers.cookie ?? "");
        const route = found ? Number(found[1]) : next++ % 2;
        const { method, url: path, headers } = req;
        const onward = request({ host: "127.0.0.1", port: ports[route], method, path, headers, agent: false }, (answer) => {
          res.writeHead(answer.statusCode, { ...answer.headers, "set-cookie": `route=${route}; Path=/` });
          answer.pipe(res);
        });
        onward.on("error", () => res.destroy());
        req.pipe(onward);
      });
      server.on("upgrade", (req, socket, head) => {
        const onward = net.connect(ports[/route=(\d)/.exec(req.headers.cookie ?? "")?.[1] ?? 0], "127.0.0.1");
        const lines = Object.entries(req.headers).map(([name, value]) => `${name}: ${value}\r\n`);
        onward.write(`GET ${req.url} HTTP/1.1\r\n${lines.join("")}\r\n`);
        onward.write(head);
        onward.pipe(socket).pipe(onward);
        for (const one of [onward, socket]) one.on("error", () => {}).on("close", () => (onward.destroy(), socket.destroy()));
      });
      await listening(server, async (url) => {
        const report = await examine(url);
        const [finding] = report.findings;
        assert.deepEqual([finding.id, finding.severity, finding.confidence], ["D10", "warn", "certain"]);
        assert.match(finding.title, /need the cookie route: without it/);
        assert.deepEqual([report.findings.length, report.code], [1, 0]);
      });
    }));

  it("D10 two servers with sticky sessions by address are left alone", () =>
    withTwo(async (...ports) => {
      const hash = ({ remoteAddress }) => [...remoteAddress].reduce((sum, c) => sum + c.charCodeAt(0), 0);
      await listening(proxy((client) => ports[hash(client) % 2]), async (url) => healthy(await examine(url)));
    }));

  test("D12 a proxy that drops the header Upgrade", async ({ url, port }) => {
    const drop = (bytes) =>
      Buffer.from(bytes.toString("latin1").replace(/^(Upgrade|Connection): .*\r\n/gim, ""), "latin1");
    await listening(proxy(() => port, drop), async (through) => {
      const report = await examine(through);
      const finding = faulty(report, "D12", /without its header Upgrade/, "likely");
      assert.match(finding.fix.snippets.nginx, /proxy_set_header Upgrade/);
      assert.match(finding.evidence[0].curl, /Sec-WebSocket-Key/);
      assert.equal(report.status.D13, "skipped");
      assert.equal(report.status.D15, "ok");
    });
    await listening(proxy(() => port), async (through) => healthy(await examine(through)));
  });

  it("D06 a plain WebSocket server", async () => {
    const server = createServer((_, res) => res.writeHead(426).end("Upgrade Required"));
    const sockets = new WebSocketServer({ server });
    sockets.on("connection", (socket) => socket.send("hello"));
    await listening(server, async (url) => faulty(await examine(url), "D06", /plain WebSocket server/));
  });

  it("D06 a single-page application", () =>
    listening(answering(200, "text/html", "<!doctype html><title>app</title>"), async (url) => {
      const report = await examine(url);
      faulty(report, "D06", /a web page answers at \/socket\.io\//);
      assert.equal(report.status.D15, "skipped");
    }));

  it("D06 what proxies answer when nothing is behind them", async () => {
    for (const [status, title] of [[502, /does not reach/], [401, /credentials/], [404, /no Socket\.IO/]]) {
      const server = answering(status, "text/html", `<h1>${status}</h1>`);
      const confidence = status === 404 ? "certain" : "likely";
      await listening(server, async (url) => faulty(await examine(url), "D06", title, confidence));
    }
  });

  it("D29 a limit on requests accuses nobody else", () =>
    listening(answering(429, "text/plain", "slow down"), async (url) => {
      const report = await examine(url);
      assert.deepEqual(told(report), ["D29 warn requests are limited: status 429 after 0 of them"]);
      assert.deepEqual([report.code, report.status.D06], [4, "inconclusive"]);
    }));

  it("D03 nobody listens", async () => {
    const url = await listening(createServer(), async (url) => url);
    const report = await examine(url);
    faulty(report, "D03", /nothing listens on 127\.0\.0\.1/);
    assert.equal(report.status.D06, "skipped");
  });

  const origin = ["--origin", "https://app.example"];

  test("D20 D21 CORS that is not configured", async ({ url }) => {
    const report = await examine(url, ...origin);
    const finding = faulty(report, "D20", /says nothing about CORS/);
    assert.match(finding.fix.snippets.Node, /https:\/\/app\.example/);
    assert.deepEqual(told(report).slice(1), ["D21 info the browser's question before the request (OPTIONS) is refused", "D25 warn a WebSocket of a foreign page is accepted"]);
    // Pages of the server itself need none.
    healthy(await examine(url, "--origin", url));
  });

  test("D20 CORS for another origin", async ({ url }) => {
    const finding = faulty(await examine(url, ...origin), "D20", /the server allows http:\/\/app\.example/);
    assert.match(finding.meaning, /only in a detail/);
  }, { cors: { origin: "http://app.example" } });

  test("D20 D21 D22 CORS for this origin is left alone", async ({ url }) => {
    const report = await examine(url, ...origin, "--header", "X-Key: s3cretly", "--cookie", "a=b0123");
    healthy(report);
    assert.deepEqual([report.status.D20, report.status.D21, report.status.D22], ["ok", "ok", "ok"]);
  }, { cors: { origin: "https://app.example", credentials: true } });

  // This server does not start with both.
  (isReference ? test : it.skip)("D22 a wildcard with cookies", async ({ url }) => {
    const report = await examine(url, ...origin);
    assert.deepEqual([report.findings[0].id, report.findings[0].severity, report.code], ["D22", "warn", 0]);
    assert.equal((await run(url, ...origin, "--strict")).code, 1);
    faulty(await examine(url, ...origin, "--cookie", "a=b0123"), "D22", /by \*/);
  }, { cors: { origin: "*", credentials: true } });

  test("D16 the heartbeat is seen when it is quick", async ({ url }) => {
    const report = await examine(url);
    healthy(report);
    assert.match(report.layers.find(({ id }) => id === "D16").detail, /the ping came/);
  }, { pingInterval: 300 });

  test("no session is left open, no event is emitted", async (server) => {
    healthy(await examine(server.url));
    const connect = await server.fact("connect");
    const gone = await server.fact("disconnect");
    assert.equal(gone.disconnect.id, connect.connect.id);
  });

  test("nor is one when all is asked for", async ({ url }) => {
    const all = ["--soak", "1", "--payload", "--emit", 'ack="x"', "--origin", "https://app.example", "--backend", url];
    assert.equal((await run(url, ...all)).code, 0);
    // The client that counts is the only one.
    const counted = spawnSync(sio, ["connect", url, "--emit", "count", "--ack", "--json"], { encoding: "utf8" });
    const records = counted.stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line));
    assert.deepEqual(records.find(({ type }) => type === "ack").args, [1]);
  }, { cors: { origin: "https://app.example", credentials: true }, connectionStateRecovery: {} });

  test("the report for people, and as Markdown", async ({ url }) => {
    const directory = mkdtempSync(join(tmpdir(), "sio-doctor-"));
    const file = join(directory, "report.md");
    const done = await run(`${url}/nope`, "--md", file);
    assert.match(done.out, /✘ D15 the server has no namespace \/nope {2}\(fatal, certain\)/);
    assert.match(done.out, /– D16 {2}heartbeat +skipped: because of D15/);
    assert.doesNotMatch(done.out, /\u001b/);
    assert.match(readFileSync(file, "utf8"), /^# sio doctor: .*\n[^]*## D15 the server has no namespace/);
    rmSync(directory, { recursive: true });
  });

  test("the exchanges as HAR 1.2, without secrets", async ({ url }) => {
    const directory = mkdtempSync(join(tmpdir(), "sio-doctor-"));
    const file = join(directory, "doctor.har");
    const done = await run(`${url}/guarded`, "--har", file, "--json", "--auth", '{"token":"s3cretly"}', "--header", "X-Key: k3ypart", "--cookie", "a=c00kie");
    const text = readFileSync(file, "utf8");
    rmSync(directory, { recursive: true });
    for (const secret of ["s3cretly", "k3ypart", "c00kie"]) assert.ok(!text.includes(secret), secret);
    const { log } = JSON.parse(text);
    assert.equal(log.version, "1.2");
    assert.deepEqual(Object.keys(log.creator), ["name", "version"]);
    assert.equal(log.entries.length, JSON.parse(done.out).requests);
    const has = (object, names) => assert.deepEqual(names.filter((name) => !(name in object)), [], JSON.stringify(object));
    for (const entry of log.entries) {
      has(entry, ["startedDateTime", "time", "request", "response", "cache", "timings"]);
      has(entry.request, ["method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"]);
      has(entry.response, ["status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL", "headersSize", "bodySize"]);
      has(entry.response.content, ["size", "mimeType"]);
      const { send, wait, receive } = entry.timings;
      assert.ok([send, wait, receive].every((time) => time >= 0) && Math.abs(send + wait + receive - entry.time) < 1);
      assert.ok(Date.parse(entry.startedDateTime) > 0 && new URL(entry.request.url).pathname === "/socket.io/");
      for (const { name, value } of [...entry.request.headers, ...entry.response.headers, ...entry.request.queryString]) {
        assert.deepEqual([typeof name, typeof value], ["string", "string"]);
        if (name === "sid") assert.equal(value, "…");
      }
    }
    const first = log.entries[0];
    assert.deepEqual([first.request.method, first.response.status], ["GET", 200]);
    assert.match(first.response.content.text, /^0\{"sid":"…"/);
    const upgraded = log.entries.filter(({ response }) => response.status === 101);
    assert.ok(upgraded.length > 2);
    for (const { request } of upgraded) assert.ok(request.headers.some(({ name, value }) => name === "Upgrade" && value === "websocket"));
    const frames = log.entries.flatMap(({ _webSocketMessages = [] }) => _webSocketMessages);
    assert.ok(frames.some(({ type, data }) => type === "send" && data.startsWith('40/guarded,{"token":"…"')), JSON.stringify(frames));
    assert.ok(frames.some(({ type, data, opcode, time }) => type === "receive" && opcode === 1 && time > 1e9 && data.startsWith("44/guarded,")));
  });

  it("the checks as JUnit's XML", { skip: spawnSync("python3", ["--version"]).error ? "no python3" : false }, () =>
    listening(answering(500, "text/html", "<h1>\u0007 a & b</h1>"), async (url) => {
      // A parser that knows only XML; what it prints are name, outcome and message of each case.
      const script = `import sys, json, xml.etree.ElementTree as E
suite = E.fromstring(sys.stdin.buffer.read()).find("testsuite")
print(json.dumps([dict(suite.attrib), [[c.get("name"), [[e.tag, e.get("message"), e.text] for e in c]] for c in suite.findall("testcase")]]))`;
      const { out, code } = await run(url, "--junit", "-");
      const parsed = spawnSync("python3", ["-c", script], { input: out, encoding: "utf8" });
      assert.equal(parsed.stderr, "");
      const [suite, cases] = JSON.parse(parsed.stdout);
      const { findings, layers } = await examine(url);
      assert.equal(code, 2);
      assert.deepEqual(cases.map(([name]) => name), layers.map(({ id, name }) => `${id} ${name}`));
      assert.deepEqual([suite.tests, suite.failures, suite.errors], [`${layers.length}`, "1", "0"]);
      const told = cases.flatMap(([name, elements]) => elements.map(([tag, message, text]) => ({ id: name.slice(0, 3), tag, message, text })));
      const [failure] = told.filter(({ tag }) => tag === "failure");
      assert.deepEqual([failure.id, failure.message], [findings[0].id, findings[0].title]);
      assert.match(failure.text, /a & b/);
      assert.equal(`${told.filter(({ tag }) => tag === "skipped").length}`, suite.skipped);
      assert.ok(told.some(({ message }) => /^skipped: /.test(message)));
    }));

  test("D26 the proxy or the server", async ({ url, port }) => {
    const drop = (bytes) => Buffer.from(bytes.toString("latin1").replace(/^(Upgrade|Connection): .*\r\n/gim, ""), "latin1");
    await listening(proxy(() => port, drop), async (through) => {
      const { code, out } = await run(through, "--backend", url, "--json");
      const report = JSON.parse(out);
      assert.deepEqual(told(report).map((line) => line.slice(0, 9)), ["D12 fatal", "D26 fatal"]);
      assert.deepEqual([report.findings[0].confidence, code], ["certain", 2]);
      assert.match(report.findings[1].title, /breaks what works behind it: D12 \(WebSocket\)/);
      const gone = JSON.parse((await run(through, "--backend", "http://127.0.0.1:1", "--json")).out);
      assert.equal(gone.layers.find(({ id }) => id === "D26").status, "inconclusive");
    });
  });

  test("D19 an event is emitted only when asked for, once if it is answered", async (server) => {
    const args = ["--emit", 'ack={"a":1}', "--json"];
    const { out } = await run(server.url, ...args);
    const { findings, layers } = JSON.parse(out);
    assert.deepEqual(findings, []);
    assert.match(layers.find(({ id }) => id === "D19").detail, /acknowledged after \d+ ms/);
  });

  it("explains and lists its checks, and says what is wrong with its arguments", async () => {
    assert.match((await run("--explain", "d10")).out, /^D10 sticky sessions\n\n/);
    assert.match((await run("--list")).out, /^D01 {2}URL\n/);
    const wrong = await run("localhost:3000");
    assert.deepEqual([wrong.code, wrong.out], [3, ""]);
    assert.match(wrong.err, /scheme/);
  });
});
