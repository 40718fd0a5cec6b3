// The chat of `sio serve` on the reference, with the same page, events and headers.
//   node interop/chat/reference-server.mjs [--host 127.0.0.1] [--port 3000]
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server } from "socket.io";

const { values } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "3000" },
  },
});

const PAGE = new URL("../../crates/cli/src/serve/page/", import.meta.url);
const FILES = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/style.css": ["style.css", "text/css; charset=utf-8"],
  "/chat.js": ["chat.js", "text/javascript; charset=utf-8"],
  "/client.js": ["client.js", "text/javascript; charset=utf-8"],
  "/favicon.svg": ["favicon.svg", "image/svg+xml"],
};
const POLICY = "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:";

const http = createServer(async (request, response) => {
  const file = FILES[new URL(request.url, "http://localhost").pathname];
  if (!file) {
    response.writeHead(404).end();
    return;
  }
  const [name, type] = file;
  const body = await readFile(new URL(name, PAGE));
  response.writeHead(200, {
    "content-type": type,
    "cache-control": "no-cache",
    "content-security-policy": POLICY,
  });
  response.end(body);
});

const io = new Server(http, { serveClient: false });

const clean = (text) => [...String(text).trim().replace(/\p{Cc}/gu, "")].slice(0, 40).join("");

async function people(room) {
  const sockets = await io.in(room).fetchSockets();
  return sockets.map(({ id, data }) => ({ id, name: data.name }));
}

io.on("connection", (socket) => {
  const leave = async () => {
    const { name, room } = socket.data;
    if (!room) return;
    socket.data = {};
    socket.leave(room);
    socket.to(room).emit("system", { text: `${name} left` });
    socket.to(room).emit("users", await people(room));
  };
  const share = (event, extra) => {
    const { name, room } = socket.data;
    if (!room) return false;
    socket.to(room).emit(event, { id: socket.id, name, ...extra, at: Date.now() });
    return true;
  };

  socket.on("join", async (wish, answer) => {
    const name = clean(wish.name);
    const room = clean(wish.room);
    if (!name || !room) return answer({ ok: false, users: [], error: "a name and a room are needed" });
    await leave();
    socket.data = { name, room: `room:${room}` };
    socket.join(socket.data.room);
    socket.to(socket.data.room).emit("system", { text: `${name} joined` });
    const users = await people(socket.data.room);
    socket.to(socket.data.room).emit("users", users);
    answer({ ok: true, users });
  });
  socket.on("leave", leave);
  socket.on("message", ({ text }, answer) => answer(share("message", { text })));
  socket.on("image", ({ type, data }, answer) => {
    // The name that goes out is the author's, not the file's.
    answer(type.startsWith("image/") && share("image", { type, data }));
  });
  socket.on("typing", (typing) => {
    const { name, room } = socket.data;
    if (room) socket.volatile.to(room).emit("typing", { id: socket.id, name, typing });
  });
  socket.on("disconnecting", leave);
});

http.listen(Number(values.port), values.host, () => {
  console.log(`http://${values.host}:${http.address().port}/`);
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    io.close();
    setTimeout(() => process.exit(0), 500);
  });
}
