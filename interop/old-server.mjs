// The scenario server on an old version of the reference; see CONTRACT.md.
//   node old-server.mjs --version 2|3 --port N --options JSON
import { createServer } from "node:http";

const args = Object.fromEntries(
  process.argv.slice(2).reduce((pairs, word, i, all) => (i % 2 ? pairs : [...pairs, [word.slice(2), all[i + 1]]]), []),
);
const { default: callable, Server = callable } = await import(`socket.io-v${args.version}`);
const fact = (fact) => process.stdout.write(JSON.stringify(fact) + "\n");
const http = createServer((req, res) => res.writeHead(404).end());
const io = new Server(http, { serveClient: false, ...JSON.parse(args.options ?? "{}") });
const isV2 = args.version === "2";

/** Version 2 has plain objects where version 3 has a `Map` and a `Set`. */
const all = (sockets) => (sockets instanceof Map ? [...sockets.values()] : Object.values(sockets));
const rooms = (socket) => (socket.rooms instanceof Set ? [...socket.rooms] : Object.keys(socket.rooms));

function emitTo(sockets, to, except, event, value) {
  const reached = (socket, names) => rooms(socket).some((room) => names.includes(room));
  for (const socket of sockets) {
    if ((!to.length || reached(socket, to)) && !reached(socket, except)) socket.emit(event, value);
  }
}

function register(nsp) {
  nsp.on("connection", (socket) => {
    const here = socket.nsp;
    fact({ connect: { nsp: here.name, id: socket.id } });
    socket.on("disconnect", (reason) => fact({ disconnect: { nsp: here.name, id: socket.id, reason } }));
    socket.on("echo", (...args) => socket.emit("echo", ...args));
    socket.on("last", (how, n) => fact({ last: { id: socket.id, how, n } }));
    socket.on("ack", (...args) => args.pop()(...args));
    socket.on("ask", (value, ms) => {
      const late = () => {
        answered = () => {};
        socket.emit("answered", "operation has timed out", null);
      };
      const timer = ms && setTimeout(late, ms);
      let answered = (answer) => {
        clearTimeout(timer);
        socket.emit("answered", null, answer);
      };
      socket.emit("question", value, (answer) => answered(answer));
    });
    socket.on("join", async (names, ack) => {
      // In version 2 it is done when it says so.
      await new Promise((resolve) => (isV2 ? socket.join(names, resolve) : resolve(socket.join(names))));
      ack(rooms(socket));
    });
    socket.on("leave", async (names, ack) => {
      for (const room of [names].flat()) {
        await new Promise((resolve) => (isV2 ? socket.leave(room, resolve) : resolve(socket.leave(room))));
      }
      ack(rooms(socket));
    });
    socket.on("send to", (...to) => emitTo(all(here.sockets).filter((other) => other !== socket), ...to));
    socket.on("emit to", (...to) => emitTo(all(here.sockets), ...to));
    socket.on("leave me", (close) => socket.disconnect(close));
    socket.on("handshake", (ack) => {
      const { query, auth = query } = socket.handshake;
      ack({ ...socket.handshake, auth });
    });
    socket.on("transport", (ack) => ack(socket.conn.transport.name));
    socket.on("count", (ack) => ack(io.engine.clientsCount));
    socket.on("many", (n) => {
      for (let i = 0; i < n; i++) socket.emit("n", i);
    });
    socket.on("close engine", () => Object.values(io.engine.clients).forEach((session) => session.close(true)));
  });
}

io.of("/guarded").use((socket, next) => {
  const { query, auth = query } = socket.handshake;
  if (auth.token === "ok") return next();
  next(Object.assign(new Error("not authorized"), { data: { code: 42 } }));
});
register(io.of("/"));
register(io.of("/admin"));
register(io.of("/guarded"));
http.listen(Number(args.port ?? 0), "127.0.0.1", () => fact({ listening: http.address().port }));
