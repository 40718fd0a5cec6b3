// The page of `sio serve` in a browser: two people in a room.
//   node --test interop/chat/chat.test.mjs                                 on the reference
//   SIO_CHAT="target/debug/sio serve" node --test interop/chat/chat.test.mjs
// The command gets `--host 127.0.0.1 --port N`. SIO_CHROMIUM names another browser.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { deflateSync, crc32 } from "node:zlib";
import { chromium } from "playwright-core";

const REFERENCE = ["node", fileURLToPath(new URL("reference-server.mjs", import.meta.url))];
const COMMAND = process.env.SIO_CHAT?.split(" ") ?? REFERENCE;
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

let browser, port, server;
let contexts = [];
let complaints = [];

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

async function start() {
  const [program, ...args] = COMMAND;
  server = spawn(program, [...args, "--host", "127.0.0.1", "--port", String(port)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const socket = connect(port, "127.0.0.1");
    const open = await new Promise((done) => socket.on("connect", () => done(true)).on("error", () => done(false)));
    socket.destroy();
    if (open) return;
    await sleep(50);
  }
  throw new Error(`${COMMAND.join(" ")} does not listen`);
}

async function stop(signal = "SIGTERM") {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const gone = once(server, "exit");
  server.kill(signal);
  const impatience = setTimeout(() => server.kill("SIGKILL"), 5000);
  await gone;
  clearTimeout(impatience);
}

before(async () => {
  const executablePath = process.env.SIO_CHROMIUM ?? "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, headless: true, args: FLAGS });
});
after(() => browser.close());
beforeEach(async () => {
  port = await freePort();
  complaints = [];
  await start();
});
afterEach(async () => {
  for (const context of contexts.splice(0)) await context.close();
  await stop();
});

async function visit(name, room, options = {}) {
  const context = await browser.newContext(options.context);
  contexts.push(context);
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (line) => {
    // A browser reports a connection that fails by itself.
    if (line.type() === "error" && !/Failed to load resource|WebSocket connection/.test(line.text())) {
      complaints.push(line.text());
    }
  });
  await options.prepare?.(page);
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.fill("#name", name);
  await page.fill("#room", room);
  await page.press("#room", "Enter");
  await page.locator("#send:enabled").waitFor();
  return page;
}

const says = (page, text) => page.locator(".bubble", { hasText: text }).waitFor();
const notes = (page, text) => page.locator(".note", { hasText: text }).last().waitFor();
const onWebSocket = (page) => page.locator('#transport[data-transport="websocket"]').waitFor();
const names = (page) => page.locator("#users .who").allTextContents();

async function post(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

async function eventually(check) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await check();
    } catch (error) {
      if (attempt === 100) throw error;
      await sleep(50);
    }
  }
}

// A picture of noise, whose size compression cannot change.
function png(side) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const length = Buffer.alloc(4);
    const sum = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 2], 8);
  const row = () => Buffer.concat([Buffer.of(0), randomBytes(side * 3)]);
  const pixels = deflateSync(Buffer.concat(Array.from({ length: side }, row)));
  const signature = Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", Buffer.alloc(0))]);
}

// The bytes behind the picture that a page shows.
async function shown(page) {
  const picture = page.locator(".picture img");
  await picture.waitFor();
  await eventually(async () => assert.ok(await picture.evaluate((image) => image.complete && image.naturalWidth > 0)));
  // The policy of the page forbids it to fetch a blob, so the picture is drawn to read its pixels.
  return picture.evaluate(async (image) => {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let text = "";
    for (let at = 0; at < data.length; at += 0x8000) text += String.fromCharCode(...data.subarray(at, at + 0x8000));
    return { bytes: Number(image.dataset.bytes), width: canvas.width, pixels: btoa(text) };
  });
}
const digest = (text) => createHash("sha256").update(text).digest("hex");

test("two people in a room read each other and see who is there", async () => {
  const ada = await visit("Ada", "lobby");
  assert.ok(await ada.locator("#alone").isVisible());
  const bob = await visit("Bob", "lobby");
  await notes(ada, "Bob joined");
  assert.ok(await ada.locator("#alone").isHidden());
  for (const page of [ada, bob]) {
    await eventually(async () => assert.deepEqual((await names(page)).sort(), ["Ada", "Bob"]));
  }

  await post(ada, "hello <b>Bob</b> — ä 🦦");
  await says(bob, "hello <b>Bob</b> — ä 🦦");
  await ada.locator(".own .tick", { hasText: "✓" }).waitFor();
  await post(bob, "see https://example.org/a.");
  await says(ada, "see https://example.org/a.");
  assert.equal(await ada.locator(".bubble a").getAttribute("href"), "https://example.org/a");

  await bob.context().close();
  contexts = contexts.filter((context) => context !== bob.context());
  await notes(ada, "Bob left");
  await eventually(async () => assert.deepEqual(await names(ada), ["Ada"]));
  assert.deepEqual(complaints, []);
});

test("a typing notice appears and goes", async () => {
  const ada = await visit("Ada", "lobby");
  const bob = await visit("Bob", "lobby");
  await Promise.all([onWebSocket(ada), onWebSocket(bob)]);
  await ada.locator("#text").pressSequentially("well");
  await bob.locator("#typing", { hasText: "Ada is typing" }).waitFor();
  await eventually(async () => assert.equal(await bob.locator("#typing").textContent(), ""));
  assert.deepEqual(complaints, []);
});

test("the transport goes from polling to websocket and messages pass throughout", async () => {
  const ada = await visit("Ada", "lobby");
  const transports = [];
  const bob = await visit("Bob", "lobby", {
    prepare: async (page) => {
      await page.exposeFunction("tell", (name) => transports.push(name));
      await page.addInitScript(() => addEventListener("DOMContentLoaded", () => {
        const shown = document.getElementById("transport");
        new MutationObserver(() => shown.dataset.transport && globalThis.tell(shown.dataset.transport))
          .observe(shown, { attributeFilter: ["data-transport"] });
      }));
    },
  });
  for (let i = 0; i < 20; i += 1) await post(bob, `line ${i};`);
  await onWebSocket(bob);
  for (let i = 20; i < 30; i += 1) await post(bob, `line ${i};`);
  await says(ada, "line 29;");
  const lines = await ada.locator(".bubble p").allTextContents();
  assert.deepEqual(lines, Array.from({ length: 30 }, (_, i) => `line ${i};`));
  await eventually(() => assert.deepEqual(transports, ["polling", "websocket"]));
  assert.deepEqual(complaints, []);
});

for (const transport of ["websocket", "polling"]) {
  test(`a picture arrives as it was sent over ${transport}`, async () => {
    const prepare = async (page) => {
      if (transport === "polling") await page.addInitScript(() => delete globalThis.WebSocket);
    };
    const ada = await visit("Ada", "lobby", { prepare });
    const bob = await visit("Bob", "lobby", { prepare });
    if (transport === "websocket") await Promise.all([onWebSocket(ada), onWebSocket(bob)]);
    const buffer = png(200);
    await ada.setInputFiles("#file", { name: "noise.png", mimeType: "image/png", buffer });
    const [sent, received] = [await shown(ada), await shown(bob)];
    assert.equal(received.bytes, buffer.length);
    assert.equal(received.width, 200);
    assert.equal(digest(received.pixels), digest(sent.pixels));
    await ada.locator(".own .tick", { hasText: "✓" }).waitFor();
    assert.equal(await bob.locator("#transport").getAttribute("data-transport"), transport);
    assert.deepEqual(complaints, []);
  });
}

test("a large picture is made small before it is sent", async () => {
  const ada = await visit("Ada", "lobby");
  const bob = await visit("Bob", "lobby");
  const buffer = png(1800);
  assert.ok(buffer.length > 9_000_000);
  await ada.setInputFiles("#file", { name: "large.png", mimeType: "image/png", buffer });
  const received = await shown(bob);
  assert.ok(received.bytes < 500_000, `${received.bytes} bytes`);
  await ada.locator(".own .tick", { hasText: "✓" }).waitFor();
  assert.deepEqual(complaints, []);
});

test("pictures are taken from the clipboard and from a drag", async () => {
  const ada = await visit("Ada", "lobby");
  const bob = await visit("Bob", "lobby");
  const bytes = [...png(20)];
  for (const kind of ["paste", "drop"]) {
    await ada.evaluate(([kind, bytes]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], "dot.png", { type: "image/png" }));
      const event = kind === "paste"
        ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
        : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
      document.getElementById("text").dispatchEvent(event);
    }, [kind, bytes]);
  }
  await eventually(async () => assert.equal(await bob.locator(".picture img").count(), 2));
  assert.deepEqual(complaints, []);
});

test("another room is another conversation, and the first is kept", async () => {
  const ada = await visit("Ada", "lobby");
  const bob = await visit("Bob", "lobby");
  await post(ada, "in the lobby");
  await says(bob, "in the lobby");
  await bob.fill("#new-room-name", "garden & co");
  await bob.press("#new-room-name", "Enter");
  await notes(ada, "Bob left");
  await notes(bob, "You joined garden & co");
  assert.deepEqual(await names(bob), ["Bob"]);
  assert.equal(await bob.locator(".bubble").count(), 0);
  await post(ada, "not for the garden");
  await bob.locator(".room", { hasText: "lobby" }).click();
  await notes(ada, "Bob joined");
  await says(bob, "in the lobby");
  await post(ada, "welcome back");
  await says(bob, "welcome back");
  assert.equal(await bob.locator(".bubble", { hasText: "not for the garden" }).count(), 0);
  assert.deepEqual(complaints, []);
});

test("what was not read is counted in the title", async () => {
  const ada = await visit("Ada", "lobby");
  const bob = await visit("Bob", "lobby");
  await bob.evaluate(() => {
    document.hasFocus = () => false;
  });
  await post(ada, "one");
  await post(ada, "two");
  await eventually(async () => assert.equal(await bob.title(), "(2) lobby"));
  await bob.evaluate(() => {
    delete document.hasFocus;
    dispatchEvent(new Event("focus"));
  });
  await eventually(async () => assert.equal(await bob.title(), "lobby · sio chat"));
  assert.deepEqual(complaints, []);
});

for (const signal of ["SIGTERM", "SIGKILL"]) {
  test(`a server that ends by ${signal} and starts again has everybody back`, async () => {
    const ada = await visit("Ada", "lobby");
    const bob = await visit("Bob", "lobby");
    await Promise.all([onWebSocket(ada), onWebSocket(bob)]);
    await stop(signal);
    for (const page of [ada, bob]) {
      await page.locator('body:not([data-state="online"])').waitFor();
      await notes(page, "The connection was lost: transport ");
    }
    assert.ok(await ada.locator("#send").isDisabled());
    await ada.locator("#state-detail", { hasText: "the server cannot be reached" }).waitFor();
    await start();
    for (const page of [ada, bob]) {
      await notes(page, "You are back");
      await eventually(async () => assert.deepEqual((await names(page)).sort(), ["Ada", "Bob"]));
      assert.equal(await page.locator("#sessions").textContent(), "2");
    }
    await post(ada, "still here");
    await says(bob, "still here");
    assert.deepEqual(complaints, []);
  });
}

test("a reload and leaving keep the room's list right", async () => {
  const ada = await visit("Ada", "lobby");
  const bob = await visit("Bob", "lobby");
  await bob.reload();
  await bob.locator("#send:enabled").waitFor();
  await eventually(async () => assert.deepEqual((await names(ada)).sort(), ["Ada", "Bob"]));
  await bob.click("#leave");
  await notes(ada, "Bob left");
  await eventually(async () => assert.deepEqual(await names(ada), ["Ada"]));
  assert.ok(await bob.locator("#welcome").isVisible());
  assert.deepEqual(complaints, []);
});
