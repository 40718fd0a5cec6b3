// One server of Node in a cluster on Redis: the counterpart of crates/adapters/examples/cluster_server.rs.
import { createAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { Server } from "socket.io";

const options = JSON.parse(process.argv[process.argv.indexOf("--options") + 1]);
const fact = (fact) => console.log(JSON.stringify(fact));

async function client() {
  const client = options.client === "ioredis" ? new Redis(options.redis) : createClient({ url: options.redis });
  if (options.client !== "ioredis") await client.connect();
  client.on("error", (error) => fact({ trouble: `${error}` }));
  return client;
}

/** What makes the server one of a cluster. */
async function cluster() {
  if (!options.streams) return { adapter: createAdapter(await client(), await client(), { publishOnSpecificResponseChannel: options.specific ?? false }) };
  return { adapter: createStreamsAdapter(await client(), { streamCount: options.streams }), connectionStateRecovery: {} };
}

process.on("uncaughtException", (error) => fact({ trouble: `${error.stack}` }));

const io = new Server(await cluster());
io.on("connection", (socket) => {
  if (!socket.recovered) socket.data = socket.handshake.auth;
});
io.on("hello", (...args) => {
  const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
  fact({ heard: args.map((arg) => JSON.stringify(arg)) });
  ack?.(options.name);
});

const operations = {
  emit: (sockets, { event, args }) => sockets.emit(event, ...args),
  emitWithAck: (sockets, { event, args }) => sockets.emitWithAck(event, ...args).catch((error) => error.responses),
  askOne: async (_, { id, event, args, timeout }) => {
    const one = (await io.fetchSockets()).find((socket) => socket.id === id);
    return [await one.timeout(timeout).emitWithAck(event, ...args)];
  },
  fetchSockets: async (sockets) => (await sockets.fetchSockets()).map(({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, handshake })),
  socketsJoin: (sockets, { args }) => sockets.socketsJoin(args) ?? true,
  socketsLeave: (sockets, { args }) => sockets.socketsLeave(args) ?? true,
  disconnectSockets: (sockets) => sockets.disconnectSockets() ?? true,
  serverSideEmit: (_, { event, args }) => io.serverSideEmit(event, ...args),
  serverSideEmitWithAck: (_, { event, args }) => io.serverSideEmitWithAck(event, ...args),
  serverCount: () => io.of("/").adapter.serverCount(),
  allRooms: async () => [...(await io.of("/").adapter.allRooms())],
};

io.of("/control").on("connection", (socket) => {
  socket.on("do", async ({ op, rooms = [], except = [], timeout, ...command }, ack) => {
    let sockets = io.to(rooms).except(except);
    if (timeout) sockets = sockets.timeout(timeout);
    try {
      ack((await operations[op](sockets, { args: [], timeout, ...command })) ?? true);
    } catch (error) {
      ack({ error: `${error}` });
    }
  });
});
io.listen(Number(process.argv[process.argv.indexOf("--port") + 1]));
io.httpServer.once("listening", () => fact({ listening: io.httpServer.address().port }));
