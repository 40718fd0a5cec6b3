// The official client with servers that route: behind load balancers without stickiness, and with.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, dirname } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { io } from "socket.io-client";
import { Lab, sparePort } from "../faults/parts.mjs";
import { certificates } from "../faults/tls.mjs";
import { absent, behind } from "../faults/real-proxies.mjs";
import { HANDSHAKE, isReference, once, post, Server, within } from "../harness.mjs";

const sio = process.env.SIO_BIN ?? join(dirname(dirname(process.env.SIO_SERVER ?? "")), "sio");
const skip = isReference ? "it runs with our servers" : false;
const ways = {
  polling: { transports: ["polling"] },
  "polling and the upgrade": {},
  WebSocket: { transports: ["websocket"] },
};
const SECRET = "the secret of all three";
const SIZE = 100_000;

/** Connected, and on WebSocket if that is wanted. */
const ready = async (socket) => {
  const failed = new Promise((_, reject) => socket.once("connect_error", reject));
  await Promise.race([once(socket, "connect"), failed]);
  const { engine, opts } = socket.io;
  if (!opts.transports && engine.transport.name !== "websocket") await once(engine, "upgrade");
};

async function withClients(count, url, options, test) {
  const sockets = Array.from({ length: count }, () => io(url, { forceNew: true, reconnection: false, ...options }));
  try {
    await Promise.all(sockets.map(ready));
    return await test(sockets);
  } finally {
    for (const socket of sockets) socket.close();
  }
}

/** Clients each of which gets back what it sends. */
const talk = (url, options) =>
  withClients(12, url, options, async (sockets) => {
    await Promise.all(
      sockets.map(async (socket, i) => {
        for (const value of ["text", i, { deep: [null, "ünï"] }, Buffer.from([1, 2, 3]), "x".repeat(SIZE), Buffer.alloc(SIZE, 7)]) {
          assert.deepEqual(await within(socket.emitWithAck("ack", value), "an ack"), value);
        }
        const burst = Array.from({ length: 20 }, (_, n) => within(socket.emitWithAck("ack", n), "an ack"));
        assert.deepEqual(await Promise.all(burst), Array.from({ length: 20 }, (_, n) => n));
      }),
    );
    return sockets.map(({ io }) => io.engine.transport.name);
  });

const balancers = [
  { name: "nginx, round-robin", kind: "nginx", file: "nginx-round-robin.conf", count: 3 },
  { name: "HAProxy, round-robin", kind: "haproxy", file: "haproxy-round-robin.conf", count: 3 },
  { name: "nginx, a server at random", kind: "nginx", file: "nginx-round-robin.conf", count: 3, changes: [["upstream socketio {", "upstream socketio {\n    random;"]] },
  { name: "nginx, sticky", kind: "nginx", count: 2, sticky: true },
  { name: "HAProxy, sticky", kind: "haproxy", count: 2, sticky: true },
];

for (const { name, kind, file, count, changes, sticky } of balancers) {
  describe(`servers that route behind ${name}`, { skip: skip || absent(kind) || false }, () => {
    const lab = new Lab();
    const servers = [];
    let url;

    before(async () => {
      for (let i = 0; i < count; i++) {
        servers.push(await Server.start({ pingInterval: 2_000, connectionStateRecovery: true }, { routing: SECRET }));
      }
      url = await behind(kind, changes, { file, nodes: async () => servers.map(({ port }) => port) })(lab);
    });
    after(async () => {
      await lab.stop();
      for (const server of servers) await server.stop();
    });

    for (const [way, options] of Object.entries(ways)) {
      it(`S095 ${way}: connects and is answered`, async () => {
        const transports = await talk(url, options);
        const expected = way === "polling" ? "polling" : "websocket";
        assert.deepEqual([...new Set(transports)], [expected]);
      });
    }

    it("S095 waits over polling for longer than a ping takes", () =>
      withClients(1, url, ways.polling, async ([socket]) => {
        for (let i = 0; i < 2; i++) await once(socket.io, "ping");
        assert.equal(await within(socket.emitWithAck("ack", 1), "an ack"), 1);
      }));

    if (sticky) return;
    it("S096 loses what a server that dies had or was passing on, and nothing else", () =>
      withClients(24, url, { ...ways.polling, reconnection: true, reconnectionDelay: 50 }, async (clients) => {
        const lost = [];
        for (const socket of clients) socket.on("disconnect", (reason) => lost.push(reason));
        await servers[0].stop();
        const answer = async (socket) => {
          // What was on its way when the server died is not answered; nothing is after the test's deadline.
          for (const end = Date.now() + 10_000; Date.now() < end;) {
            const found = await socket.timeout(1_000).emitWithAck("ack", 1).catch(() => undefined);
            if (found === 1) return found;
          }
        };
        // All are answered in the end, those of the dead server in a new session, and so are those whose request was passing
        // through it; who was lucky with both has not noticed.
        assert.deepEqual(await Promise.all(clients.map(answer)), clients.map(() => 1));
        assert.ok(lost.length > 0 && lost.length < clients.length, `${lost.length} were lost`);
        assert.deepEqual([...new Set(lost)], ["transport error"]);
      }));
  });
}

describe("examples/cluster/run", { skip: skip || !existsSync(sio) || (spawnSync("redis-server", ["--version"]).error && "there is no redis-server here") }, () => {
  for (const kind of ["nginx", "haproxy"]) {
    it(`S095 starts three servers behind ${kind}, whose clients hear each other`, { skip: absent(kind) }, async () => {
      const ports = [await sparePort(), await sparePort(), await sparePort()];
      const env = { ...process.env, SIO_BIN: sio, PORT: await sparePort(), REDIS_PORT: await sparePort(), NODE_PORTS: ports.join(" ") };
      const run = new URL("../../examples/cluster/run", import.meta.url).pathname;
      const child = spawn(run, [kind], { env, stdio: ["ignore", "pipe", "inherit"] });
      const exited = new Promise((resolve) => child.once("exit", resolve));
      try {
        const [line] = await within(new Promise((resolve) => createInterface({ input: child.stdout }).once("line", (...args) => resolve(args))), "started");
        const [url] = /http:\S+\//.exec(line);
        await withClients(6, url, {}, async (sockets) => {
          await Promise.all(sockets.map((socket, i) => within(socket.emitWithAck("join", { name: `guest ${i}`, room: "lobby" }), "joined")));
          const heard = sockets.slice(1).map((socket) => once(socket, "message"));
          sockets[0].emit("message", { text: "to all" });
          for (const [message] of await Promise.all(heard)) assert.equal(message.text, "to all");
        });
      } finally {
        child.kill("SIGTERM");
        assert.equal(await within(exited, "ended", 15_000), 0);
      }
    });
  }
});

describe("sio serve --advertise", { skip: skip || !existsSync(sio) }, () => {
  const serve = (...args) => {
    const { SIO_CLUSTER_SECRET: _, ...env } = process.env;
    return spawnSync(sio, ["serve", "--port", "0", ...args], { env, encoding: "utf8", timeout: 5_000 });
  };

  it("says what is missing", () => {
    const { key, chain } = certificates.good.files();
    const secret = ["--cluster-secret", SECRET];
    const tls = ["--tls-cert", chain, "--tls-key", key];
    for (const [args, message] of [
      [["--advertise", "127.0.0.1:3000"], /set SIO_CLUSTER_SECRET or --cluster-secret/],
      [secret, /--advertise/],
      [["--advertise", "127.0.0.1", ...secret], /--advertise <HOST:PORT>.*: write host and port/],
      [["--advertise", "127.0.0.1:3000", "--cluster-secret", "short"], /at least 16 bytes/],
      [["--advertise", "127.0.0.1:3000", ...secret, ...tls], /--cluster-listen/],
      [["--advertise", "127.0.0.1:3000", ...secret, "--proxy-protocol", "127.0.0.1"], /--cluster-listen/],
    ]) {
      const { status, stderr } = serve(...args);
      assert.notEqual(status, 0, args.join(" "));
      assert.match(stderr, message);
    }
  });

  it("S095 forwards to servers of TLS by their second listener", async () => {
    const lab = new Lab();
    const { key, chain } = certificates.good.files(lab);
    try {
      const servers = [];
      for (let i = 0; i < 2; i++) {
        const [port, internal] = [await sparePort(), await sparePort()];
        const cluster = ["--cluster-listen", `127.0.0.1:${internal}`, "--advertise", `127.0.0.1:${internal}`, "--cluster-secret", SECRET];
        const child = lab.spawn(sio, ["serve", "--port", `${port}`, "--tls-cert", chain, "--tls-key", key, ...cluster]);
        await lab.accepting(child, port);
        await lab.accepting(child, internal);
        servers.push({ port: internal, url: `https://127.0.0.1:${port}` });
      }
      const ca = certificates.root.file;
      const socket = io(servers[0].url, { ca: readFileSync(ca), transports: ["polling"], forceNew: true, reconnection: false });
      await once(socket, "connect");
      // Its polling goes on at the other server's address for the world.
      const { engine } = socket.io;
      const { port } = new URL(servers[1].url);
      engine.transport.opts.port = port;
      await within(socket.emitWithAck("ping"), "an ack by way of the other server");
      assert.equal((await post(servers[1], `${HANDSHAKE}&sid=${engine.id}`, "3")).body, "ok");
      socket.close();
    } finally {
      await lab.stop();
    }
  });
});
