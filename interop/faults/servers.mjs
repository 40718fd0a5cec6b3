// Servers that are set up wrongly, or are not Socket.IO at all.
import { createRequire } from "node:module";
import assert from "node:assert/strict";
import net from "node:net";
import { Server } from "socket.io";
import ioV2 from "socket.io-client-v2";
import msgpackParser from "socket.io-msgpack-parser";
import { WebSocketServer } from "ws";
import { Ws } from "../harness.mjs";
import { HOST, page, reference, setup, sparePort } from "./parts.mjs";
import { all, answers, attempt, connects, fails, HANDSHAKE, isThrownOut, losesSessions, readable } from "./symptoms.mjs";

const require = createRequire(import.meta.url);
export const v2 = (server, options) => require("socket.io-v2")(server, options);
export const v3 = (server, options) => new (require("socket.io-v3").Server)(server, options);

/** The page of a browser that the doctor speaks for; plain HTTP, so that nothing is mixed. */
export const ORIGIN = "http://app.example.com";
/** That WebSockets are open to all origins may be told whenever there is an origin. */
const browser = { arguments: ["--origin", ORIGIN], may: ["D25"] };

const at = (port, path = "") => `http://${HOST}:${port}${path}`;
const serve = (options, extra) => async (lab) => at(await reference(lab, options, extra));
/** A server that is not Socket.IO. */
const other = (handler) => async (lab) => at(await lab.listen(lab.http(undefined, handler)));
/** A listener of raw bytes. */
const raw = (handler) => async (lab) => at(await lab.listen(net.createServer(handler)));

/** The raw requests of a client of some revision of Engine.IO. */
const handshake = (revision) => `socket.io/?EIO=${revision}&transport=polling`;
const told = (code, message) => (res, body) => assert.deepEqual([res.status, body], [400, JSON.stringify({ code, message })]);

const html = { status: 404, body: /<h1>/ };
const spa = (req, res) => page(res, 200, "My App");
const json404 = (req, res) => {
  res.writeHead(404, { "content-type": "application/json" });
  res.end(JSON.stringify({ statusCode: 404, message: `Cannot ${req.method} ${req.url}`, error: "Not Found" }));
};

const paths = [
  setup("path", { start: serve({ path: "/api/socket.io/" }), arguments: ["--path", "/api/socket.io/"], sees: connects({ path: "/api/socket.io/" }) }),
  setup("path-wrong", {
    twin: "path",
    expect: ["D07"],
    may: ["D06"],
    not: ["D12"],
    start: serve({ path: "/api/socket.io/" }),
    sees: fails("xhr poll error", html),
  }),
  setup("path-in-url", {
    start: async (lab) => at(await reference(lab, { path: "/my-custom-path/" })),
    arguments: ["--path", "/my-custom-path/"],
    sees: connects({ path: "/my-custom-path/" }),
  }),
  setup("path-is-namespace", {
    twin: "path-in-url",
    expect: ["D07"],
    may: ["D01", "D06"],
    not: ["D12"],
    start: async (lab) => at(await reference(lab, { path: "/my-custom-path/" }), "/my-custom-path/"),
    sees: fails("xhr poll error", { status: 404 }),
  }),
  setup("listens-alone", {
    start: async (lab) => {
      const io = new Server(0, { httpServer: undefined });
      io.on("connection", (socket) => socket.on("ask", (...args) => args.pop()(...args)));
      if (!io.httpServer.listening) await new Promise((resolve) => io.httpServer.once("listening", resolve));
      lab.atEnd(() => io.close());
      return at(io.httpServer.address().port);
    },
  }),
  // As with Express: app.listen() makes another HTTP server than the one with Socket.IO.
  setup("application-listens-instead", {
    twin: "listens-alone",
    expect: ["D06"],
    not: ["D12"],
    start: async (lab) => {
      const application = (req, res) => page(res, 404, "Error");
      new Server(lab.http(undefined, application));
      return at(await lab.listen(lab.http(undefined, application)));
    },
    sees: fails("xhr poll error", html),
  }),
  setup("spa", { start: serve({}, { application: spa }) }),
  setup("spa-without-server", {
    twin: "spa",
    expect: ["D06"],
    not: ["D12"],
    start: other(spa),
    sees: all(fails("server error"), answers(HANDSHAKE, {}, (res) => assert.equal(res.status, 200))),
  }),
  setup("spa-path-wrong", {
    twin: "spa",
    expect: ["D07"],
    may: ["D06"],
    start: serve({ path: "/api/socket.io/" }, { application: spa }),
    sees: fails("server error"),
  }),
  setup("json-404", { start: serve({}, { application: json404 }) }),
  setup("json-404-without-server", {
    twin: "json-404",
    expect: ["D06"],
    start: other(json404),
    sees: fails("xhr poll error", { status: 404, body: /Cannot GET/ }),
  }),
  setup("plain-websocket", {
    twin: "reference",
    expect: ["D06"],
    not: ["D07", "D12"],
    start: async (lab) => {
      const server = lab.http(undefined, (req, res) => {
        res.writeHead(426, { "content-type": "text/plain" });
        res.end("Upgrade Required");
      });
      new WebSocketServer({ server }).on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
      return at(await lab.listen(server));
    },
    sees: fails("xhr poll error", { status: 426, body: /^Upgrade Required$/ }),
  }),
];

/** Asks with an origin, and says what a browser makes of the answer. */
const blocked = (path, { allowed, credentials = false, init = {} }) =>
  answers(path, { ...init, headers: { origin: ORIGIN, ...init.headers } }, (res) =>
    assert.equal(readable(res, ORIGIN, credentials), allowed, `${res.headers.get("access-control-allow-origin")}`),
  );
const NOPE = `${HANDSHAKE}&sid=nope`;
const exact = { cors: { origin: ORIGIN, credentials: true } };
const cors = [
  setup("cors", {
    ...browser,
    start: serve(exact),
    sees: all(connects(), blocked(HANDSHAKE, { allowed: true, credentials: true }), blocked(NOPE, { allowed: true })),
  }),
  setup("cors-absent", {
    ...browser,
    twin: "cors",
    expect: ["D20"],
    may: ["D21", "D22", "D23", "D25"],
    start: serve(),
    sees: all(
      blocked(HANDSHAKE, { allowed: false }),
      answers(HANDSHAKE, { method: "OPTIONS" }, (res, body) => assert.equal(body, '{"code":2,"message":"Bad handshake method"}')),
    ),
  }),
  setup("cors-other-origin", {
    ...browser,
    twin: "cors",
    expect: ["D20"],
    may: ["D21", "D22", "D23", "D25"],
    start: serve({ cors: { origin: "http://www.example.com", credentials: true } }),
    sees: blocked(HANDSHAKE, { allowed: false }),
  }),
  setup("cors-origin-not-listed", {
    ...browser,
    twin: "cors",
    expect: ["D20"],
    may: ["D21", "D22", "D23", "D25"],
    start: serve({ cors: { origin: [`${ORIGIN}/`, "https://app.example.com"], credentials: true } }),
    sees: blocked(HANDSHAKE, { allowed: false }),
  }),
  setup("preflight", {
    arguments: ["--origin", ORIGIN, "--header", "X-Key: a1b2c3"],
    may: ["D25"],
    start: serve(exact),
    sees: blocked(HANDSHAKE, { allowed: true, init: { headers: { "x-key": "a1b2c3" } } }),
  }),
  // The application allows the origin, and knows nothing of the question before.
  setup("preflight-refused", {
    arguments: ["--origin", ORIGIN, "--header", "X-Key: a1b2c3"],
    twin: "preflight",
    expect: ["D21"],
    may: ["D23", "D25"],
    start: serve({}, { prepare: (io) => io.engine.on("headers", (headers) => (headers["access-control-allow-origin"] = ORIGIN)) }),
    sees: all(
      blocked(HANDSHAKE, { allowed: true }),
      answers(HANDSHAKE, { method: "OPTIONS" }, told(2, "Bad handshake method")),
    ),
  }),
  setup("cors-wildcard", { ...browser, start: serve({ cors: { origin: "*" } }), sees: blocked(HANDSHAKE, { allowed: true }) }),
  setup("cors-wildcard-credentials", {
    ...browser,
    twin: "cors-wildcard",
    expect: ["D22"],
    start: serve({ cors: { origin: "*", credentials: true } }),
    sees: blocked(HANDSHAKE, { allowed: false, credentials: true }),
  }),
];

const ask = (io) => io.on("connection", (socket) => socket.on("ask", (...args) => args.pop()(...args)));
const version2 = (lab) => reference(lab, {}, { make: v2 });
const versions = [
  setup("version-2-client-2", {
    arguments: ["--client", "js@2"],
    start: async (lab) => at(await version2(lab)),
    sees: connects({ client: ioV2 }),
  }),
  setup("version-2", {
    twin: "version-2-client-2",
    expect: ["D08"],
    not: ["D15", "D28"],
    start: async (lab) => at(await version2(lab)),
    sees: fails(/parser error|server error|silence|timeout/),
  }),
  setup("eio3-allowed", { arguments: ["--client", "js@2"], start: serve({ allowEIO3: true }), sees: connects({ client: ioV2 }) }),
  setup("eio3-refused", {
    twin: "eio3-allowed",
    arguments: ["--client", "js@2"],
    expect: ["D28"],
    start: serve(),
    sees: all(
      fails("xhr poll error", { client: ioV2 }),
      answers("socket.io/?EIO=3&transport=polling", {}, (res, body) =>
        assert.equal(body, '{"code":5,"message":"Unsupported protocol version"}'),
      ),
    ),
  }),
  setup("patient-with-tabs", {
    arguments: ["--client", "js@2"],
    not: ["D16"],
    start: async (lab) => at(await reference(lab, { pingTimeout: 60_000 }, { make: v2 })),
    sees: connects({ client: ioV2 }),
  }),
  setup("hidden-tab", {
    twin: "patient-with-tabs",
    arguments: ["--client", "js@2"],
    informs: ["D16"],
    start: async (lab) => at(await version2(lab)),
    // After 45 s without a ping of the client the server hangs up.
    sees: answers(handshake(3), {}, (res, body) => assert.match(body, /"pingInterval":25000,"pingTimeout":20000\}/)),
  }),
  ...clients(),
];

/** Each client of the documentation's tables with each kind of server. */
function clients() {
  const servers = { 2: version2, 4: reference, "4-eio3": (lab) => reference(lab, { allowEIO3: true }) };
  const refusals = {
    // By the tables version 1 goes with version 1 only.
    "js@1": ["2", "4", "4-eio3"],
    "js@2": ["4"],
    "js@3": ["2"],
    "js@4": ["2"],
    "java@1": ["4"],
    "java@2": ["2"],
    "swift@15": ["4"],
    "swift@16": ["2"],
  };
  const old = ["js@1", "js@2", "java@1", "swift@15"];
  return Object.entries(refusals).flatMap(([client, refusing]) =>
    Object.entries(servers).map(([name, server]) => {
      const revision = old.includes(client) ? 3 : 4;
      const isRefused = refusing.includes(name);
      return setup(`client-${client.replace("@", "-")}-server-${name}`, {
        arguments: ["--client", client],
        twin: isRefused ? "client-js-4-server-4" : undefined,
        expect: isRefused ? ["D28"] : [],
        not: ["D08"],
        start: async (lab) => at(await server(lab)),
        sees: answers(handshake(revision), {}, (res, body) => {
          if (name === "2") assert.match(body, /^\d+:0\{/);
          else if (revision === 3 && name === "4") assert.equal(body, '{"code":5,"message":"Unsupported protocol version"}');
          else assert.match(body, revision === 3 ? /^\d+:0\{/ : /^0\{/);
        }),
      });
    }),
  );
}

const transports = [
  setup("websocket-only", {
    twin: "reference",
    expect: ["D09"],
    not: ["D06", "D10", "D12"],
    start: serve({ transports: ["websocket"] }),
    sees: all(fails("xhr poll error", { status: 400, body: /"code":0/ }), connects({ transports: ["websocket"] })),
  }),
  setup("polling-only", {
    twin: "reference",
    expect: ["D09"],
    not: ["D10", "D12"],
    start: serve({ transports: ["polling"] }),
    sees: all(connects({ over: "polling" }), fails("websocket error", { transports: ["websocket"] })),
  }),
  setup("no-upgrades", {
    twin: "reference",
    expect: ["D09"],
    not: ["D10", "D12"],
    start: serve({ allowUpgrades: false }),
    sees: all(connects({ over: "polling" }), connects({ transports: ["websocket"] })),
  }),
  setup("pending-get-not-flushed", {
    twin: "reference",
    expect: ["D13"],
    not: ["D10", "D12"],
    start: serve({}, {
      prepare: (io) =>
        io.engine.on("connection", ({ transport }) => {
          const { send } = transport;
          if (transport.name !== "polling") return;
          transport.send = (packets) => packets[0]?.type !== "noop" && send.call(transport, packets);
        }),
    }),
    // The client pauses polling before it upgrades, which takes until its GET is answered.
    sees: async (url) => {
      const path = async () => `${HANDSHAKE}&sid=${JSON.parse((await (await fetch(new URL(HANDSHAKE, url))).text()).slice(1)).sid}`;
      const polling = new URL(await path(), url);
      await fetch(polling, { method: "POST", body: "40" });
      assert.match(await (await fetch(polling)).text(), /^40/);
      const pending = fetch(polling).then((res) => res.text());
      const ws = await Ws.open({ port: polling.port }, polling.search.slice(1).replace("polling", "websocket"));
      ws.send("2probe");
      assert.equal(await ws.next(), "3probe");
      const late = new Promise((resolve) => setTimeout(resolve, 500, "late"));
      assert.equal(await Promise.race([pending, late]), "late");
      ws.socket.terminate();
      await fetch(polling, { method: "POST", body: "1" });
    },
  }),
];

const guarded = (middleware) => serve({}, { prepare: (io) => io.use(middleware) });
const refuse = ({ handshake }, next) =>
  next(handshake.auth.token === "ok" ? undefined : Object.assign(new Error("not authorized"), { data: { reason: "token missing" } }));
const heard = (when) => async (lab) => at(await reference(lab, {}, { prepare: (io) => io.on("connection", (socket) => when(socket)) }));
const hear = (socket) => socket.on("say", (text, callback) => callback(text));
const says = (expected) => async (url) => {
  const { socket, error } = await attempt(url, { transports: ["websocket"] });
  assert.equal(error, undefined);
  const answer = await socket.timeout(400).emitWithAck("say", "x").catch(() => "silence");
  socket.close();
  assert.equal(answer, expected);
};
const events = [
  setup("event", { arguments: ["--emit", 'say="x"'], start: heard(hear), sees: says("x") }),
  setup("event-unheard", { twin: "event", arguments: ["--emit", 'say="x"'], expect: ["D19"], start: serve(), sees: says("silence") }),
  setup("event-heard-late", {
    twin: "event",
    arguments: ["--emit", 'say="x"'],
    expect: ["D19"],
    start: heard((socket) => setTimeout(() => hear(socket), 300)),
    sees: says("silence"),
  }),
];

const namespaces = [
  setup("allowed", { start: serve({ allowRequest: (req, decide) => decide(null, true) }) }),
  setup("forbidden", {
    twin: "allowed",
    expect: ["D06"],
    not: ["D07", "D12"],
    start: serve({ allowRequest: (req, decide) => decide("no entry", false) }),
    sees: fails("xhr poll error", { status: 403, body: /^\{"code":4,"message":"no entry"\}$/ }),
  }),
  setup("namespace", { start: async (lab) => at(await reference(lab, {}, { prepare: (io) => ask(io.of("/chat")) }), "/chat") }),
  setup("namespace-unknown", {
    twin: "namespace",
    expect: ["D15"],
    start: async (lab) => at(await reference(lab), "/chat"),
    sees: fails("Invalid namespace"),
  }),
  setup("middleware", {
    arguments: ["--auth", '{"token":"ok"}'],
    start: guarded(refuse),
    sees: connects({ auth: { token: "ok" } }),
  }),
  setup("middleware-refuses", {
    twin: "middleware",
    expect: ["D15"],
    start: guarded(refuse),
    sees: fails("not authorized", { data: { reason: "token missing" } }),
  }),
  setup("middleware-silent", { twin: "middleware", expect: ["D15"], start: guarded(() => {}), sees: fails(/silence|timeout/) }),
  setup("middleware-silent-short", {
    twin: "middleware",
    expect: ["D15"],
    start: serve({ connectTimeout: 2_000 }, { prepare: (io) => io.use(() => {}) }),
    sees: fails("transport close"),
  }),
  setup("msgpack", {
    twin: "reference",
    expect: ["D15"],
    start: serve({ parser: msgpackParser }),
    sees: all(fails(/transport (close|error)/), connects({ parser: msgpackParser })),
  }),
];

/** Pings soon, so that a run sees one; the timeout is not shorter than is sound. */
export const lively = { pingInterval: 1_500, pingTimeout: 5_000 };
const heartbeat = [
  setup("lively", { start: serve(lively) }),
  setup("no-pings", {
    twin: "lively",
    expect: ["D16"],
    may: ["D14"],
    start: serve({ pingInterval: 1_000, pingTimeout: 5_000 }, {
      prepare: (io) =>
        io.engine.on("connection", (socket) => {
          const { sendPacket } = socket;
          socket.sendPacket = function (type, ...rest) {
            if (type !== "ping") return sendPacket.call(this, type, ...rest);
          };
        }),
    }),
    sees: isThrownOut("ping timeout|transport close"),
  }),
  setup("hasty-heartbeat", {
    twin: "lively",
    expect: ["D16"],
    start: serve({ pingInterval: 1_500, pingTimeout: 400 }),
    // Who is busy for a moment is thrown out.
    sees: async (url) => {
      const ws = await Ws.open({ port: new URL(url).port }, "EIO=4&transport=websocket");
      assert.match(await ws.next(), /^0/);
      assert.equal(await ws.next(), "2");
      const start = performance.now();
      await new Promise((resolve) => ws.socket.once("close", resolve));
      assert.ok(performance.now() - start < 2_000, "it waited for the answer");
    },
  }),
  setup("message-allowed", { arguments: ["--payload", "2000000"], start: serve({ maxHttpBufferSize: 1e7 }) }),
  setup("message-too-large", {
    twin: "message-allowed",
    arguments: ["--payload", "2000000"],
    expect: ["D18"],
    start: serve(),
    sees: all(...["polling", "websocket"].map((transport) => isThrownOut("transport (error|close)", { transports: [transport], says: "x".repeat(1_500_000) }))),
  }),
  setup("two-servers-in-one", {
    twin: "reference",
    expect: ["D10"],
    may: ["D12", "D13"],
    // As express-status-monitor does: a second one on the same HTTP server, of which each has a part of the requests.
    start: serve({}, { prepare: (io, server) => twice(io, server) }),
    sees: losesSessions,
  }),
];

/** Each of the two has its turn with the requests. */
function twice(io, server) {
  const [one] = server.listeners("request");
  const second = new Server();
  server.removeAllListeners("request");
  server.removeAllListeners("upgrade");
  second.attach(server);
  const [two] = server.listeners("request");
  server.removeAllListeners("request");
  server.removeAllListeners("upgrade");
  let turn = 0;
  const next = () => turn++ % 2;
  server.on("request", (req, res) => (next() ? one : two)(req, res));
  server.on("upgrade", (req, socket, head) => (next() ? io : second).engine.handleUpgrade(req, socket, head));
}

const refuseWith = (status, title, headers) => (req, res) => page(res, status, title, headers);
const reach = [
  setup("nothing-listens", {
    twin: "reference",
    expect: ["D03"],
    not: ["D06", "D12"],
    start: async () => at(await sparePort()),
    sees: fails("xhr poll error"),
  }),
  setup("no-such-name", {
    twin: "reference",
    expect: ["D02"],
    not: ["D03", "D06"],
    start: async () => "http://no-such-host.invalid",
    sees: fails("xhr poll error"),
  }),
  setup("closes-at-once", {
    twin: "reference",
    expect: ["D03"],
    may: ["D06"],
    start: raw((socket) => socket.end()),
    sees: fails("xhr poll error"),
  }),
  setup("resets-at-once", {
    twin: "reference",
    expect: ["D03"],
    may: ["D06"],
    start: raw((socket) => socket.resetAndDestroy()),
    sees: fails("xhr poll error"),
  }),
  setup("says-nothing", { twin: "reference", expect: ["D06"], not: ["D12"], start: raw((socket) => socket.resume()), sees: fails("timeout") }),
  setup("plain-on-tls-port", {
    twin: "reference",
    expect: ["D04"],
    not: ["D06"],
    start: async (lab) => at(await reference(lab)).replace("http:", "https:"),
    sees: fails("xhr poll error"),
  }),
  ...[
    ["gateway-401", 401, "Authorization Required", { "www-authenticate": 'Basic realm="staging"', server: "nginx/1.24.0" }, "D06"],
    ["gateway-403", 403, "403 Forbidden", { server: "nginx/1.24.0" }, "D06"],
    ["page-502", 502, "502 Bad Gateway", { server: "nginx/1.24.0" }, "D06"],
    ["page-503", 503, "503 Service Unavailable", { "cache-control": "no-cache" }, "D06"],
    ["page-504", 504, "504 Gateway Time-out", { server: "nginx/1.24.0" }, "D06"],
    ["challenge", 403, "Just a moment...", { server: "cloudflare", "cf-mitigated": "challenge", "cf-ray": "8a1b2c3d4e5f6a7b-FRA" }, "D29"],
    ["rate-limited", 429, "429 Too Many Requests", { "retry-after": "30" }, "D29"],
  ].map(([name, status, title, headers, id]) =>
    setup(name, {
      twin: "reference",
      expect: [id],
      inconclusive: id === "D29",
      not: ["D07", "D10", "D12"],
      start: other(refuseWith(status, title, headers)),
      sees: fails("xhr poll error", { status, body: new RegExp(title) }),
    }),
  ),
];

export const servers = [...paths, ...cors, ...versions, ...transports, ...namespaces, ...events, ...heartbeat, ...reach];
