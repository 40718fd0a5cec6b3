// Clients of other makes against the server under test: each case over each transport. What fails with the reference as well stands in `KNOWN`
// with its reason. At the end the table of all of them. (M26 M27)
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server, isReference } from "../harness.mjs";
import { KNOWN } from "../peers/known.mjs";
import { DEADLINE, MAKES, Peer, lacks, within } from "../peers/peers.mjs";
import { Wire } from "../peers/wire.mjs";

const WAYS = { polling: ["polling"], websocket: ["websocket"], default: undefined };
const MANY = 5_000;

const VALUES = [
  [],
  [null],
  [1],
  [true, false, null, 0, -1.5, "", 9_007_199_254_740_991],
  ["é€🦀\u2028\u0001\"\\\n\t/", "\u{10ffff}", "a\x1eb"],
  [{ a: [1, [2.5, { b: [] }]], c: { "": "", _: [[], {}] } }, [], {}],
  ["é".repeat(20_000)],
];
/** Bytes of every value. */
const bytes = (size) => Buffer.from(Array.from({ length: size }, (_, n) => (n * 7) % 256));

/** The next events of that name, which each make tells in the order in which it got them, or in none. */
async function all(peer, event, count, { unordered }) {
  const got = [];
  while (got.length < count) got.push(await peer.event(event));
  return unordered ? got.sort(([a], [b]) => a - b) : got;
}

const CASES = {
  async values({ connect }) {
    const peer = await connect();
    for (const args of VALUES) {
      peer.emit("echo", ...args);
      assert.deepEqual(await peer.event("echo"), args);
    }
  },

  async bytes({ connect }) {
    const peer = await connect();
    for (const size of [1, 57, 1_000, 1_000_000]) {
      peer.emit("echo", bytes(size));
      const [back] = await peer.event("echo");
      assert.ok(back.equals(bytes(size)), `${size} bytes`);
    }
    const mixed = [bytes(3), "between", { deep: [bytes(58), { er: bytes(1) }] }];
    peer.emit("echo", ...mixed);
    assert.deepEqual(await peer.event("echo"), mixed);
  },

  async "no bytes"({ connect }) {
    const peer = await connect();
    assert.deepEqual(await peer.ask("ack", bytes(0), "and", bytes(0)), [bytes(0), "and", bytes(0)]);
  },

  /** Emitted before the connection, if the client keeps it till then: it leaves with CONNECT's answer, and as much before an upgrade as after it. */
  async "bytes at once"({ open, connect, make }) {
    const peer = await (make.keeps ? open : connect)({ packets: MANY });
    for (let n = 0; n < 60; n++) peer.emit("echo", n, bytes(n * 3 + 1));
    const back = await all(peer, "echo", 60, make);
    back.forEach((args, n) => assert.deepEqual(args, [n, bytes(n * 3 + 1)]));
  },

  async acks({ connect }) {
    const peer = await connect();
    assert.deepEqual(await peer.ask("ack"), []);
    const several = ["é", 1, { a: [bytes(2)] }];
    assert.deepEqual(await peer.ask("ack", ...several), several);
    const numbers = Array.from({ length: 10 }, (_, n) => n);
    assert.deepEqual(await Promise.all(numbers.map((n) => peer.ask("ack", n))), numbers.map((n) => [n]));
    for (const value of [41, { bytes: bytes(60) }, "é"]) {
      peer.emit("ask", value, 0);
      assert.deepEqual(await peer.event("question"), [value]);
      assert.deepEqual(await peer.event("answered"), [null, value]);
    }
  },

  /** There and back while the transport changes, then from the server alone. */
  async order({ connect, server, way, make }) {
    const wire = await Wire.start(server.port, make.revision);
    try {
      const peer = await connect({ url: wire.url, packets: MANY });
      const numbers = Array.from({ length: MANY }, (_, n) => n);
      peer.count("echo", MANY);
      assert.deepEqual(await all(peer, "echo", MANY, make), numbers.map((n) => [n]));
      // Some clients try their transports in any order.
      if (way === "default" && !make.shuffles) assert.deepEqual(await peer.ask("transport"), ["websocket"]);
      peer.emit("many", MANY);
      assert.deepEqual(await all(peer, "n", MANY, make), numbers.map((n) => [n]));
      for (const event of ["echo", "n"]) {
        const start = `42["${event}",`;
        const sent = wire.seen.filter(({ from, packet }) => from === "server" && packet?.startsWith?.(start));
        assert.deepEqual(sent.map(({ packet }) => packet), numbers.map((n) => `${start}${n}]`));
      }
    } finally {
      wire.stop();
    }
  },

  /** More packets than python-socketio takes in a body. */
  async burst({ connect, make }) {
    const peer = await connect();
    peer.emit("many", 200);
    assert.deepEqual(await all(peer, "n", 200, make), Array.from({ length: 200 }, (_, n) => [n]));
    assert.deepEqual(await peer.ask("ack", "alive"), ["alive"]);
  },

  async namespaces({ connect }) {
    const peer = await connect({ namespaces: ["/", "/admin"] });
    const admin = peer.at("/admin");
    assert.deepEqual(await peer.ask("ack", 1), [1]);
    assert.deepEqual(await admin.ask("ack", 2), [2]);
    admin.emit("echo", bytes(4));
    assert.deepEqual(await admin.event("echo"), [bytes(4)]);
    admin.emit("leave me", false);
    await admin.disconnected();
    assert.deepEqual(await peer.ask("ack", "stays"), ["stays"]);
  },

  async refusal({ open, connect, make }) {
    const { why } = await open({ namespaces: ["/dyn-1"], auth: { refuse: "true" } }).at("/dyn-1").refused();
    assert.match(why, /refused/);
    const peer = (await connect({ namespaces: ["/dyn-1"] })).at("/dyn-1");
    assert.deepEqual(await peer.ask("ack", "in"), ["in"]);
  },

  async "refusal with data"({ open, connect }) {
    // What revision 3 gets is the data alone.
    const { why } = await open({ namespaces: ["/guarded"], auth: { token: "no" } }).at("/guarded").refused();
    assert.match(why, /not authorized|code.*42/);
    const peer = (await connect({ namespaces: ["/guarded"], auth: { token: "ok" } })).at("/guarded");
    assert.deepEqual(await peer.ask("ack", "in"), ["in"]);
  },

  async "client leaves"({ connect, server }) {
    const peer = await connect();
    peer.close();
    const { disconnect } = await server.fact("disconnect", (end) => end.id === peer.id, DEADLINE);
    assert.match(disconnect.reason, /^(client namespace disconnect|transport close)$/);
    await peer.disconnected();
  },

  async "server leaves"({ connect }) {
    const peer = await connect();
    peer.emit("leave me", false);
    await peer.disconnected();
  },

  /** An event and the end right after it: what has to be seen is their order on the wire, and that FIN waits for the client's Close. */
  async "server closes"({ connect, server, make }) {
    const wire = await Wire.start(server.port, make.revision);
    try {
      const peer = await connect({ url: wire.url });
      peer.emit("emit with", {}, 1, "last word", "so long");
      peer.emit("leave me", true);
      const sent = (what) => wire.seen.findIndex(({ from, packet }) => from === "server" && packet === what);
      await within(wire.until(() => sent('42["last word","so long"]') >= 0), "the last word", DEADLINE);
      await peer.disconnected();
      const end = Math.max(sent("close frame"), sent("1"));
      if (end >= 0) assert.ok(sent('42["last word","so long"]') < end, "the last word comes before the end");
    } finally {
      wire.stop();
    }
  },

  /** Each way of them, in the direction of the revision; nobody is taken for dead. */
  async heartbeats({ connect, heartbeat, make }) {
    const wire = await Wire.start(heartbeat.port, make.revision);
    try {
      const peer = await connect({ url: wire.url });
      const [asks, answers] = make.revision === 3 ? ["client", "server"] : ["server", "client"];
      const count = (who, what) => wire.seen.filter(({ from, packet }) => from === who && packet === what).length;
      await within(wire.until(() => count(asks, "2") >= 4 && count(answers, "3") >= 4), "four heartbeats", DEADLINE);
      assert.deepEqual(await peer.ask("ack", "alive"), ["alive"]);
    } finally {
      wire.stop();
    }
  },
};

/** Whole servers end in these, so all transports of a version share one. */
const OF_THE_SERVER = {
  async restart(server, options, peers) {
    await server.stop();
    const again = await Server.start(options, {}, undefined, server.port);
    return [again, outcomes(peers, async (peer) => {
      await peer.disconnected();
      await peer.connected();
      assert.deepEqual(await peer.ask("ack", "back"), ["back"]);
    })];
  },

  async drain(server, options, peers) {
    Object.values(peers)[0].emit("close server", 1);
    return [server, outcomes(peers, (peer) => peer.disconnected())];
  },
};
const outcomes = (peers, run) => Object.fromEntries(Object.entries(peers).map(([way, peer]) => [way, run(peer)]));

/** `SIO_PEERS=java` runs that make alone. */
const chosen = MAKES.filter(({ make, version }) => `${make} ${version}`.includes(process.env.SIO_PEERS ?? ""));
const rows = [];
const known = (make, way, name) =>
  KNOWN.find((one) =>
    one.make.test(make) && (one.ways ?? [way]).includes(way) && one.cases.includes(name) && (one.with ?? "both") !== (isReference ? "ours" : "reference"));

const isRace = (make, way, name) => known(make, way, name)?.is === "race";

/** What is known to fail is looked at for a moment only. */
const patience = (make, way, name) => (known(make, way, name) ? 3_000 : DEADLINE);

/** A cell of the table: the case, or, if it is known to fail, that it does. */
function cell(row, way, name, run, tries = 1) {
  const why = known(row.name, way, name);
  it(`${row.name} over ${way}: ${name}${why ? `: fails: ${why.reason}` : ""}`, { skip: why?.is === "race" && why.reason }, async () => {
    row[way] ??= {};
    row[way][name] = why ? "known" : "FAILS";
    let failure;
    do {
      failure = undefined;
      await run().catch((error) => (failure = error));
    } while (failure && !why && --tries > 0);
    if (why && !failure) row[way][name] = "works";
    if (why) return;
    if (failure) throw failure;
    row[way][name] = "yes";
  });
}

describe("clients of other makes", { concurrency: 2 }, () => {
  for (const make of chosen) {
    const row = { name: `${make.make} ${make.version}` };
    rows.push(row);
    describe(`${row.name}`, { concurrency: false, skip: lacks(make) }, () => {
      const options = { maxHttpBufferSize: 4_000_000, ...(make.revision === 3 ? { allowEIO3: true } : {}) };
      let peer, server, heartbeat;
      before(async () => {
        peer = new Peer(make);
        server = await Server.start(options);
        heartbeat = await Server.start({ ...options, pingInterval: 300, pingTimeout: DEADLINE });
      });
      after(async () => {
        for (const program of [peer, server, heartbeat]) await program?.stop();
      });

      for (const [way, transports] of Object.entries(WAYS)) {
        for (const [name, run] of Object.entries(CASES)) {
          cell(row, way, name, async () => {
            const opened = [];
            const deadline = patience(row.name, way, name);
            const open = ({ url = server.url, ...more } = {}) => {
              opened.push(peer.open(url, { transports, deadline, ...more }));
              return opened.at(-1);
            };
            const connect = async ({ url = server.url, ...more } = {}) => {
              opened.push(await peer.connect(url, { transports, deadline, ...more }));
              return opened.at(-1);
            };
            try {
              await run({ open, connect, server, heartbeat, way, make });
            } finally {
              for (const one of opened) one.close();
            }
          }, make.tries);
        }
      }

      for (const [name, run] of Object.entries(OF_THE_SERVER)) {
        describe(name, { concurrency: false }, () => {
          let one, outcomes;
          before(async () => {
            one = await Server.start(options);
            const peers = {};
            for (const [way, transports] of Object.entries(WAYS)) {
              if (isRace(row.name, way, name)) continue;
              const deadline = patience(row.name, way, name);
              peers[way] = await peer.connect(one.url, { transports, reconnection: true, deadline });
              // Then the upgrade, if there is one, is done.
              if (way === "default" && !make.shuffles) while ((await peers[way].ask("transport"))[0] !== "websocket");
              await peers[way].ask("ack", 1);
            }
            [one, outcomes] = await run(one, options, peers);
            for (const outcome of Object.values(outcomes)) outcome.catch(() => {});
          });
          after(() => one?.stop());
          for (const way of Object.keys(WAYS)) cell(row, way, name, () => outcomes[way]);
        });
      }
    });
  }
});

after(() => {
  const names = [...Object.keys(CASES), ...Object.keys(OF_THE_SERVER)];
  const lines = [["make", "transport", ...names]];
  for (const row of rows) {
    for (const way of Object.keys(WAYS)) lines.push([row.name, way, ...names.map((name) => row[way]?.[name] ?? "-")]);
  }
  const widths = lines[0].map((_, n) => Math.max(...lines.map((line) => line[n].length)));
  console.log(`Clients of other makes and ${isReference ? "the reference" : "this server"}:`);
  for (const line of lines) console.log(line.map((word, n) => word.padEnd(widths[n])).join("  "));
});
