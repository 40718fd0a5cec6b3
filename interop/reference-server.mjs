// The scenario server on the reference; see CONTRACT.md.
import { createServer } from "node:http";
import { deflate } from "node:zlib";
import { Server } from "socket.io";
import msgpackParser from "socket.io-msgpack-parser";

const args = Object.fromEntries(
  process.argv.slice(2).reduce((pairs, word, i, all) => (i % 2 ? pairs : [...pairs, [word.slice(2), all[i + 1]]]), []),
);
const flags = JSON.parse(args.flags ?? "{}");
const options = JSON.parse(args.options ?? "{}");
const fact = (fact) => process.stdout.write(JSON.stringify(fact) + "\n");
/** A fact that says whose it is, where the request or the handshake has the header `x-case`. */
const factOf = ({ headers }, told) => fact({ ...told, case: headers["x-case"] });

// A handler that fails ends the process, unless told otherwise.
if (flags.survive) process.on("uncaughtException", (error) => fact({ uncaught: error.message }));
if (flags.allowRequest) {
  options.allowRequest = (req, cb) => {
    fact({ allow_request: req.url });
    if (flags.allowRequest === "allow") cb(null, true);
    else cb(flags.allowRequest === "deny" ? null : flags.allowRequest, false);
  };
}
// What JSON cannot say: an origin by pattern or by function.
const origin = options.cors?.origin;
if (origin?.pattern) options.cors.origin = new RegExp(origin.pattern);
if (origin?.ending) options.cors.origin = (asking, cb) => cb(null, asking?.endsWith(origin.ending) ?? false);
if (flags.parser === "msgpack") options.parser = msgpackParser;
// For the differential test, which takes no time into account: each 100 ms after a probe are over at the next `/settled`.
const due = new Set();
if (flags.survive) {
  const { clearInterval, setInterval } = globalThis;
  globalThis.setInterval = (call, ms, ...args) => {
    if (ms !== 100) return setInterval(call, ms, ...args);
    due.add(call);
    return call;
  };
  globalThis.clearInterval = (timer) => due.delete(timer) || clearInterval(timer);
}
const http = createServer((req, res) => {
  if (req.url === "/settled") {
    for (const call of due) call();
    // Behind all that is compressed now, where there is one thread for it.
    return deflate("", () => res.end());
  }
  res.statusCode = req.url === "/app" ? 200 : 404;
  res.end(req.url === "/app" ? "app" : "");
});
const io = new Server(http, { serveClient: false, ...options });

if (flags.generateId) {
  let n = 0;
  io.engine.generateId = async () => {
    if (flags.generateId === "fail") throw new Error("no id");
    return `custom-${++n}`;
  };
}
if (flags.headers) {
  io.engine.on("initial_headers", (headers) => (headers["x-initial"] = "1"));
  io.engine.on("headers", (headers) => (headers["x-each"] = "1"));
}
if (flags.middleware) {
  io.engine.use((req, res, next) => {
    if (flags.middleware === "fail") return next(new Error("no"));
    if (flags.middleware === "401") {
      res.writeHead(401);
      return res.end("who are you?");
    }
    res.setHeader("x-middleware", "1");
    next();
  });
}
io.engine.on("connection_error", ({ req, code, message, context }) => {
  factOf(req, { connection_error: { code, message, context, url: req.url } });
});
io.on("new_namespace", (nsp) => fact({ new_namespace: nsp.name }));

function register(nsp) {
  nsp.on("connection", (socket) => {
    const here = socket.nsp;
    const fact = (told) => factOf(socket.handshake, told);
    fact({ connect: { nsp: here.name, id: socket.id } });
    socket.conn.on("upgrade", (transport) => fact({ upgrade: transport.name }));
    if (socket.handshake.auth.greet) socket.volatile.emit("greeting");
    socket.on("disconnecting", () => fact({ disconnecting: { rooms: [...socket.rooms] } }));
    socket.on("disconnect", (reason) => fact({ disconnect: { nsp: here.name, id: socket.id, reason } }));
    socket.on("error", (error) => fact({ error: error.message }));
    socket.use(([event], next) => next(event === "drop me" ? new Error("dropped") : undefined));
    socket.on("echo", (...args) => socket.emit("echo", ...args.filter((arg) => typeof arg !== "function")));
    socket.on("last", (how, n) => fact({ last: { id: socket.id, how, n } }));
    socket.on("ack", (...args) => args.pop()(...args));
    socket.on("ask", async (value, ms) => {
      const target = ms ? socket.timeout(ms) : socket;
      try {
        socket.emit("answered", null, await target.emitWithAck("question", value));
      } catch (error) {
        socket.emit("answered", error.message, null);
      }
    });
    socket.on("join", (rooms, ack) => {
      socket.join(rooms);
      ack([...socket.rooms]);
    });
    socket.on("leave", (rooms, ack) => {
      for (const room of [rooms].flat()) socket.leave(room);
      ack([...socket.rooms]);
    });
    const target = (from, rooms, except) => {
      const op = rooms.length ? from.to(rooms) : from.except([]);
      return except.length ? op.except(except) : op;
    };
    socket.on("send to", (rooms, except, event, value) => target(socket, rooms, except).emit(event, value));
    socket.on("emit to", (rooms, except, event, value) => target(here, rooms, except).emit(event, value));
    socket.on("gather", async (room, ms, ack) => {
      try {
        ack({ complete: true, responses: await here.to(room).timeout(ms).emitWithAck("sum") });
      } catch (error) {
        ack({ complete: false, responses: error.responses });
      }
    });
    socket.on("sockets", async (room, ack) => {
      const sockets = await here.in(room).fetchSockets();
      ack(sockets.map(({ id, rooms, data }) => ({ id, rooms: [...rooms], data })));
    });
    socket.on("set data", (value, ack) => {
      socket.data = value;
      ack();
    });
    socket.on("sockets join", (from, to, ack) => {
      here.in(from).socketsJoin(to);
      ack();
    });
    socket.on("sockets leave", (from, what, ack) => {
      here.in(from).socketsLeave(what);
      ack();
    });
    socket.on("kick", (room, close) => here.in(room).disconnectSockets(close));
    socket.on("remote ask", async (room, value, ms, ack) => {
      const [remote] = await here.in(room).fetchSockets();
      ack(await remote.timeout(ms).emitWithAck("question", value).catch(() => null));
    });
    socket.on("emit with", (how, times, event, value) => {
      if (how.first) socket.emit("first");
      for (let i = 0; i < times; i++) {
        let target = how.local ? here.local : socket;
        if (how.volatile) target = target.volatile;
        if (how.compress === false) target = target.compress(false);
        if (how.send) target.send(value);
        else target.emit(event, value);
      }
    });
    socket.on("make", (name, ack) => ack(io.of(name).name));
    socket.on("emit to children", (event, value) => children.emit(event, value));
    socket.on("leave me", (close) => socket.disconnect(close));
    socket.on("handshake", (ack) => ack(socket.handshake));
    socket.on("transport", (ack) => ack(socket.conn.transport.name));
    socket.on("many", (n) => {
      for (let i = 0; i < n; i++) socket.emit("n", i);
    });
    socket.on("reserved", (name, ack) => {
      try {
        socket.emit(name);
        ack(null);
      } catch (error) {
        ack(error.message);
      }
    });
    socket.on("count", (ack) => ack(io.engine.clientsCount));
    socket.on("spy", () => {
      socket.onAny((name, ...args) => socket.emit("any", name, args.filter((a) => typeof a !== "function").length));
      socket.onAnyOutgoing((name) => name !== "any" && fact({ outgoing: name }));
    });
    socket.on("close server", async (times = 1) => {
      for (let i = 0; i < times; i++) await io.close();
      fact({ closed: times });
    });
    socket.on("ticks", (count, every) => {
      let n = 0;
      const ids = [...here.sockets.keys()];
      const timer = setInterval(() => {
        here.emit("tick", n);
        if (n % 10 === 0) for (const id of ids) here.to(id).emit("own tick", n / 10);
        if (++n === count) clearInterval(timer);
      }, every);
    });
    socket.on("last words", async (count, how) => {
      for (let i = 1; i <= count; i++) (i % 2 ? socket : here).emit("last", i);
      if (how === "later") await new Promise((resolve) => setImmediate(resolve));
      if (how === "socket" || how === "later") socket.disconnect(true);
      if (how === "all") here.disconnectSockets(true);
      if (how === "remote") for (const remote of await here.fetchSockets()) remote.disconnect(true);
      if (how === "leave") socket.disconnect();
      if (how === "connection") socket.conn.close();
      if (how === "engine") Object.values(io.engine.clients).forEach((session) => session.close(true));
      if (how === "server") io.close();
    });
    // Its own `close` takes no WebSocket any more.
    socket.on("close engine", () => Object.values(io.engine.clients).forEach((session) => session.close(true)));
  });
}

io.of("/guarded").use(async (socket, next) => {
  const { rooms = [], wait = 0 } = socket.handshake.auth;
  await socket.join(rooms);
  if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
  fact({ asked: { rooms } });
  next();
});
io.of("/guarded").use((socket, next) => {
  if (socket.handshake.auth.token === "ok") return next();
  next(Object.assign(new Error("not authorized"), { data: { code: 42 } }));
});
register(io);
register(io.of("/admin"));
register(io.of("/guarded"));
const children = io.of(/^\/dyn-\d+$/);
children.use((socket, next) => next(socket.handshake.auth.refuse ? new Error("refused") : undefined));
register(children);
register(io.of((name, auth, next) => next(null, name.startsWith("/fn-") && auth?.key === 1)));
http.listen(Number(args.port ?? 0), "127.0.0.1", () => fact({ listening: http.address().port }));
