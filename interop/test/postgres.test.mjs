// Two servers of Node and two of ours, one cluster on a real Postgres; emitters of Node and of ours beside them.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chownSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Emitter } from "@socket.io/postgres-emitter";
import { cluster, node, ours, sio } from "../cluster.mjs";
import { certificates } from "../faults/tls.mjs";
import { once, within } from "../harness.mjs";
import { lacksPostgres, startPostgres } from "../postgres.mjs";

/** What a server tells the others of an event without text. */
const empty = JSON.stringify({ type: 3, data: { packet: { type: 2, data: ["news", ""] }, opts: { rooms: [], except: [], flags: {} } }, uid: "0".repeat(16), nsp: "/" });

// S090.
cluster({
  title: "a cluster of Node and ours on Postgres",
  lacks: lacksPostgres,
  backend: "postgres",
  start: startPostgres,
  members: [
    { name: "node", words: node },
    { name: "ours", words: [ours] },
    { name: "node too", words: node },
    { name: "ours too", words: [ours] },
  ],
  ms: 30_000,
  more: ({ members, withGuests, running }) => {
    for (const { name } of members) {
      it(`messages of all sizes come from ${name}`, () =>
        withGuests(async (guests) => {
          const { order } = members.find((member) => member.name === name);
          for (const size of [7_999, 8_000, 8_001, 100 * 1024]) {
            // The reference gives one of exactly 8000 bytes to Postgres, which refuses it.
            if (size === 8_000 && name.startsWith("node")) continue;
            const length = size - empty.length;
            await order("emit", { event: "news", args: ["x".repeat(length)] });
            for (const { next } of guests) assert.equal((await next())[0].length, length);
          }
        }));
    }

    it("many sockets are found although the answer is large", () =>
      withGuests(async (guests) => {
        const rooms = Array.from({ length: 500 }, (_, i) => `a room with a long name, number ${i}`);
        for (const [i, { order }] of members.entries()) await order("socketsJoin", { rooms: [guests[i].socket.id], args: rooms });
        for (const { order } of members) {
          const all = async () => (await order("fetchSockets")).filter((socket) => socket.rooms.length === 501).length;
          await within((async () => { while ((await all()) !== guests.length); })(), "found");
        }
      }));

    it("connections that Postgres ends come back", () =>
      withGuests(async (guests) => {
        const { pool } = running();
        const { rows } = await pool.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'socketio'");
        assert.ok(rows.length >= 4, `${rows.length}`);
        for (const { order } of members) {
          // What is published before all listen again is lost.
          const arrives = async () => {
            const mark = `${Math.random()}`;
            await order("emit", { event: "news", args: [mark] });
            const heard = ({ heard }) => heard.some(([arg]) => arg === mark);
            for (let i = 0; i < 50 && !guests.every(heard); i++) await order("serverCount");
            return guests.every(heard);
          };
          await within((async () => { while (!(await arrives())); })(), "heard again");
        }
        const listening = "SELECT query FROM pg_stat_activity WHERE application_name = 'socketio' AND query LIKE '%LISTEN%'";
        assert.equal((await pool.query(listening)).rows.length, 2);
      }));

    for (const kind of ["the official emitter", "sio emit"]) {
      describe(`${kind} reaches`, { skip: kind === "sio emit" && !existsSync(sio) ? "there is no sio here" : false }, () => {
        // Version 0.1.1 does not reach servers of Node with version 0.5.0 of the adapter: it names no namespace.
        const reached = (list) => (kind === "sio emit" ? list : list.filter((_, i) => members[i].words !== node));

        const run = (...words) => {
          const { status, stderr } = spawnSync(sio, ["emit", "--postgres", running().url, ...words], { encoding: "utf8", timeout: 8_000 });
          assert.deepEqual([status, stderr], [0, "handed to Postgres\n"]);
        };
        const does = {
          "the official emitter": {
            emit: (rooms, except, ...args) => new Emitter(running().pool).to(rooms).except(except).emit("news", ...args),
            join: (rooms, room) => new Emitter(running().pool).in(rooms).socketsJoin(room),
            leave: (rooms, room) => new Emitter(running().pool).in(rooms).socketsLeave(room),
            disconnect: (rooms) => new Emitter(running().pool).in(rooms).disconnectSockets(),
            serverSide: (...args) => new Emitter(running().pool).serverSideEmit("hello", ...args),
          },
          "sio emit": {
            emit: (rooms, except, ...args) => run(...rooms.flatMap((room) => ["--to", room]), ...except.flatMap((room) => ["--except", room]), "news", ...args.map(word)),
            join: (rooms, room) => run(...rooms.flatMap((to) => ["--to", to]), "--join", room),
            leave: (rooms, room) => run(...rooms.flatMap((to) => ["--to", to]), "--leave", room),
            disconnect: (rooms) => run(...rooms.flatMap((to) => ["--to", to]), "--disconnect"),
            serverSide: (...args) => run("--server-side", "hello", ...args.map(word)),
          },
        }[kind];
        const word = (arg) => (Buffer.isBuffer(arg) ? `@hex:${arg.toString("hex")}` : JSON.stringify(arg));

        it("clients, with text, bytes and large events", () =>
          withGuests(async (guests) => {
            for (const args of [["text", 1, { deep: [null, true, 2.5] }, "ünï€😀"], [Buffer.from([1, 2, 3])], ["y".repeat(20_000)]]) {
              does.emit([], [], ...args);
              for (const { next } of reached(guests)) assert.deepEqual(await next(), args);
            }
          }));

        it("rooms, and makes sockets join, leave and disconnect", () =>
          withGuests(async (guests) => {
            const some = reached(guests);
            const rooms = some.map(({ socket }) => socket.id);
            const find = async (room) => (await members[1].order("fetchSockets", { rooms: [room] })).map(({ id }) => id).sort();
            const until = (room, expected) => within((async () => { while (`${await find(room)}` !== `${expected.sort()}`); })(), room);
            does.join(rooms, "emitted");
            await until("emitted", rooms.slice());
            does.emit(["emitted"], [rooms[0]], "without one");
            for (const { next } of some.slice(1)) assert.deepEqual(await next(), ["without one"]);
            does.leave(rooms.slice(0, 1), "emitted");
            await until("emitted", rooms.slice(1));
            const gone = Promise.all(some.map(({ socket }) => once(socket, "disconnect")));
            does.disconnect(rooms);
            assert.deepEqual((await gone).map(([reason]) => reason), some.map(() => "io server disconnect"));
            assert.deepEqual(some[0].heard, []);
          }));

        it("servers", async () => {
          does.serverSide("there", 1);
          for (const { server } of reached(members)) assert.deepEqual((await server.fact("heard")).heard, ['"there"', "1"]);
        });
      });
    }
  },
});

describe("sio emit --postgres", { skip: !existsSync(sio) ? "there is no sio here" : !lacksPostgres[0] && lacksPostgres[1] }, () => {
  const emit = (url, env) => spawnSync(sio, ["emit", "--postgres", url, "news"], { encoding: "utf8", timeout: 20_000, env: { ...process.env, ...env } });

  it("speaks TLS, verifies the certificate, and binds the password to it", async () => {
    const { key, chain } = certificates.good.files();
    const prepare = (directory, { uid, gid }) => {
      for (const [name, from] of [["server.key", key], ["server.crt", chain]]) {
        const file = join(directory, name);
        writeFileSync(file, readFileSync(from), { mode: 0o600 });
        if (uid) chownSync(file, uid, gid);
      }
      const rules = join(directory, "pg_hba.conf");
      writeFileSync(rules, `hostssl all ada all scram-sha-256\nhostnossl all ada all reject\n${readFileSync(rules)}`);
    };
    const postgres = await startPostgres({ prepare, settings: ["ssl=on"] });
    try {
      await postgres.pool.query("CREATE ROLE ada LOGIN PASSWORD 'secret'");
      const url = postgres.url.replace("postgres@", "ada:secret@");
      const trusted = { SSL_CERT_FILE: certificates.root.file };
      const { status, stderr } = emit(`${url}?sslmode=require&channel_binding=require`, trusted);
      assert.deepEqual([status, stderr], [0, "handed to Postgres\n"]);
      const fails = [
        [emit(`${url}?sslmode=require`), /UnknownIssuer/],
        [emit(`${url.replace("localhost", "elsewhere")}?sslmode=require&hostaddr=127.0.0.1`, trusted), /certificate not valid for name/],
        [emit(url, trusted), /pg_hba.conf rejects connection/],
        [emit(`${url.replace("secret", "wrong")}?sslmode=require`, trusted), /password authentication failed/],
      ];
      for (const [{ status, stderr }, text] of fails) {
        assert.deepEqual([status, text.test(stderr), stderr.includes("secret")], [1, true, false], stderr);
      }
    } finally {
      await postgres.stop();
    }
  });

  it("says what is wrong", () => {
    for (const [url, code, text] of [["postgres://127.0.0.1:1/x", 1, /Postgres: .*Connection refused/], ["http://x", 2, /the address of Postgres/]]) {
      const { status, stderr } = emit(url);
      assert.deepEqual([status, text.test(stderr)], [code, true], stderr);
    }
    const both = spawnSync(sio, ["emit", "--postgres", "postgres://127.0.0.1:1/x", "--redis", "redis://x", "news"], { encoding: "utf8" });
    assert.equal(both.status, 2);
  });
});
