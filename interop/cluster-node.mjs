// One server of Node in a cluster on Redis or Postgres: the counterpart of crates/adapters/examples/cluster_server.rs.
import { createAdapter as createPostgresAdapter } from "@socket.io/postgres-adapter";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Cluster, Redis } from "ioredis";
import pg from "pg";
import { createClient, createCluster } from "redis";
import { Server } from "socket.io";

const options = JSON.parse(process.argv[process.argv.indexOf("--options") + 1]);
const fact = (fact) => console.log(JSON.stringify(fact));
const trouble = (error) => fact({ trouble: `${error.stack ?? error}` });
process.on("uncaughtException", trouble);

async function redisClient() {
  /** Several addresses are nodes of a Redis Cluster. */
  const urls = options.redis.split(",");
  if (options.client === "ioredis") {
    const client = urls.length > 1 ? new Cluster(urls, { shardedSubscribers: true }) : new Redis(urls[0]);
    // What it is told to subscribe to before it is ready, it may forget.
    await new Promise((resolve) => client.once("ready", resolve));
    client.on("error", trouble);
    return client;
  }
  const client = urls.length > 1 ? createCluster({ rootNodes: urls.map((url) => ({ url })) }) : createClient({ url: urls[0] });
  await client.connect();
  client.on("error", trouble);
  return client;
}

async function redisAdapter() {
  if (options.streams) return createStreamsAdapter(await redisClient(), { streamCount: options.streams });
  const both = await Promise.all([redisClient(), redisClient()]);
  return options.mode
    ? createShardedAdapter(...both, { subscriptionMode: options.mode })
    : createAdapter(...both, { publishOnSpecificResponseChannel: options.specific ?? false });
}

function postgresAdapter() {
  // One connection listens, and one publishes: several keep no order.
  const pool = new pg.Pool({ connectionString: options.postgres, max: 2 });
  pool.on("error", trouble);
  return createPostgresAdapter(pool, { errorHandler: trouble });
}

const io = new Server({
  adapter: options.postgres ? postgresAdapter() : await redisAdapter(),
  ...(options.streams && { connectionStateRecovery: {} }),
});
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
  socket.on("do", async ({ op, rooms = [], except = [], local, timeout, ...command }, ack = () => {}) => {
    let sockets = (local ? io.local : io).to(rooms).except(except);
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
