// The table of versions, each cell of it: clients 1 to 4, with and without allowEIO3, over each transport.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { io as io4 } from "socket.io-client";
import ioV1 from "socket.io-client-v1";
import ioV2 from "socket.io-client-v2";
import clientV3 from "socket.io-client-v3";
import { Server, within } from "../harness.mjs";

const clients = { 1: ioV1, 2: ioV2, 3: clientV3.io, 4: io4 };
const ways = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };

/** "connect" or "connect_error", and in the first case the socket. */
const outcome = (io, server, transports) =>
  within(new Promise((resolve) => {
    const socket = io(server.url, { forceNew: true, reconnection: false, transports });
    socket.on("connect", () => resolve(["connect", socket]));
    socket.on("connect_error", () => resolve(["connect_error", socket]));
  }), "an outcome");

for (const allowEIO3 of [false, true]) {
  describe(`the table of versions, ${allowEIO3 ? "with" : "without"} allowEIO3`, { concurrency: false }, () => {
    let server;
    before(async () => (server = await Server.start(allowEIO3 ? { allowEIO3 } : {})));
    after(() => server?.stop());
    for (const [version, io] of Object.entries(clients)) {
      for (const [way, transports] of Object.entries(ways)) {
        // Version 1 is not in the table for servers of version 4; it is let in with version 2, whose protocols it speaks.
        it(`M22-M25 client ${version} over ${way}`, async () => {
          const [got, socket] = await outcome(io, server, transports);
          try {
            const isLetIn = allowEIO3 || version >= 3;
            assert.equal(got, isLetIn ? "connect" : "connect_error");
            if (!isLetIn) {
              const { connection_error: cause } = await server.fact("connection_error");
              assert.deepEqual([cause.code, cause.context], [5, { protocol: 3 }]);
              return;
            }
            if (way === "upgrade") await server.fact("upgrade");
            const bytes = Buffer.from([1, 2, 3]);
            const [text, back] = await within(new Promise((resolve) => socket.emit("ack", "é", bytes, (...args) => resolve(args))));
            assert.deepEqual([text, [...back]], ["é", [...bytes]]);
          } finally {
            socket.disconnect();
          }
        });
      }
    }
  });
}
