// The page /_sio/doctor of `sio serve` in a real browser: each fault is named, and a healthy server is left alone.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";
import { HOST, Lab, reference } from "../faults/parts.mjs";
import { get, isReference, within } from "../harness.mjs";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const sio = process.env.SIO_BIN ?? join(dirname(dirname(process.env.SIO_SERVER ?? "")), "sio");
const skip = isReference || !existsSync(sio) ? "there is no sio here" : executablePath ? false : "no Chromium";

/** A `sio serve`; gives its port, and notes those of its watchers in `watchers`. */
const watchers = new Map();
async function serve(lab, ...args) {
  const child = spawn(sio, ["serve", "--port", "0", "--metrics", `${HOST}:0`, "--log-format", "json", ...args], { stdio: ["ignore", "ignore", "pipe"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  lab.atEnd(() => (child.kill("SIGKILL"), exited));
  const lines = createInterface({ input: child.stderr });
  const told = (message) =>
    within(new Promise((resolve) => {
      lines.on("line", (line) => {
        const { fields } = JSON.parse(line);
        if (fields.message.startsWith(message)) resolve(Number(fields.address.split(":").at(-1)));
      });
    }), message);
  const [port, watcher] = await Promise.all([told("serving"), told("answering")]);
  watchers.set(port, watcher);
  return port;
}

/** A proxy that chooses a port for each request; gives its own. */
async function proxy(lab, choose, { upgrades = () => true, tunnel = () => {}, late = () => {}, answer = (from, res) => from.pipe(res) } = {}) {
  const server = http.createServer((req, res) => {
    const { method, url: path, headers } = req;
    const up = http.request({ host: HOST, port: choose(req), method, path, headers, agent: false }, (from) => {
      if (res.headersSent) return;
      res.writeHead(from.statusCode, from.headers);
      answer(from, res, req);
    });
    up.on("error", () => res.destroy());
    late(res);
    res.on("close", () => up.destroy());
    req.pipe(up);
  });
  server.on("upgrade", (req, socket, head) => {
    if (!upgrades(req)) return socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    const up = net.connect(choose(req), HOST, () => {
      const lines = Object.entries(req.headers).map(([name, value]) => `${name}: ${value}\r\n`);
      up.write(`GET ${req.url} HTTP/1.1\r\n${lines.join("")}\r\n`);
      up.write(head);
      up.pipe(socket).pipe(up);
      tunnel(socket);
    });
    for (const one of [up, socket]) one.on("error", () => {}).on("close", () => (up.destroy(), socket.destroy()));
  });
  return lab.listen(server);
}

let browser;

/** Opens the page, examines, and gives what the page then shows. */
async function examine(port, { url, path, locale = "en-GB", prepare = () => {}, look = () => {} } = {}) {
  const context = await browser.newContext({ locale, viewport: { width: 360, height: 740 } });
  try {
    const page = await context.newPage();
    const wrong = [];
    page.on("pageerror", (error) => wrong.push(error.message));
    page.on("console", (message) => message.text().includes("Content Security Policy") && wrong.push(message.text()));
    await prepare(page);
    await page.goto(`http://${HOST}:${port}/_sio/doctor`);
    await page.waitForSelector("main[data-state=ready]");
    if (url) await page.fill("#url", url);
    if (path) await page.fill("#path", path);
    await page.press("#path", "Enter");
    await page.waitForSelector("main[data-state=done]", { timeout: 30_000 });
    assert.deepEqual(wrong, []);
    await look(page);
    return await page.evaluate(() => ({
      status: Object.fromEntries([...document.querySelectorAll("#checks li")].map((row) => [row.id.slice(6), row.dataset.status])),
      findings: [...document.querySelectorAll("article")].map((article) => article.dataset.id),
      titles: [...document.querySelectorAll("article h2")].map((heading) => heading.textContent),
      summary: document.querySelector("#status").textContent,
      report: document.querySelector("#report").value,
      language: document.documentElement.lang,
    }));
  } finally {
    await context.close();
  }
}

const test = (name, body) =>
  it(name, async () => {
    const lab = new Lab();
    try {
      await body(lab);
    } finally {
      await lab.stop();
    }
  });

describe("the page of the doctor", { skip, concurrency: 4 }, () => {
  before(async () => {
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"] });
  });
  after(() => browser?.close());

  test("a healthy server is left alone, on a phone, and the report can be copied", async (lab) => {
    const port = await serve(lab);
    let requests = 0;
    const prepare = (page) => page.on("request", (request) => request.url().includes("EIO=4") && requests++);
    const look = async (page) => {
      // Nothing is wider than the window, and each field has a name.
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
      for (const name of ["Address", "Path"]) assert.equal(await page.getByRole("textbox", { name }).count(), 1);
      await page.click("#copy");
      await page.waitForFunction(() => document.querySelector("#copied").textContent);
      if (process.env.SIO_SCREENSHOT) await page.screenshot({ path: `${process.env.SIO_SCREENSHOT}-doctor.png`, fullPage: true });
    };
    const { status, findings, summary, report, language } = await examine(port, { prepare, look });
    assert.deepEqual(findings, []);
    assert.deepEqual(status, { B01: "ok", D06: "ok", D20: "skipped", D10: "ok", D14: "ok", D12: "ok", D13: "ok", D16: "ok" });
    assert.deepEqual([summary, language], ["Healthy.", "en"]);
    assert.ok(requests > 10 && requests <= 40, `${requests} requests`);
    // No session is left open.
    const open = async () => (await get({ port: watchers.get(port) }, "/metrics")).body.match(/^sio_connections\{.* [1-9]\d*$/m);
    const none = async () => {
      while (await open());
    };
    await within(none(), "all sessions ended");
    assert.match(report, new RegExp(`^# sio doctor: http://${HOST}:${port}\n\nPage of http.*\n[^]*\\| D13 upgrade to WebSocket \\| ok \\|`));
  });

  test("WebSocket that a proxy blocks", async (lab) => {
    const server = await serve(lab);
    const { status, findings, report } = await examine(await proxy(lab, () => server, { upgrades: () => false }));
    assert.deepEqual(findings, ["D12"]);
    assert.deepEqual([status.D10, status.D14, status.D13, status.D16], ["ok", "ok", "skipped", "skipped"]);
    assert.match(report, /## D12 the WebSocket does not open\n[^]*A proxy removed the headers of the WebSocket handshake/);
    assert.match(report, /WebSocket → 1006/);
  });

  test("CORS that does not let the page in, while WebSocket does", async (lab) => {
    const [pages, other] = [await serve(lab), await serve(lab)];
    const { status, findings, titles } = await examine(pages, { url: `http://${HOST}:${other}/chat` });
    assert.deepEqual(findings, ["D20"]);
    assert.deepEqual(titles, [`D20 pages of http://${HOST}:${pages} may not read the server's answers`]);
    assert.deepEqual([status.D06, status.D10, status.D12, status.D16], ["inconclusive", "skipped", "ok", "ok"]);
    const allowing = await serve(lab, "--cors", `http://${HOST}:${pages}`);
    assert.deepEqual((await examine(pages, { url: `http://${HOST}:${allowing}` })).status.D20, "ok");
  });

  test("no stickiness, in Spanish", async (lab) => {
    const ports = [await serve(lab), await serve(lab)];
    let turn = 0;
    const { findings, titles, report, language } = await examine(await proxy(lab, () => ports[turn++ % 2]), { locale: "es-ES" });
    assert.deepEqual([findings, language], [["D10"], "es"]);
    assert.match(titles[0], /^D10 .* \d+ de \d+ /);
    assert.match(report, /Con varios servidores, active las sesiones adherentes o el reenvío .*, o use solo WebSocket/);
    assert.doesNotMatch(report, /"sid":"[^…]/);
  });

  test("a proxy that is impatient, and one that takes WebSocket of a session elsewhere", async (lab) => {
    const server = await serve(lab);
    const impatient = await proxy(lab, () => server, {
      tunnel: (socket) => setTimeout(() => socket.destroy(), 1_500),
      late: (res) => setTimeout(() => res.headersSent || res.writeHead(504).end(), 1_500),
    });
    const { findings, titles } = await examine(impatient);
    assert.deepEqual(findings.sort(), ["D14", "D16"]);
    assert.ok(titles.every((title) => /cut (off )?after \d/.test(title)), titles.join());
    const elsewhere = await proxy(lab, () => server, { upgrades: ({ url }) => !url.includes("sid=") });
    assert.deepEqual((await examine(elsewhere)).titles, ["D13 sessions cannot move to WebSocket: 1006"]);
  });

  test("polling only is no fault", async (lab) => {
    const pages = await serve(lab);
    const polling = await reference(lab, { transports: ["polling"], cors: { origin: "*" } });
    const { status, findings } = await examine(pages, { url: `http://${HOST}:${polling}` });
    assert.deepEqual([findings, status.D10, status.D12], [[], "ok", "skipped"]);
  });

  test("a page, nothing, an old server, a path of its own", async (lab) => {
    const pages = await serve(lab);
    const answering = (text) => lab.listen(http.createServer((_, res) => res.writeHead(200, { "access-control-allow-origin": "*" }).end(text)));
    const at = async (port, extra) => {
      const { titles, findings } = await examine(pages, { url: `http://${HOST}:${port}`, ...extra });
      assert.equal(findings.length, 1, titles.join());
      return titles[0];
    };
    assert.match(await at(await answering("<!doctype html>")), /^D06 a web page answers at \/socket\.io\//);
    assert.match(await at(await answering('97:0{"sid":"a"}2:40')), /^D28 the server is of Socket\.IO 1 or 2/);
    assert.match(await at(1), /^D06 this browser does not reach http:\/\/127\.0\.0\.1:1$/);
    const elsewhere = await serve(lab, "--path", "/live/io");
    assert.deepEqual((await examine(elsewhere)).findings, []);
    assert.match(await at(elsewhere, { path: "/socket.io" }), /^D20 /);
  });

  test("answers that are held back, and a script that replaces WebSocket", async (lab) => {
    const server = await serve(lab);
    const answer = (from, res, { url }) => {
      if (!url.includes("polling")) return from.pipe(res);
      res.flushHeaders();
      setTimeout(() => from.pipe(res), 400);
    };
    const late = await examine(await proxy(lab, () => server, { answer }));
    assert.deepEqual([late.findings, late.status.D14], [["D14"], "warning"]);
    const prepare = (page) => page.addInitScript(() => (window.WebSocket = class extends WebSocket {}));
    const { findings, titles } = await examine(server, { prepare });
    assert.deepEqual([findings, titles], [["B01"], ["B01 something in this browser has replaced WebSocket"]]);
  });

  test("has a strict policy, and can be left out", async (lab) => {
    const server = { port: await serve(lab) };
    const { status, headers } = await get(server, "/_sio/doctor");
    assert.equal(status, 200);
    assert.match(headers["content-security-policy"], /^default-src 'none'; script-src 'self'; .*frame-ancestors 'none'$/);
    const without = { port: await serve(lab, "--no-doctor") };
    for (const path of ["/_sio/doctor", "/_sio/doctor/texts.json"]) assert.equal((await get(without, path)).status, 404);
    assert.equal((await get(without, "/")).status, 200);
  });
});
