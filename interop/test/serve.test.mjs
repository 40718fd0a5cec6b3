// `sio serve` as its operator sees it. The reference has no such thing: skipped there.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { io } from "socket.io-client";
import ioV2 from "socket.io-client-v2";
import { get, isReference, once, within } from "../harness.mjs";

const sio = join(dirname(dirname(process.env.SIO_SERVER ?? "")), "sio");
const skip = isReference || !existsSync(sio) ? "there is no sio here" : false;

/** Runs `sio serve` and ends it; its log is read line by line. */
const serving = (args, test) => async () => {
  const words = ["serve", "--port", "0", "--metrics", "127.0.0.1:0", "--log-format", "json", ...args];
  const child = spawn(sio, words, { stdio: ["ignore", "ignore", "pipe"] });
  const exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  const lines = [];
  const waiting = [];
  createInterface({ input: child.stderr }).on("line", (text) => {
    const line = JSON.parse(text);
    lines.push(line);
    waiting.forEach((look) => look(line));
  });
  const logged = (test) =>
    within(new Promise((resolve) => {
      waiting.push((line) => test(line) && resolve(line));
      lines.forEach((line) => test(line) && resolve(line));
    }), "a line in the log");
  const portOf = async (message) => {
    const { fields } = await logged(({ fields }) => fields.message.startsWith(message));
    return Number(fields.address.split(":").at(-1));
  };
  try {
    const watch = { port: await portOf("answering") };
    const server = { port: await portOf("serving") };
    server.url = `http://127.0.0.1:${server.port}`;
    await test({ server, watch, child, exited, lines, logged });
  } finally {
    child.kill("SIGKILL");
    await exited;
  }
};

const lacksNats = spawnSync("nats-server", ["--version"]).error ? "there is no nats-server here" : false;

/** A NATS for as long as the test runs, on a port that it chooses itself. */
const withNats = (test) => async () => {
  const nats = spawn("nats-server", ["--addr", "127.0.0.1", "--port", "-1"], { stdio: ["ignore", "ignore", "pipe"] });
  const exited = new Promise((resolve) => nats.once("exit", resolve));
  const address = new Promise((resolve) =>
    createInterface({ input: nats.stderr }).on("line", (line) => {
      const found = line.match(/Listening for client connections on (\S+)/);
      if (found) resolve(found[1]);
    }),
  );
  try {
    await test(`nats://${await within(address, "a NATS")}`);
  } finally {
    nats.kill("SIGKILL");
    await exited;
  }
};

const connected = async (server, options = {}) => {
  const socket = io(server.url, { forceNew: true, transports: ["websocket"], reconnection: false, ...options });
  await once(socket, "connect");
  return socket;
};

describe("sio serve", { skip, concurrency: true }, () => {
  it("answers those who watch it", serving(["--allow-eio3"], async ({ server, watch }) => {
    const value = async (line) => {
      const { body } = await get(watch, "/metrics");
      return Number(body.split("\n").find((found) => found.startsWith(`${line} `))?.split(" ").at(-1));
    };
    assert.equal((await get(watch, "/healthz")).body, "ok");
    assert.equal((await get(watch, "/readyz")).status, 200);
    assert.match((await get(watch, "/metrics")).headers["content-type"], /^text\/plain; version=0\.0\.4/);
    const socket = await connected(server);
    const old = ioV2(server.url, { forceNew: true, transports: ["websocket"] });
    await once(old, "connect");
    assert.equal(await value('sio_connections{transport="websocket",eio="4"}'), 1);
    assert.equal(await value('sio_connections{transport="websocket",eio="3"}'), 1);
    await get(server, "/socket.io/?EIO=4&transport=polling&sid=unknown");
    assert.equal(await value('sio_handshakes_total{result="refused",code="1"}'), 1);
    assert.equal(await value('sio_handshakes_total{result="opened"}'), 2);
    socket.emit("no such event");
    socket.disconnect();
    while ((await value('sio_disconnects_total{reason="client namespace disconnect"}')) !== 1);
    assert.equal(await value('sio_events_problem_total{problem="no handler"}'), 1);
    old.close();
    // The paths of the watchers are not the world's.
    assert.equal((await get(server, "/metrics")).status, 404);
  }));

  it("M37 drains when it is asked to end", serving(["--drain", "1"], async ({ server, watch, child, exited }) => {
    const sockets = await Promise.all(Array.from({ length: 20 }, () => connected(server)));
    const gone = sockets.map((socket) => once(socket, "disconnect"));
    child.kill("SIGTERM");
    const start = Date.now();
    while ((await get(watch, "/readyz")).status !== 503);
    const refused = await get(server, "/socket.io/?EIO=4&transport=polling");
    assert.deepEqual([refused.status, refused.headers["retry-after"]], [503, "5"]);
    const reasons = (await Promise.all(gone)).map(([reason]) => reason);
    assert.deepEqual([...new Set(reasons)], ["transport close"]);
    assert.ok(Date.now() - start > 500, "not all at once");
    assert.equal(await within(exited), 0);
  }));

  it("ends at once when it is asked twice", serving(["--drain", "600"], async ({ server, watch, child, exited }) => {
    await Promise.all(Array.from({ length: 5 }, () => connected(server)));
    child.kill("SIGTERM");
    while ((await get(watch, "/readyz")).status !== 503);
    child.kill("SIGTERM");
    assert.equal(await within(exited), 0);
  }));

  it("M31 a storm of refusals is a few lines", serving([], async ({ server, lines, logged }) => {
    const one = () => get(server, "/socket.io/?EIO=4&transport=polling&sid=elsewhere");
    for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 50 }, one));
    const line = await logged(({ level }) => level === "WARN");
    assert.equal(line.fields.code, 1);
    assert.match(line.fields.message, /sticky sessions/);
    assert.equal(lines.filter(({ level }) => level === "WARN").length, 1);
  }));

  it("joins others through NATS", { skip: lacksNats }, withNats((nats) =>
    serving(["--nats", nats], ({ server: one }) =>
      serving(["--nats", nats], async ({ server: other }) => {
        const [a, b] = [await connected(one), await connected(other)];
        for (const [name, socket] of Object.entries({ a, b })) {
          assert.equal((await socket.emitWithAck("join", { name, room: "room" })).ok, true);
        }
        const heard = once(b, "message");
        a.emit("message", { text: "from the other server" });
        assert.equal((await heard)[0].text, "from the other server");
        a.close();
        b.close();
      })(),
    )(),
  ));

  it("S060 lets clients go on where they were", serving(["--recovery", "60"], async ({ server }) => {
    const socket = await connected(server, { reconnection: true, reconnectionDelay: 10 });
    const { id } = socket;
    socket.io.engine.close();
    await once(socket, "connect");
    assert.deepEqual([socket.recovered, socket.id], [true, id]);
    socket.disconnect();
  }));
});
