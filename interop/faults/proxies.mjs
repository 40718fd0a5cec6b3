// Proxies that get one thing wrong, in front of the reference.
import assert from "node:assert/strict";
import { randomInt, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { HOST, noOurs, ours, page, reference, setup } from "./parts.mjs";
import { lively, ORIGIN } from "./servers.mjs";
import { all, answers, attempt, connects, fails, HANDSHAKE, isThrownOut, losesSessions, readable, staysOnPolling } from "./symptoms.mjs";
import { certificates } from "./tls.mjs";

/** The lines of a request's head as they came, without the headers that the test drops. */
const headOf = (req, { version = "1.1", drop = () => false, add = "" } = {}) => {
  let head = `${req.method} ${req.url} HTTP/${version}\r\n`;
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const [name, value] = req.rawHeaders.slice(i, i + 2);
    if (!drop(name.toLowerCase(), value)) head += `${name}: ${value}\r\n`;
  }
  return `${head}${add}\r\n`;
};

/**
 * A reverse proxy. `route` chooses the backend of a request (and may set headers of its answer), `head` what is sent on of
 * an upgrade, `early` answers in the proxy's stead, `answer` passes an answer on, `tunnel` joins the two connections.
 */
async function proxy(lab, backends, { tls, route = () => 0, head = {}, early = () => false, answer = pass, tunnel = join } = {}) {
  const server = lab.http(tls, (req, res) => {
    if (early(req, res)) return;
    const port = backends[route(req, res)];
    const up = http.request({ host: HOST, port, method: req.method, path: req.url, headers: req.headers, agent: false });
    req.pipe(up);
    res.on("close", () => up.destroy());
    up.on("error", () => (res.headersSent ? res.destroy() : page(res, 502, "502 Bad Gateway")));
    up.on("response", (from) => answer(from, res, { req, up }));
  });
  server.on("upgrade", (req, socket, rest) => {
    // There is no answer to set a header in: whoever needs the cookie has it from the handshake over polling.
    const up = net.connect(backends[route(req, { setHeader() {} })], HOST, () => {
      up.write(headOf(req, head));
      up.write(rest);
    });
    tunnel(socket, up);
  });
  return `${tls ? "https" : "http"}://${HOST}:${await lab.listen(server)}`;
}

function pass(from, res, { headers = from.headers } = {}) {
  res.writeHead(from.statusCode, headers);
  from.pipe(res);
}

function join(client, backend) {
  for (const [one, other] of [[client, backend], [backend, client]]) {
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroy());
    one.pipe(other);
  }
}

const nodes = (lab, count, options, extra) => Promise.all(Array.from({ length: count }, () => reference(lab, options, extra)));
const before = (options, { count = 1, ...server } = {}, extra) => async (lab) => {
  const built = typeof options === "function" ? options() : options;
  return proxy(lab, await nodes(lab, count, server, extra), built);
};

/** The heartbeat is short, for the time of a test. */
const patience = { pingInterval: 1_000, pingTimeout: 1_500 };
const upload = { arguments: ["--payload", "120000", "--transport", "polling"], may: ["D16"] };
/** Lets 50 kB pass in a second. */
function slowed(req) {
  if (!(Number(req.headers["content-length"]) > 10_000)) return;
  const { pipe } = req;
  req.pipe = async (to) => {
    req.pipe = pipe;
    for await (const chunk of req) {
      for (let i = 0; i < chunk.length && !to.destroyed; i += 5_000) {
        to.write(chunk.subarray(i, i + 5_000));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    to.end();
  };
}

const hops = [
  setup("proxy", { start: before({}) }),
  ...[
    ["drops-upgrade", { drop: (name) => name === "upgrade" }],
    ["connection-close", { drop: (name) => name === "connection", add: "Connection: close\r\n" }],
    ["http10", { version: "1.0", drop: (name) => name === "connection" || name === "upgrade", add: "Connection: close\r\n" }],
  ].map(([name, head]) =>
    setup(name, { twin: "proxy", expect: ["D12"], may: ["D13"], not: ["D10", "D15"], start: before({ head }), sees: staysOnPolling() }),
  ),
  // Costs a connection for each request and breaks nothing.
  setup("closes-after-each-answer", {
    twin: "proxy",
    start: before({ answer: (from, res) => pass(from, res, { headers: { ...from.headers, connection: "close" } }) }),
  }),
  setup("body-uncapped", { arguments: ["--payload"], start: before({}) }),
  setup("body-capped", {
    twin: "body-uncapped",
    arguments: ["--payload"],
    expect: ["D18"],
    start: before({
      early(req, res) {
        if (!(Number(req.headers["content-length"]) > 65_536)) return false;
        req.resume();
        page(res, 413, "413 Request Entity Too Large", { server: "nginx/1.24.0", connection: "close" });
        return true;
      },
    }),
    sees: async (url) => {
      const { socket, error } = await attempt(url, { transports: ["polling"] });
      assert.equal(error, undefined);
      const lost = new Promise((resolve) => socket.on("disconnect", (reason, details) => resolve([reason, details.description])));
      socket.emit("ask", "x".repeat(100_000));
      assert.deepEqual(await lost, ["transport error", 413]);
    },
  }),
  // A firewall that looks into WebSockets, and ends those that carry much.
  setup("websocket-capped", {
    twin: "body-uncapped",
    arguments: ["--payload"],
    expect: ["D18"],
    start: before({
      tunnel(client, backend) {
        join(client, backend);
        let sum = 0;
        client.on("data", (bytes) => (sum += bytes.length) > 65_536 && client.destroy());
      },
    }),
    sees: isThrownOut("transport close", { transports: ["websocket"], says: "x".repeat(100_000) }),
  }),
  setup("answers-late", {
    twin: "proxy",
    expect: ["D14"],
    not: ["D12"],
    // The head at once, the body when the buffer's time is over.
    start: before({
      answer(from, res) {
        res.writeHead(from.statusCode, from.headers);
        res.flushHeaders();
        setTimeout(() => from.pipe(res), 300);
      },
    }),
    sees: async (url) => {
      const res = await fetch(new URL(HANDSHAKE, url));
      const head = performance.now();
      assert.match(await res.text(), /^0/);
      assert.ok(performance.now() - head > 200, "the body came with the head");
    },
  }),
  setup("lively-proxy", { start: before({}, lively) }),
  setup("read-timeout", {
    twin: "lively-proxy",
    expect: ["D14"],
    not: ["D12"],
    start: before({
      early(req, res) {
        setTimeout(() => res.headersSent || page(res, 504, "504 Gateway Time-out", { server: "nginx/1.24.0" }), 700).unref();
        return false;
      },
      answer: (from, res, { headers } = {}) => res.headersSent || pass(from, res, { headers: headers ?? from.headers }),
    }, lively),
    sees: isThrownOut("transport error", { transports: ["polling"] }),
  }),
  setup("tunnel-timeout", {
    twin: "lively-proxy",
    expect: ["D16"],
    may: ["D17"],
    not: ["D12", "D14"],
    start: before({
      tunnel(client, backend) {
        join(client, backend);
        client.setTimeout(700, () => client.destroy());
      },
    }, lively),
    sees: isThrownOut("transport close", { transports: ["websocket"] }),
  }),
  setup("soaked", { arguments: ["--soak", "4"], start: before({}) }),
  setup("idle-timeout", {
    twin: "soaked",
    arguments: ["--soak", "4"],
    expect: ["D17"],
    not: ["D12", "D14", "D16"],
    start: before({
      tunnel(client, backend) {
        join(client, backend);
        client.setTimeout(2_500, () => client.destroy());
      },
    }),
    sees: isThrownOut("transport close", { transports: ["websocket"] }),
  }),
  // As with autoscaling: every connection ends when its time is over.
  setup("life-timeout", {
    twin: "soaked",
    arguments: ["--soak", "4"],
    expect: ["D17"],
    not: ["D12", "D14", "D16"],
    start: before({
      tunnel(client, backend) {
        join(client, backend);
        setTimeout(() => client.destroy(), 1_500).unref();
      },
    }),
    sees: isThrownOut("transport close", { transports: ["websocket"] }),
  }),
  setup("upload", { ...upload, start: before({}, patience) }),
  setup("slow-upload", {
    ...upload,
    twin: "upload",
    expect: ["D18"],
    start: before({ early: (req) => (slowed(req), false) }, patience),
    sees: isThrownOut("ping timeout|transport (close|error)", { transports: ["polling"], says: "x".repeat(300_000) }),
  }),
  // The same with this project's server.
  ...[["ours-upload", {}], ["ours-slow-upload", { early: (req) => (slowed(req), false) }]].map(([name, hop], isSlow) =>
    setup(name, {
      ...upload,
      missing: noOurs,
      twin: "ours-upload",
      expect: isSlow ? ["D18"] : [],
      start: async (lab) => proxy(lab, [await ours(lab, patience)], hop),
      sees: isSlow
        ? isThrownOut("ping timeout|transport (close|error)", { transports: ["polling"], says: "x".repeat(300_000) })
        : connects({ ask: false }),
    }),
  ),
  ...[["backend-too", { transports: ["polling"] }, {}, []], ["proxy-at-fault", {}, { head: { drop: (name) => name === "upgrade" } }, ["D12", "D26"]]].map(
    ([name, options, hop, expect]) =>
      setup(name, {
        twin: "proxy",
        arguments: ["--backend", "{backend}"],
        expect: expect.length ? expect : ["D09"],
        informs: expect.length ? [] : ["D26"],
        start: async (lab) => {
          const port = await reference(lab, options);
          return { url: await proxy(lab, [port], hop), backend: `http://${HOST}:${port}` };
        },
        sees: expect.length ? staysOnPolling() : connects({ over: "polling" }),
      }),
  ),
  setup("backend", {
    arguments: ["--backend", "{backend}"],
    start: async (lab) => {
      const port = await reference(lab);
      return { url: await proxy(lab, [port]), backend: `http://${HOST}:${port}` };
    },
  }),
  setup("cache", {
    twin: "proxy",
    expect: ["D14"],
    may: ["D05"],
    not: ["D06", "D10"],
    // Without the query's "t", which is what caches are told to ignore, all handshakes are one.
    start: before(() => {
      const kept = new Map();
      const since = Date.now();
      const key = ({ url }) => url.replace(/[?&]t=[^&]*/, "");
      return {
        early(req, res) {
          const found = req.method === "GET" && !req.url.includes("sid=") && kept.get(key(req));
          if (!found) return false;
          res.writeHead(200, { ...found.headers, age: `${1 + Math.floor((Date.now() - since) / 1000)}`, "x-cache": "HIT", "cf-cache-status": "HIT" });
          res.end(found.body);
          return true;
        },
        answer(from, res, { req }) {
          if (req.url.includes("sid=") || from.statusCode !== 200) return pass(from, res);
          const chunks = [];
          from.on("data", (chunk) => chunks.push(chunk));
          from.on("end", () => {
            const body = Buffer.concat(chunks);
            const headers = { "content-type": from.headers["content-type"], "content-length": body.length };
            kept.set(key(req), { headers, body });
            res.writeHead(200, { ...headers, "x-cache": "MISS", "cf-cache-status": "MISS" });
            res.end(body);
          });
        },
      };
    }),
    sees: async (url) => {
      const sid = async () => (await (await fetch(new URL(HANDSHAKE, url))).text());
      assert.equal(await sid(), await sid());
    },
  }),
];

/** The next backend, in turn. */
const inTurn = (count) => {
  let turn = 0;
  return () => turn++ % count;
};
const atRandom = (count) => () => randomInt(count);
const bySource = (count) => ({ socket }) => [...socket.remoteAddress].reduce((sum, c) => sum + c.charCodeAt(0), 0) % count;
/** As an AWS load balancer: the cookie names the backend, and who has none gets the next one. */
const byCookie = (count, attributes = "") => {
  const targets = new Map();
  const next = inTurn(count);
  return (req, res) => {
    const [, had] = /AWSALB=([^;]+)/.exec(req.headers.cookie ?? "") ?? [];
    const target = targets.get(had) ?? next();
    const cookie = randomUUID();
    targets.set(cookie, target);
    res.setHeader("set-cookie", `AWSALB=${cookie}; Path=/${attributes}`);
    return target;
  };
};
/** The cookies of the load balancer and the headers of the server. */
const withCookies = (from, res) => {
  for (const [name, value] of Object.entries(from.headers)) if (name !== "set-cookie") res.setHeader(name, value);
  res.writeHead(from.statusCode);
  from.pipe(res);
};
const spread = (route, count = 2) => before(() => ({ route: route(count), answer: withCookies }), { count });

/** A server that offers recovery, and says something to whoever connects. */
const recovering = [
  { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } },
  { prepare: (io) => io.on("connection", (socket) => socket.emit("welcome", 1)) },
];
const comesBack = (recovered) => async (url) => {
  const { socket, error } = await attempt(url, { transports: ["websocket"], reconnection: true, reconnectionDelay: 10 });
  assert.equal(error, undefined);
  if (!socket._lastOffset) await new Promise((resolve) => socket.once("welcome", resolve));
  const again = new Promise((resolve) => socket.once("connect", resolve));
  socket.io.engine.close();
  await again;
  const found = socket.recovered;
  socket.close();
  assert.equal(found, recovered);
};
const recovery = [
  // The longest examination that asks for nothing costly.
  setup("recovery-and-more", {
    arguments: ["--origin", ORIGIN, "--header", "X-Key: a1b2c3"],
    may: ["D25"],
    not: ["D27"],
    start: before({}, { ...recovering[0], allowEIO3: true, cors: { origin: ORIGIN, credentials: true } }, recovering[1]),
    sees: comesBack(true),
  }),
  ...[["recovery", 1, true], ["recovery-elsewhere", 2, false]].map(([name, count, recovered]) =>
    setup(name, {
      twin: "recovery",
      arguments: ["--transport", "websocket"],
      expect: recovered ? [] : ["D27"],
      not: ["D10", "D12"],
      start: async (lab) => proxy(lab, await nodes(lab, count, ...recovering), { route: inTurn(count) }),
      sees: comesBack(recovered),
    }),
  ),
];

const NONE = "; SameSite=None; Secure";
const allowing = { origin: "https://app.example.com", credentials: true };
const sticky = [
  setup("sticky-source", { start: spread(bySource) }),
  ...[["round-robin-2", inTurn, 2], ["round-robin-3", inTurn, 3], ["random-2", atRandom, 2]].map(([name, route, count]) =>
    setup(name, { twin: "sticky-source", expect: ["D10"], may: ["D13"], not: ["D12", "D15"], start: spread(route, count), sees: losesSessions }),
  ),
  setup("websocket-elsewhere", {
    twin: "sticky-source",
    expect: ["D10"],
    may: ["D13"],
    not: ["D12"],
    start: spread(() => (req) => (req.headers.upgrade ? 1 : 0)),
    sees: async (url) => {
      await connects({ transports: ["websocket"] })(url);
      const { socket, error, upgrade } = await attempt(url);
      assert.equal(error, undefined);
      assert.equal(await upgrade, "none");
      socket.close();
    },
  }),
  setup("sticky-cookie-kept", {
    arguments: ["--origin", "{origin}"],
    may: ["D10", "D25"],
    start: spread(byCookie),
    // The official client for Node.js has a cookie jar, if it is told to.
    sees: connects({ withCredentials: true }),
  }),
  setup("sticky-cookie", { twin: "sticky-cookie-kept", expect: ["D10"], not: ["D12"], start: spread(byCookie), sees: losesSessions }),
  ...[
    ["sticky-cookie-cross-site-allowed", NONE, allowing, []],
    ["sticky-cookie-cross-site", "", allowing, ["D11"]],
    ["sticky-cookie-cross-site-without-credentials", NONE, { origin: "*" }, ["D11"]],
  ].map(([name, attributes, cors, expect]) =>
    setup(name, {
      twin: "sticky-cookie-cross-site-allowed",
      arguments: ["--origin", allowing.origin, "--ca", certificates.root.file],
      expect,
      may: ["D10", "D25"],
      start: async (lab) => {
        const ports = await nodes(lab, 2, { cors });
        return proxy(lab, ports, { tls: certificates.good.tls(), route: byCookie(2, attributes), answer: withCookies });
      },
      sees: async (url) => {
        const ca = readFileSync(certificates.root.file);
        await connects({ ca, withCredentials: true })(url);
        const res = await new Promise((resolve) => https.get(new URL(HANDSHAKE, url), { ca, headers: { origin: allowing.origin } }, resolve));
        res.resume();
        const crosses = /SameSite=None; Secure/.test(res.headers["set-cookie"][0]);
        const isAllowed = readable({ headers: new Headers({ ...res.headers, "set-cookie": "" }) }, allowing.origin, true);
        assert.equal(crosses && isAllowed, expect.length === 0);
      },
    }),
  ),
];

/** Sends every request that the test picks to another place. */
const redirecting = (status, to) => async (lab) => {
  const port = await reference(lab);
  return proxy(lab, [port], {
    early(req, res) {
      const location = to(req, port);
      if (!location) return false;
      res.writeHead(status, { location, "content-length": 0 });
      res.end();
      return true;
    },
    tunnel(socket, up) {
      up.destroy();
      socket.end(`HTTP/1.1 ${status} Moved\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
    },
  });
};
const moved = ({ url }, port) => `http://${HOST}:${port}${url}`;
const withoutSlash = ({ url }) => (url.startsWith("/socket.io/") ? url.replace("/socket.io/", "/socket.io") : undefined);
const redirects = [
  ...[301, 302, 307, 308].map((status) =>
    setup(`redirect-${status}`, {
      twin: "proxy",
      expect: ["D05"],
      not: ["D07", "D10", "D12"],
      start: redirecting(status, moved),
      sees: all(
        answers(HANDSHAKE, {}, (res) => assert.deepEqual([res.status, res.headers.has("location")], [status, true])),
        fails("websocket error", { transports: ["websocket"] }),
      ),
    }),
  ),
  setup("redirect-slash", {
    twin: "proxy",
    expect: ["D05"],
    not: ["D07", "D12"],
    start: redirecting(308, withoutSlash),
    sees: all(
      answers(HANDSHAKE, {}, (res) => assert.equal(res.headers.get("location"), "/socket.io?EIO=4&transport=polling")),
      fails(/xhr poll error/),
    ),
  }),
];

const browser = { arguments: ["--origin", ORIGIN], may: ["D25"] };
const exact = { cors: { origin: ORIGIN, credentials: true } };
const read = (path, allowed) =>
  answers(path, { headers: { origin: ORIGIN } }, (res) => assert.equal(readable(res, ORIGIN), allowed, res.headers.get("access-control-allow-origin")));
const NOPE = `${HANDSHAKE}&sid=nope`;
const cors = [
  setup("cors-proxy", { ...browser, start: before({}, exact), sees: all(connects(), read(HANDSHAKE, true), read(NOPE, true)) }),
  setup("cors-not-on-errors", {
    ...browser,
    twin: "cors-proxy",
    expect: ["D23"],
    may: ["D25"],
    start: before({
      answer(from, res) {
        const headers = { ...from.headers };
        if (from.statusCode >= 400) for (const name of Object.keys(headers)) if (name.startsWith("access-control-")) delete headers[name];
        pass(from, res, { headers });
      },
    }, exact),
    sees: all(read(HANDSHAKE, true), read(NOPE, false)),
  }),
  setup("cors-twice", {
    ...browser,
    twin: "cors-proxy",
    expect: ["D20"],
    may: ["D21", "D22", "D23", "D25"],
    start: before({
      answer: (from, res) => pass(from, res, { headers: { ...from.headers, "access-control-allow-origin": [ORIGIN, ORIGIN] } }),
    }, exact),
    sees: read(HANDSHAKE, false),
  }),
];

const limits = [
  setup("forbidden-after-12", {
    twin: "cors-proxy",
    arguments: ["--origin", ORIGIN, "--header", "X-Key: a1b2c3"],
    expect: ["D29"],
    may: ["D25"],
    not: ["D10", "D12", "D13", "D21", "D23"],
    start: before(() => {
      let count = 0;
      return { early: (req, res) => ++count > 12 && (page(res, 403, "403 Forbidden"), true) };
    }, exact),
    sees: async (url) => {
      const statuses = [];
      for (let i = 0; i < 14; i++) statuses.push((await fetch(new URL(HANDSHAKE, url))).status);
      assert.deepEqual([statuses[0], statuses[13]], [200, 403]);
    },
  }),
  setup("limited-after-12", {
    twin: "proxy",
    expect: ["D29"],
    inconclusive: true,
    not: ["D10", "D12"],
    start: before(() => {
      let count = 0;
      return { early: (req, res) => ++count > 12 && (page(res, 429, "429 Too Many Requests", { "retry-after": "30" }), true) };
    }),
    sees: async (url) => {
      const statuses = [];
      for (let i = 0; i < 14; i++) statuses.push((await fetch(new URL(HANDSHAKE, url))).status);
      assert.deepEqual([statuses[0], statuses[13]], [200, 429]);
    },
  }),
];

export const proxies = [...hops, ...sticky, ...recovery, ...redirects, ...cors, ...limits];
