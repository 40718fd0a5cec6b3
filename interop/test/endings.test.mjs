// How sessions end: what a server says before a goodbye arrives, in order, and each side learns of one end. Every way of ending
// that a server has, on every transport, by clients of both revisions; the table prints itself.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { io as io4 } from "socket.io-client";
import ioV2 from "socket.io-client-v2";
import clientV3 from "socket.io-client-v3";
import { Server, isReference, within } from "../harness.mjs";

const CLIENTS = { "4.8": io4, 3.1: clientV3.io, 2.5: ioV2 };
// "upgrading": the end is asked for as soon as the client is in, while it moves to WebSocket.
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"], upgrading: ["polling", "websocket"] };
const WORDS = [1, 2, 3];

// What the client and the server learn. Node's own polling loses what it had not written when it is told to close at once; then
// the client notices by a GET that is refused.
const GOODBYE = { client: "io server disconnect", server: "server namespace disconnect" };
const ENDS = {
  socket: GOODBYE,
  later: GOODBYE,
  all: GOODBYE,
  remote: GOODBYE,
  leave: GOODBYE,
  connection: { client: "transport close", server: "forced close" },
  engine: { client: "transport close", server: "forced close", isCutOff: true },
  // A client of ours never sends what is no packet; Node drops the events that stand before it.
  packet: { client: "transport close", server: "forced close", isCutOff: true },
  server: { client: "transport close", server: "server shutting down", isCutOff: true },
};

/** A client that is in, and has moved if it is to; what it hears from then on. */
async function connect(io, server, transport) {
  const options = { forceNew: true, reconnection: false, transports: TRANSPORTS[transport] };
  const socket = io(server.url, options);
  const heard = { words: [], ends: [] };
  socket.on("last", (n) => heard.words.push(n));
  const ended = new Promise((resolve) => {
    socket.on("disconnect", (reason) => {
      heard.ends.push(reason);
      resolve();
    });
  });
  await within(new Promise((resolve) => socket.on("connect", resolve)), "a connection");
  const { connect } = await server.fact("connect");
  if (transport === "upgrade") await server.fact("upgrade");
  return { socket, heard, ended, id: connect.id };
}

/** The end of a row, as both sides tell it; nothing more may come behind it. */
async function outcome({ socket, heard, ended, id }, server) {
  await within(ended, "a disconnect", 30_000);
  const { disconnect } = await server.fact("disconnect", (fact) => fact.id === id);
  // A second end would come within the turns that this takes.
  await fetch(`${server.url}/app`).catch(() => {});
  socket.close();
  return { words: heard.words, client: heard.ends, server: disconnect.reason };
}

const rows = [];
after(() => {
  const line = (cells) => cells.map((cell, i) => String(cell).padEnd([7, 10, 10, 7, 25][i] ?? 0)).join(" ");
  console.log(line(["client", "transport", "end", "words", "the client learns", "the server learns"]));
  for (const row of rows) console.log(line(row));
});

for (const [version, io] of Object.entries(CLIENTS)) {
  for (const transport of Object.keys(TRANSPORTS)) {
    describe(`endings of client ${version} over ${transport}`, { concurrency: false }, () => {
      let server;
      before(async () => (server = await Server.start({ allowEIO3: true })));
      after(() => server?.stop());
      // The last end is that of the server.
      for (const [end, told] of Object.entries(ENDS)) {
        it(`the last words before "${end}" arrive`, async () => {
          const client = await connect(io, server, transport);
          client.socket.emit("last words", WORDS.length, end);
          if (end === "packet") client.socket.io.engine.write("nonsense");
          const got = await outcome(client, server);
          rows.push([version, transport, end, got.words.length, got.client.join(", "), got.server]);
          assert.equal(got.client.length, 1, "one end is told");
          // Whatever its timing makes of it; see the rows.
          const isLess = isReference && (told.isCutOff || transport === "upgrading");
          if (isLess) return assert.deepEqual(got.words, WORDS.slice(0, got.words.length));
          assert.deepEqual(got, { words: WORDS, client: [told.client], server: told.server });
        });
      }
    });
  }
}
