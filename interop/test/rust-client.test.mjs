// The Rust client against servers of every kind: one scenario of examples/interop_client.rs a test.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Server, isReference } from "../harness.mjs";

const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const client = process.env.SIO_CLIENT ?? file("../../target/release/examples/interop_client");
const sio = process.env.SIO_BIN ?? file("../../target/release/sio");
const python = file("../.venv/bin/python");
const WAYS = ["polling", "websocket", "polling,websocket"];

/** The facts of a scenario. */
async function run(server, scenario, way, more = []) {
  const args = ["--url", server.url, "--scenario", scenario, "--transports", way, ...more];
  const { stdout } = await promisify(execFile)(client, args, { timeout: 20_000 }).catch((error) => {
    throw new Error(`${scenario}: ${error.stderr || error}`);
  });
  const facts = JSON.parse(stdout);
  assert.equal(facts.ok, true);
  return facts;
}

/** What may be the one or the other. */
const either = (got, want) => (Array.isArray(want) && want.includes(got) ? want : got);
const lost = ["transport close", "transport error"];

/** Why a closed session has ended: who was not polling at that moment learns it by a request that fails. */
const closed = (way) => (way === "websocket" ? "transport close" : lost);

/** The reasons on both sides, however the connection ends. */
const reasons = (theirs) => async (server, facts, way) => {
  const ours = {
    "leave me": "io server disconnect",
    "leave me, all": "io server disconnect",
    leave: "io client disconnect",
    "break off": "forced close",
    "close engine": closed(way),
  };
  const ends = { ours: {}, theirs: {} };
  for (const { how, id, reason } of facts.ends) {
    const { disconnect } = await server.fact("disconnect", (end) => end.id === id);
    ends.ours[how] = either(reason, ours[how]);
    ends.theirs[how] = either(disconnect.reason, theirs[how]);
  }
  assert.deepEqual(ends, { ours, theirs });
};

const OF_THE_REFERENCE = {
  "leave me": "server namespace disconnect",
  "leave me, all": "server namespace disconnect",
  leave: "client namespace disconnect",
  // A session that was not polling at that moment lives on until it is closed.
  "break off": ["forced close", ...lost],
  "close engine": "forced close",
};
const OF_PYTHON = {
  "leave me": "server disconnect",
  "leave me, all": "server disconnect",
  leave: "client disconnect",
  "break off": ["server disconnect", ...lost],
  "close engine": "server disconnect",
};

/** What the scenarios tell that is not the same everywhere. */
const namespaces = (unknown, auth = { token: "ok", more: { n: [1] } }, message = "not authorized") => (server, facts) => {
  assert.deepEqual(facts.refused, { message, data: { code: 42 } });
  assert.equal(facts.unknown.message, unknown);
  // Version 2 adds the query of the connection.
  assert.deepEqual({ token: facts.auth.token, more: facts.auth.more }, auth);
};

/** What was emitted right before the end has all arrived, in order, and the server has one reason. */
const lastWords = (left, lost) => async (server, { ends }) => {
  for (const { how, id } of ends) {
    for (let n = 0; n < 10; n += 1) {
      for (const wanted of [n, 10 + n]) {
        const { last } = await server.fact("last", (last) => last.id === id);
        assert.deepEqual(last, { id, how, n: wanted });
      }
    }
    const { disconnect } = await server.fact("disconnect", (end) => end.id === id);
    assert.ok([how === "drop" ? lost : left].flat().includes(disconnect.reason), `${how}: ${disconnect.reason}`);
  }
};
const reconnect = (server, { reason }, way) => assert.deepEqual(either(reason, closed(way)), closed(way));

const everywhere = {
  echo: {}, // C033
  acks: {}, // C028 C029
  namespaces: { check: namespaces("Invalid namespace") }, // C009 C013 C022
  order: {}, // C001 C002 C003
  reconnect: { check: reconnect }, // C014 C025
  rooms: {},
  volatile: {}, // C026
  disconnects: { check: reasons(OF_THE_REFERENCE) }, // C019 C020 C021
  "last words": { check: lastWords("client namespace disconnect", "transport close") }, // C021
};
const payload = { options: { maxHttpBufferSize: 10_000 } }; // C037
const current = {
  ...everywhere,
  payload,
  // C035: the heartbeat ends a session that was not polling when it broke.
  recovery: { options: { connectionStateRecovery: {}, pingInterval: 500, pingTimeout: 1000 } },
  "echo by msgpack": { scenario: "echo", flags: { parser: "msgpack" }, more: ["--parser", "msgpack"] },
  "acks by msgpack": { scenario: "acks", flags: { parser: "msgpack" }, more: ["--parser", "msgpack"] },
};

function suite(name, scenarios, { words, more: moreOfAll = [], skip = false } = {}) {
  describe(`the Rust client and ${name}`, { concurrency: true, skip }, () => {
    for (const [title, { scenario = title, options, flags, more = [], check = () => {} }] of Object.entries(scenarios)) {
      describe(title, { concurrency: false }, () => {
        let server;
        before(async () => (server = await Server.start(options, flags, words)));
        after(() => server?.stop());
        for (const way of WAYS) {
          it(`${title} over ${way}`, async () => check(server, await run(server, scenario, way, [...moreOfAll, ...more]), way));
        }
      });
    }
  });
}

const old = (version) => [process.execPath, file("../old-server.mjs"), "--version", version];

suite(isReference ? "Socket.IO 4.8" : "this server", current);

/** `sio connect` emits, and leaves at once. */
function terminal(name, { words, more = [] } = {}) {
  const skip = !existsSync(sio) && "there is no sio here";
  describe(`sio connect --emit and ${name}`, { concurrency: false, skip }, () => {
    let server;
    before(async () => (server = await Server.start({}, {}, words)));
    after(() => server?.stop());
    for (const way of WAYS) {
      it(`arrives over ${way}`, async () => {
        const transports = way.split(",").flatMap((name) => ["--transport", name]);
        const args = ["connect", server.url, ...transports, ...more, "--emit", "last", '"terminal"', "1"];
        await new Promise((resolve, reject) => {
          execFile(sio, args, { timeout: 20_000 }, (error) => (error ? reject(error) : resolve()));
        });
        const { last } = await server.fact("last");
        assert.deepEqual([last.how, last.n], ["terminal", 1]);
      });
    }
  });
}

terminal(isReference ? "Socket.IO 4.8" : "this server");

const lenient = ["last words", "echo", "acks", "order", "reconnect", "rooms", "volatile"];
suite(
  `${isReference ? "Socket.IO 4.8" : "this server"} with allowEIO3`,
  Object.fromEntries(lenient.map((name) => [name, { ...everywhere[name], options: { allowEIO3: true } }])),
  { more: ["--version", "2"] },
);

// The rest once, not once for each server under test.
if (isReference) {
  suite("Socket.IO 3.1", everywhere, { words: old("3") });

  suite(
    "Socket.IO 2.5",
    {
      ...everywhere,
      // What the handlers get is the error's data alone; and `auth` is a query.
      namespaces: { check: namespaces("Invalid namespace", { token: "ok", more: '{"n":[1]}' }, "") },
    },
    { words: old("2"), more: ["--version", "2"] },
  );

  terminal("Socket.IO 3.1", { words: old("3") });
  terminal("Socket.IO 2.5", { words: old("2"), more: ["--client-version", "2"] });

  suite(
    "python-socketio",
    {
      ...everywhere,
      payload,
      namespaces: { check: namespaces("Unable to connect") },
      disconnects: { check: reasons(OF_PYTHON) },
      // It handles the packet that leaves and the end of the connection side by side.
      "last words": { check: lastWords("client disconnect", ["client disconnect", "transport close"]) },
    },
    { words: [python, file("../python-server.py")], skip: !existsSync(python) && "there is no interop/.venv: see interop/README.md" },
  );

  // C044
  describe("the Rust client and a server of another version", { concurrency: true }, () => {
    for (const way of WAYS) {
      it(`version 4 to Socket.IO 2.5 over ${way}`, async () => {
        const server = await Server.start({}, {}, old("2"));
        try {
          const { text, hint } = await run(server, "failure", way);
          assert.match(`${text}; ${hint}`, /Version::V2/);
        } finally {
          await server.stop();
        }
      });

      it(`version 2 to Socket.IO 4.8 over ${way}`, async () => {
        const server = await Server.start();
        try {
          const { text, hint } = await run(server, "failure", way, ["--version", "2"]);
          assert.match(`${text}; ${hint}`, /allow_eio3/);
        } finally {
          await server.stop();
        }
      });
    }
  });
}
