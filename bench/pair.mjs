// The JavaScript client and server of one process each, for comparison with examples/bench_client.
//
//   node bench/pair.mjs server PORT
//   node bench/pair.mjs client PORT [CLIENTS [DEPTH [SECONDS]]]
import { createRequire } from "node:module";

const require = createRequire(new URL("../interop/package.json", import.meta.url));
const [role, port, clients = 100, depth = 8, seconds = 5] = process.argv.slice(2).map((word, i) => (i ? Number(word) : word));
if (role === "server") {
  const io = new (require("socket.io").Server)(port, { transports: ["websocket"] });
  io.on("connection", (socket) => socket.on("message", (payload) => socket.emit("message", payload)));
} else {
  const { io } = require("socket.io-client");
  let echoes = 0;
  const sockets = Array.from({ length: clients }, () => io(`http://127.0.0.1:${port}`, { transports: ["websocket"], forceNew: true }));
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on("connect", resolve))));
  for (const socket of sockets) {
    socket.on("message", (payload) => {
      echoes++;
      socket.emit("message", payload);
    });
    for (let i = 0; i < depth; i++) socket.emit("message", "x".repeat(32));
  }
  await new Promise((resolve) => setTimeout(resolve, 500));
  const [start, before] = [performance.now(), echoes];
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const each = Math.round(((echoes - before) * 1000) / (performance.now() - start));
  console.log(JSON.stringify({ clients, depth, echoes_per_second: each }));
  process.exit(0);
}
