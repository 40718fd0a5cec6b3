// Chromium and a server under axum with TLS and HTTP/2: its WebSockets are streams of the connection
// that the page came over (RFC 8441).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";
import { Server, isReference, within } from "../harness.mjs";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const bundle = readFileSync(new URL("../node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url), "utf8");
/** A browser on a busy machine takes its time. */
const BROWSER = 30_000;
const skip = isReference ? "Node's server speaks HTTP/1.1" : executablePath ? false : "no Chromium";

describe("a page that came over HTTP/2", { skip }, () => {
  let browser, directory, tls;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "socketio-http2-"));
    tls = { cert: join(directory, "cert.pem"), key: join(directory, "key.pem") };
    const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
      "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", tls.key, "-out", tls.cert];
    execFileSync("openssl", request, { stdio: "pipe" });
    const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"];
    browser = await chromium.launch({ executablePath, args });
  });

  after(async () => {
    await browser?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  for (const [name, options, inUrl] of [
    ["directly", { transports: ["websocket"] }, /^CONNECT \S+transport=websocket(?!.*sid=)/],
    ["as an upgrade", {}, /^CONNECT \S+transport=websocket.*sid=/],
    ["with a subprotocol", { transports: ["websocket"], protocols: ["chat", "v2"] }, /^CONNECT /],
  ]) {
    it(`has a WebSocket ${name}`, async () => {
      const server = await Server.start({}, { http2: true, tls, middleware: "tell" });
      const context = await browser.newContext({ ignoreHTTPSErrors: true });
      try {
        const page = await context.newPage();
        await page.goto(`https://localhost:${server.port}/app`);
        await page.addScriptTag({ content: bundle });
        const result = await within(page.evaluate((options) => new Promise((resolve) => {
          const socket = io({ reconnection: false, ...options });
          socket.on("connect_error", (error) => resolve({ error: error.message }));
          socket.on("connect", async () => {
            const { engine } = socket.io;
            if (engine.transport.name !== "websocket") await new Promise((done) => engine.once("upgrade", done));
            const echo = new Promise((done) => socket.on("echo", (...args) => done(args)));
            socket.emit("echo", "ü".repeat(100_000), new Uint8Array([1, 2, 250]).buffer);
            const [text, bytes] = await echo;
            const { transport } = engine;
            const protocols = performance.getEntriesByType("navigation").map((entry) => entry.nextHopProtocol);
            const protocol = transport.ws.protocol;
            socket.on("disconnect", (reason) => resolve({
              length: text.length, bytes: [...new Uint8Array(bytes)], transport: transport.name, protocols, protocol, reason,
            }));
            socket.disconnect();
          });
        }), options), "an answer of the page", BROWSER);
        assert.deepEqual(result, {
          length: 100_000, bytes: [1, 2, 250], transport: "websocket", protocols: ["h2"],
          protocol: options.protocols?.[0] ?? "", reason: "io client disconnect",
        });
        await server.fact("request", (request) => inUrl.test(request));
        assert.equal((await server.fact("disconnect")).disconnect.reason, "client namespace disconnect");
      } finally {
        await context.close();
        await server.stop();
      }
    });
  }

  it("hears of the end", async () => {
    const server = await Server.start({ pingInterval: 100, pingTimeout: 1000 }, { http2: true, tls });
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    try {
      const page = await context.newPage();
      await page.goto(`https://localhost:${server.port}/app`);
      await page.addScriptTag({ content: bundle });
      const reason = page.evaluate(() => new Promise((resolve) => {
        const socket = io({ transports: ["websocket"], reconnection: false });
        socket.on("disconnect", resolve);
      }));
      await server.fact("connect");
      await server.stop();
      assert.match(await within(reason, "the end", BROWSER), /^transport (close|error)$/);
    } finally {
      await context.close();
      await server.stop();
    }
  });
});
