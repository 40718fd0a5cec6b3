// A real browser: the official client's bundle on a page of another origin, and the chat of `sio serve`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import http from "node:http";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { chromium } from "playwright-core";
import { Server, isReference, within } from "../harness.mjs";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const bundle = readFileSync(new URL("../node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url));
const bundleV2 = readFileSync(new URL("../node_modules/socket.io-client-v2/dist/socket.io.js", import.meta.url));
let browser, pages, origin;

before(async () => {
  if (!executablePath) return;
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"];
  browser = await chromium.launch({ executablePath, args });
  pages = http.createServer((req, res) => {
    const script = { "/client.js": bundle, "/client-v2.js": bundleV2 }[req.url];
    const client = req.url === "/v2" ? "/client-v2.js" : "/client.js";
    res.setHeader("content-type", script ? "text/javascript" : "text/html");
    res.end(script ?? `<!doctype html><script src="${client}"></script>`);
  });
  await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${pages.address().port}`;
});

after(async () => {
  await browser?.close();
  pages?.close();
});

const skip = executablePath ? false : "no Chromium";

/** Connects from a page of another origin; what the client ended up with. */
async function connect(server, options, path = "") {
  const page = await browser.newPage();
  await page.goto(origin + path);
  const result = page.evaluate(
    ([url, options]) =>
      new Promise((resolve) => {
        const socket = io(url, { reconnection: false, ...options });
        socket.on("connect_error", (error) => resolve({ error: error.message }));
        socket.on("connect", async () => {
          // Version 2 knows no views.
          const bytes = new Uint8Array([1, 2, 250]).buffer;
          const echo = new Promise((done) => socket.on("echo", (...args) => done(args)));
          socket.emit("echo", "ü€", bytes);
          const [text, back] = await echo;
          const engine = socket.io.engine;
          const finish = () => resolve({ text, bytes: [...new Uint8Array(back)], transport: engine.transport.name });
          if (options.transports || engine.transport.name === "websocket") finish();
          else engine.once("upgrade", finish);
        });
      }),
    [server.url, options],
  );
  return within(result).finally(() => page.close());
}

describe("a page of another origin", { skip }, () => {
  for (const [name, options, transport] of [
    ["polling only", { transports: ["polling"] }, "polling"],
    ["WebSocket only", { transports: ["websocket"] }, "websocket"],
    ["upgrade", {}, "websocket"],
    ["polling with credentials", { transports: ["polling"], withCredentials: true }, "polling"],
  ]) {
    it(`E058 M30 is let in by CORS: ${name}`, async () => {
      const server = await Server.start({ cors: { origin: [origin], credentials: true }, cookie: true });
      assert.deepEqual(await connect(server, options), { text: "ü€", bytes: [1, 2, 250], transport });
      await server.stop();
    });
  }

  for (const [name, options, transport] of [
    ["polling", { transports: ["polling"] }, "polling"],
    ["JSONP, without CORS", { transports: ["polling"], forceJSONP: true }, "polling"],
    ["WebSocket", { transports: ["websocket"] }, "websocket"],
    ["upgrade", {}, "websocket"],
  ]) {
    it(`E055 M23 S084 version 2 of the client: ${name}`, async () => {
      const cors = options.forceJSONP ? {} : { cors: { origin: [origin], credentials: true } };
      const server = await Server.start({ allowEIO3: true, ...cors });
      assert.deepEqual(await connect(server, options, "/v2"), { text: "ü€", bytes: [1, 2, 250], transport });
      await server.stop();
    });
  }

  it("E060 M30 is not let in without CORS", async () => {
    const server = await Server.start();
    assert.deepEqual(await connect(server, { transports: ["polling"] }), { error: "xhr poll error" });
    await server.stop();
  });
});

describe("the chat of sio serve", { skip: skip || isReference }, () => {
  let sio, url;

  async function serve(port) {
    const command = process.env.SIO_SERVER.replace(/(examples\/)?interop_server$/, "sio");
    sio = spawn(command, ["serve", "--port", String(port)], { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: sio.stdout });
    url = await within(
      new Promise((resolve) => lines.on("line", (line) => line.includes("a chat") && resolve(line.match(/http\S+/)[0]))),
    );
  }

  before(() => serve(0));
  after(() => sio.kill("SIGKILL"));

  async function visit(name, room) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(url);
    await page.waitForFunction(() => document.querySelector("#transport").dataset.transport === "websocket");
    await page.fill("#name", name);
    await page.fill("#room", room);
    await page.click("#join button");
    await page.waitForFunction((name) => document.querySelector("#users").textContent.includes(`${name} (you)`), name);
    return page;
  }

  it("two people talk, see each other typing and share an image", async () => {
    const [ada, bob] = [await visit("Ada", "r1"), await visit("Bob", "r1")];
    await ada.waitForFunction(() => document.querySelector("#count").textContent === "2");
    await bob.type("#text", "hel");
    await ada.waitForFunction(() => document.querySelector("#typing").textContent === "Bob is typing …");
    await bob.fill("#text", "hello <b>Ada</b>");
    await bob.press("#text", "Enter");
    await ada.waitForSelector("li.other p");
    assert.equal(await ada.textContent("li.other p"), "hello <b>Ada</b>");
    await bob.waitForFunction(() => document.querySelector("li.own .tick").textContent === "✓");
    const png = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
    await ada.setInputFiles("#picture", { name: "dot.png", mimeType: "image/png", buffer: png });
    await bob.waitForFunction((bytes) => document.querySelector("li.other img")?.dataset.bytes === String(bytes), png.length);
    await bob.waitForFunction(() => document.querySelector("li.other img").naturalWidth === 1);
    await bob.fill("#room", "r2");
    await bob.click("#join button");
    await ada.waitForFunction(() => document.querySelector("#count").textContent === "1");
    if (process.env.SIO_SCREENSHOT) {
      await ada.screenshot({ path: `${process.env.SIO_SCREENSHOT}-desktop.png` });
      await ada.emulateMedia({ colorScheme: "dark" });
      await ada.setViewportSize({ width: 390, height: 760 });
      await ada.screenshot({ path: `${process.env.SIO_SCREENSHOT}-phone.png` });
    }
    await ada.context().close();
    await bob.context().close();
  });

  it("C046 M38 people are back after a restart of the server", async () => {
    const ada = await visit("Ada", "r3");
    const { port } = new URL(url);
    sio.kill("SIGINT");
    await within(new Promise((resolve) => sio.once("exit", resolve)), "the end of sio");
    assert.equal(sio.exitCode, 0);
    await ada.waitForFunction(() => document.querySelector("#status").dataset.state === "lost");
    await serve(port);
    await ada.waitForFunction(() => document.querySelector("#status").dataset.state === "connected");
    await ada.waitForFunction(() => document.querySelector("#users").textContent.includes("Ada (you)"));
    await ada.context().close();
  });
});
