// Connection state recovery under stress: clients whose connections are cut again and again while
// messages flow. Every message has to arrive once and in order.
//
//   node interop/stress/recovery.mjs --url URL [--client js|raw] [--mode close|half-open|both] [--transports websocket|polling|upgrade]
//     [--clients 2000] [--ticks 400] [--every 50] [--online 2000] [--offline 2000]
//
// The server is a scenario server with the option connectionStateRecovery. Prints one JSON report;
// fails unless nothing was lost, doubled or out of order.
import net from "node:net";
import { parseArgs } from "node:util";
import { io } from "socket.io-client";
import { WebSocket } from "ws";

const { values: options } = parseArgs({
  options: Object.fromEntries(
    Object.entries({ url: "", client: "js", mode: "both", transports: "websocket", clients: "2000", ticks: "400", every: "50", online: "2000", offline: "2000" })
      .map(([name, value]) => [name, { type: "string", default: value }]),
  ),
});
const number = (name) => Number(options[name]);
const target = new URL(options.url);
const random = (max) => Math.floor(Math.random() * max);

/** What a client has received, and the connection that can be cut. */
class Peer {
  constructor(index) {
    this.index = index;
    this.next = 0;
    this.own = 0;
    this.offlineUntil = 0;
    Object.assign(this, { delivered: 0, lost: 0, doubled: 0, recovered: 0, notRecovered: 0, cuts: 0 });
  }

  received(field, n) {
    if (n < this[field]) return this.doubled++;
    this.lost += n - this[field];
    this[field] = n + 1;
    this.delivered++;
  }

  connected(recovered) {
    if (this.sid === undefined) return;
    this[recovered ? "recovered" : "notRecovered"]++;
  }
}

const peers = Array.from({ length: number("clients") }, (_, index) => new Peer(index));

// --- The proxy that cuts ---

const proxy = net.createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", (head) => {
    const peer = peers[Number(/[?&]peer=(\d+)/.exec(head.toString("latin1"))?.[1])];
    if (!peer || Date.now() < peer.offlineUntil) return socket.destroy();
    const upstream = net.connect({ port: target.port, host: target.hostname, noDelay: true });
    upstream.on("error", () => {});
    upstream.write(head);
    socket.setNoDelay();
    socket.on("data", (data) => upstream.write(data));
    upstream.on("data", (data) => socket.destroyed || socket.write(data));
    upstream.on("close", () => socket.destroy());
    const link = { socket, upstream };
    (peer.links ??= new Set()).add(link);
    // Closed by the client itself: the server learns it. Cut half-open: it does not.
    socket.on("close", () => {
      peer.links.delete(link);
      if (!link.halfOpen) upstream.destroy();
    });
  });
});

function cut(peer) {
  peer.cuts++;
  peer.offlineUntil = Date.now() + random(number("offline"));
  const halfOpen = options.mode === "half-open" || (options.mode === "both" && random(2) === 0);
  for (const link of peer.links ?? []) {
    link.halfOpen = halfOpen;
    link.socket.destroy();
  }
}

// --- The clients ---

const query = (peer) => `peer=${peer.index}`;

function js(peer, url) {
  const transports = { websocket: ["websocket"], polling: ["polling"], upgrade: ["polling", "websocket"] }[options.transports];
  const socket = io(`${url}?${query(peer)}`, { forceNew: true, transports, reconnectionDelay: 50, reconnectionDelayMax: 300, timeout: 5000 });
  socket.on("connect", () => {
    peer.connected(socket.recovered);
    peer.sid = socket.id;
  });
  socket.on("tick", (n) => peer.received("next", n));
  socket.on("own tick", (n) => peer.received("own", n));
  peer.end = () => socket.disconnect();
}

/** Does by hand what the official client does, events ahead of CONNECT included. */
function raw(peer, url) {
  let ended = false;
  const session = {};
  const connect = () => {
    const ws = new WebSocket(`${url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket&${query(peer)}`);
    let early = [];
    const event = ([name, n, offset]) => {
      session.offset = offset;
      peer.received(name === "tick" ? "next" : "own", n);
    };
    ws.on("message", (data) => {
      const text = data.toString();
      if (text[0] === "0") ws.send(`40${JSON.stringify(session.pid ? session : {})}`);
      else if (text === "2") ws.send("3");
      else if (text.startsWith("40")) {
        const { sid, pid } = JSON.parse(text.slice(2));
        peer.connected(pid === session.pid);
        peer.sid = sid;
        session.pid = pid;
        early.forEach(event);
        early = null;
      } else if (text.startsWith("42")) {
        const args = JSON.parse(text.slice(2));
        if (early) early.push(args);
        else event(args);
      }
    });
    ws.on("error", () => {});
    ws.on("close", () => ended || setTimeout(connect, 50 + random(250)));
    peer.end = () => {
      ended = true;
      ws.terminate();
    };
  };
  connect();
}

// --- The run ---

const poll = async (what, done, ms) => {
  const end = Date.now() + ms;
  while (!done()) {
    if (Date.now() > end) return console.error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${proxy.address().port}`;
const start = Date.now();
for (const [i, peer] of peers.entries()) {
  (options.client === "raw" ? raw : js)(peer, url);
  if (i % 100 === 99) await poll("connected", () => peers.slice(0, i + 1).every(({ sid }) => sid), 20_000);
}
const control = io(options.url, { forceNew: true, transports: ["websocket"] });
await new Promise((resolve) => control.once("connect", resolve));
const ticks = number("ticks");
control.emit("ticks", ticks, number("every"));
// The official client can be recovered from its first offset on.
await poll("a first tick", () => peers.every(({ next, own }) => next > 0 && own > 0), 10_000);
let cutting = true;
for (const peer of peers) {
  const later = () => setTimeout(() => {
    if (!cutting) return;
    cut(peer);
    later();
  }, 200 + random(2 * number("online")));
  later();
}
await poll("the ticks", () => peers.some(({ next }) => next >= ticks - 1), ticks * number("every") * 4 + 10_000);
cutting = false;
const complete = ({ next, own }) => next >= ticks && own >= ticks / 10;
// A polling client whose upgrade is cut at the wrong moment notices with the ping timeout: 45 s.
await poll("the last tick", () => peers.every(complete), 70_000);

const sum = (field) => peers.reduce((total, peer) => total + peer[field], 0);
// Who never got the last ones has lost them.
const unseen = peers.reduce((total, { next, own }) => total + ticks - next + Math.ceil(ticks / 10) - own, 0);
const report = {
  client: options.client, mode: options.mode, transports: options.transports, clients: peers.length, cuts: sum("cuts"),
  recovered: sum("recovered"), notRecovered: sum("notRecovered"), expected: peers.length * (ticks + Math.ceil(ticks / 10)),
  delivered: sum("delivered"), lost: sum("lost") + unseen, doubled: sum("doubled"), seconds: (Date.now() - start) / 1000,
};
console.log(JSON.stringify(report));
peers.forEach((peer) => peer.end());
control.disconnect();
proxy.close();
process.exit(report.lost || report.doubled ? 1 : 0);
