// Servers of Node and of ours as one cluster on a backend: each operation from each server.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import net from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import { io as connect } from "socket.io-client";
import { isReference, once, Server, within } from "./harness.mjs";

export const ours = isReference ? "" : join(dirname(process.env.SIO_SERVER), "cluster_server");
export const sio = process.env.SIO_BIN ?? join(dirname(dirname(ours)), "sio");
export const node = [process.execPath, new URL("cluster-node.mjs", import.meta.url).pathname];

export const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Why the tests of clusters cannot run here, or false. */
export const skipped = (lacks) => {
  const all = [[!isReference, "it runs with our servers"], [existsSync(ours), "there is no cluster_server here"], lacks];
  return all.find(([has]) => !has)?.[1] ?? false;
};

/** Starts a server of a cluster, and gives it `order`, which makes it do something. */
export async function startMember(member, options) {
  const { name, words, client, specific } = member;
  member.server = await Server.start({ ...options, name, client, specific }, {}, words);
  member.control = connect(`${member.server.url}/control`, { transports: ["websocket"] });
  await once(member.control, "connect");
  member.order = (op, command = {}) => within(member.control.emitWithAck("do", { op, ...command }), `done: ${op} by ${name}`);
}

export async function stopMember({ server, control }) {
  control?.close();
  await server?.stop();
}

/** Waits until all of some servers count so many. */
export const allCount = (members, count = members.length, ms) =>
  within(
    Promise.all(
      members.map(async ({ order }) => {
        while ((await order("serverCount")) !== count);
      }),
    ),
    "counted",
    ms,
  );

/** What a client hears of the event "news", one after the other, without the offsets that recovery adds. */
export function listen(socket, name) {
  const heard = [];
  const waiting = [];
  socket.on("news", (...args) => {
    heard.push(args.filter((arg) => typeof arg !== "string" || !/^\d+-\d+$/.test(arg)));
    waiting.shift()?.();
  });
  const next = async () => {
    if (!heard.length) await within(new Promise((resolve) => waiting.push(resolve)), `news for the guest of ${name}`);
    return heard.shift();
  };
  return { socket, name, next, heard };
}

/**
 * The scenarios.
 *
 * `backend` is its name in the options of the servers and of `sio serve`; `start` gives one with a `url`
 * and a `stop`. Members have words that start them, `options` are for all of them, `serve` has more words
 * for `sio serve`. It is counted within `ms`: where servers know each other by heartbeats, one that was
 * killed is there for another ten seconds. `more` adds scenarios of the backend's own.
 */
export const cluster = ({ title, lacks, backend, start, members, options = {}, serve = [], ms, hasAllRooms = false, more = () => {} }) => describe(title, { skip: skipped(lacks) }, () => {
  let running;

  before(async () => {
    running = await start();
    for (const member of members) await startMember(member, { ...options, [backend]: running.url });
    // The namespaces of all are listened to when all count all.
    await allCount(members, members.length, ms);
  });

  after(async () => {
    for (const member of members) await stopMember(member);
    await running?.stop();
  });

  /** A client at each server, of which each has heard what is new in `heard`. */
  async function withGuests(test) {
    const guests = [];
    try {
      for (const { server, name } of members) {
        const socket = connect(server.url, { auth: { name }, forceNew: true, transports: ["websocket"] });
        guests.push(listen(socket, name));
        socket.on("ask", (...args) => args.pop()(socket.id));
        socket.on("echo", (value, ack) => ack(value));
        await once(socket, "connect");
      }
      await test(guests);
    } finally {
      for (const { socket } of guests) socket.close();
    }
  }

  const ids = (guests) => guests.map(({ socket }) => socket.id).sort();

  for (const { name, order } of members.map((member) => ({ name: member.name, order: (...args) => member.order(...args) }))) {
    describe(`from ${name}`, () => {
      /** A server of Node does its own part of a join only when Redis tells it. */
      const inRoom = (room, expected) =>
        within(
          (async () => {
            for (;;) {
              const found = await order("fetchSockets", { rooms: [room] });
              if (`${found.map(({ id }) => id).sort()}` === `${expected.sort()}`) return;
            }
          })(),
          `in ${room}`,
        );

      it("broadcasts text, binary, many arguments", () =>
        withGuests(async (guests) => {
          await order("emit", { event: "news", args: ["text", 1, { deep: [null, true, 2.5] }, "ünï"] });
          await order("emit", { event: "news", args: [Buffer.from([1, 2, 3]), { in: Buffer.from("deep") }] });
          for (const { next } of guests) {
            assert.deepEqual(await next(), ["text", 1, { deep: [null, true, 2.5] }, "ünï"]);
            assert.deepEqual(await next(), [Buffer.from([1, 2, 3]), { in: Buffer.from("deep") }]);
          }
        }));

      it("joins, leaves, and reaches rooms", () =>
        withGuests(async (guests) => {
          const [a, b, c] = guests.map(({ socket }) => socket.id);
          await order("socketsJoin", { rooms: [a, b], args: ["pair", "first"] });
          await order("socketsJoin", { rooms: [c], args: ["first"] });
          await inRoom("pair", [a, b]);
          await inRoom("first", [a, b, c]);
          await order("emit", { event: "news", rooms: ["pair"], args: ["pair"] });
          await order("emit", { event: "news", rooms: ["pair", "first"], except: [b], args: ["without b"] });
          await order("socketsLeave", { rooms: [a], args: ["pair"] });
          await inRoom("pair", [b]);
          await order("emit", { event: "news", rooms: ["pair"], args: ["left"] });
          await order("emit", { event: "news", args: ["end"] });
          const expected = [["pair", "without b", "end"], ["pair", "left", "end"], ["without b", "end"], ["end"]];
          for (const [i, { next }] of guests.entries()) {
            for (const text of expected[i]) assert.deepEqual(await next(), [text], `guest ${i}`);
          }
        }));

      it("gathers answers", () =>
        withGuests(async (guests) => {
          const answers = await order("emitWithAck", { event: "ask", timeout: 5_000 });
          assert.deepEqual(answers.sort(), ids(guests));
          const binary = await order("emitWithAck", { event: "echo", timeout: 5_000, args: [Buffer.from([9])] });
          assert.deepEqual(binary, guests.map(() => Buffer.from([9])));
          assert.deepEqual(await order("emitWithAck", { event: "ask", rooms: ["nobody"], timeout: 5_000 }), []);
        }));

      it("gives the answers that came when one is silent", () =>
        withGuests(async (guests) => {
          for (const { socket } of guests.slice(0, 1)) socket.off("ask");
          const answers = await order("emitWithAck", { event: "ask", timeout: 400 });
          assert.deepEqual(answers.sort(), ids(guests.slice(1)));
        }));

      it("fetches sockets, and asks one", () =>
        withGuests(async (guests) => {
          const sockets = await order("fetchSockets");
          assert.deepEqual(sockets.map(({ id }) => id).sort(), ids(guests));
          for (const { socket, name } of guests) {
            const found = sockets.find(({ id }) => id === socket.id);
            assert.deepEqual(found.data, { name });
            assert.deepEqual(found.rooms, [socket.id]);
            assert.deepEqual(found.handshake.auth, { name });
            assert.deepEqual(await order("askOne", { id: socket.id, event: "ask", timeout: 5_000 }), [socket.id]);
          }
        }));

      it("disconnects", () =>
        withGuests(async (guests) => {
          const gone = Promise.all(guests.map(({ socket }) => once(socket, "disconnect")));
          await order("disconnectSockets", { rooms: guests.map(({ socket }) => socket.id) });
          assert.deepEqual((await gone).map(([reason]) => reason), guests.map(() => "io server disconnect"));
        }));

      it("speaks to the other servers", async () => {
        const others = members.filter((member) => member.name !== name);
        await order("serverSideEmit", { event: "hello", args: ["there", 1] });
        for (const { server } of others) assert.deepEqual((await server.fact("heard")).heard, ['"there"', "1"]);
        const answers = await order("serverSideEmitWithAck", { event: "hello" });
        assert.deepEqual(answers.sort(), others.map((member) => member.name).sort());
        for (const { server } of others) await server.fact("heard");
        assert.equal(await order("serverCount"), members.length);
      });
    });
  }

  it("Node learns the rooms of all", { skip: !hasAllRooms && "its adapter does not ask for them" }, () =>
    withGuests(async (guests) => {
      const rooms = await members[0].order("allRooms");
      for (const { socket } of guests) assert.ok(rooms.includes(socket.id), `${rooms}`);
    }));

  it("sio serve joins", { skip: existsSync(sio) ? false : "there is no sio here" }, async () => {
    const child = spawn(sio, ["serve", "--port", "0", "--log-format", "json", `--${backend}`, running.url, ...serve], { stdio: ["ignore", "ignore", "pipe"] });
    const exited = new Promise((resolve) => child.once("exit", resolve));
    let socket;
    try {
      const serving = (resolve) =>
        createInterface({ input: child.stderr }).on("line", (line) => {
          const { message, address } = JSON.parse(line).fields;
          if (message === "serving") resolve(address);
        });
      socket = connect(`http://${await within(new Promise(serving), "serving")}`, { transports: ["websocket"] });
      await once(socket, "connect");
      const [first] = members;
      const all = async () => (await first.order("fetchSockets")).map(({ id }) => id);
      await within((async () => { while (!(await all()).includes(socket.id)); })(), "found by Node");
      const news = once(socket, "news");
      await first.order("emit", { event: "news", args: ["from Node"] });
      // An offset may follow.
      assert.equal((await news)[0], "from Node");
    } finally {
      socket?.close();
      child.kill("SIGKILL");
      await exited;
    }
    await allCount(members.slice(0, 1), members.length, ms);
  });

  more({ members, withGuests, running: () => running });

  it("nothing troubled Node", async () => {
    for (const { server, words } of members.filter(({ words }) => words === node)) {
      await assert.rejects(Promise.race([server.fact("trouble"), Promise.reject(new Error("none"))]), /none/, `${words}`);
    }
  });

  it("one that is killed is not waited for", async () => {
    await stopMember(members.at(-1));
    const others = members.slice(0, -1);
    await allCount(others, others.length, ms);
    for (const { order } of others) assert.ok(Array.isArray(await order("fetchSockets")));
  });
});
