// Recovery across three servers under stress: clients are cut at random and come back to any server,
// and every so often a server is killed and started anew, while all servers emit through Redis streams.
//
//   node interop/stress/cluster.mjs [--server target/release/examples/cluster_server]
//   [--clients 300] [--seconds 60] [--every 20] [--kill 10] [--online 2000] [--offline 1000]
//
// What was sent is what stands in the stream: a server that is killed takes what it had not yet
// written with it. Prints one JSON report; fails unless every client got everything that was for it,
// once and in the order of the stream.
import net from "node:net";
import { parseArgs } from "node:util";
import { createClient } from "redis";
import { io } from "socket.io-client";

// The harness looks for the server there.
const { values: options } = parseArgs({
  options: Object.fromEntries(
    Object.entries({ server: "target/release/examples/cluster_server", clients: "300", seconds: "60", every: "20", kill: "10", online: "2000", offline: "1000" })
      .map(([name, value]) => [name, { type: "string", default: value }]),
  ),
});
process.env.SIO_SERVER = options.server;
const { startMember, stopMember } = await import("../cluster.mjs");
const { startRedis } = await import("../redis.mjs");
const number = (name) => Number(options[name]);
const random = (max) => Math.floor(Math.random() * max);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const redis = await startRedis();
const members = [];
process.on("exit", () => {
  redis.stop();
  for (const member of members) member?.server.child.kill("SIGKILL");
});
const query = await createClient({ url: redis.url }).connect();
let lives = 0;
async function start(index) {
  const member = { name: `server ${index}, life ${lives++}`, words: [options.server] };
  await startMember(member, { redis: redis.url, streams: 1, max_len: 10_000_000 });
  members[index] = member;
}
for (let i = 0; i < 3; i++) await start(i);

// --- The proxy that cuts, and leads each connection to any server that is there ---

const peers = [];
const proxy = net.createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", (head) => {
    const peer = peers[Number(/[?&]peer=(\d+)/.exec(head.toString("latin1"))?.[1])];
    const there = members.filter(Boolean);
    if (!peer || !there.length || Date.now() < peer.offlineUntil) return socket.destroy();
    const upstream = net.connect({ port: there[random(there.length)].server.port, host: "127.0.0.1", noDelay: true });
    upstream.on("error", () => {});
    upstream.write(head);
    socket.setNoDelay();
    const link = { socket };
    peer.links.add(link);
    socket.on("data", (data) => upstream.write(data));
    upstream.on("data", (data) => socket.destroyed || socket.write(data));
    upstream.on("close", () => socket.destroy());
    socket.on("close", () => {
      peer.links.delete(link);
      // Half open: the server is not told.
      if (!link.halfOpen) upstream.destroy();
    });
  });
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));

let cuts = 0;
function cut(peer) {
  cuts++;
  peer.offlineUntil = Date.now() + random(number("offline"));
  const halfOpen = random(2) === 0;
  for (const link of peer.links) {
    link.halfOpen = halfOpen;
    link.socket.destroy();
  }
}

// --- The clients ---

const count = { recovered: 0, notRecovered: 0 };
function guest(index) {
  const peer = { links: new Set(), offlineUntil: 0, heard: [] };
  peers[index] = peer;
  const socket = io(`http://127.0.0.1:${proxy.address().port}?peer=${index}`, { forceNew: true, transports: ["websocket"], reconnectionDelay: 50, reconnectionDelayMax: 300, timeout: 5000 });
  socket.on("connect", () => {
    if (peer.sid) count[socket.recovered ? "recovered" : "notRecovered"]++;
    peer.sid ??= socket.id;
  });
  socket.on("disconnect", (reason) => reason.startsWith("io server") && console.error(`a client was sent away: ${reason}`));
  for (const name of ["tick", "own tick"]) socket.on(name, (...args) => peer.heard.push({ offset: args.at(-1), text: `${name} ${args.slice(0, 2)}` }));
}

const until = async (what, done, ms) => {
  const end = Date.now() + ms;
  while (!done()) {
    if (Date.now() > end) return console.error(`not in time: ${what}`);
    await pause(20);
  }
};
for (let i = 0; i < number("clients"); i++) {
  guest(i);
  if (i % 100 === 99) await until("connected", () => peers.every(({ sid }) => sid), 20_000);
}
await until("connected", () => peers.every(({ sid }) => sid), 20_000);

// --- The run ---

const begin = Date.now();
let running = true;
async function emit(index) {
  for (let n = 0; running; n++) {
    const member = members[index];
    // One that is being killed does not answer.
    if (member) member.control.emit("do", { op: "tick", event: member.name, args: [n] }, () => {});
    await pause(number("every"));
  }
}
const emitting = [0, 1, 2].map(emit);
// The official client can be recovered from its first offset on.
await until("a first tick", () => peers.every(({ heard }) => heard.length), 10_000);
for (const peer of peers) {
  const later = () => setTimeout(() => {
    if (!running) return;
    cut(peer);
    later();
  }, 200 + random(2 * number("online")));
  later();
}
let kills = 0;
const end = begin + number("seconds") * 1000;
while (Date.now() + number("kill") * 1000 < end) {
  await pause(number("kill") * 1000);
  const index = kills++ % 3;
  const member = members[index];
  members[index] = undefined;
  await stopMember(member);
  await start(index);
}
await pause(end - Date.now());
running = false;
await Promise.all(emitting);

// --- What was sent, and what came ---

const sent = async () => {
  const entries = await query.xRange("socket.io", "-", "+");
  return entries.flatMap(({ id, message: { nsp, type, data } }) => {
    if (nsp !== "/" || type !== "3") return [];
    const { packet, opts } = JSON.parse(data);
    const [name, ...args] = packet.data;
    return name === "tick" || name === "own tick" ? [{ offset: id, text: `${name} ${args}`, to: opts.rooms[0] }] : [];
  });
};
// Nothing more is written when all servers are silent.
let entries = await sent();
for (let before = -1; before !== entries.length; entries = await sent()) {
  before = entries.length;
  await pause(500);
}
const last = entries.findLast(({ to }) => !to).offset;
await until("the last tick", () => peers.every(({ heard }) => heard.some(({ offset }) => offset === last)), 60_000);
await pause(300);

const report = {
  clients: peers.length, seconds: number("seconds"), kills, cuts, ...count, entries: entries.length, sent: 0, delivered: 0, lost: 0, doubled: 0, disordered: 0,
};
const bySid = new Map();
for (const entry of entries) {
  const to = entry.to ?? "";
  if (!bySid.has(to)) bySid.set(to, []);
  bySid.get(to).push(entry);
}
const place = new Map(entries.map(({ offset }, at) => [offset, at]));
for (const { sid, heard } of peers) {
  const first = place.get(heard[0]?.offset) ?? 0;
  const expected = [...bySid.get(""), ...(bySid.get(sid) ?? [])].filter(({ offset }) => place.get(offset) >= first);
  const got = new Map();
  let before = -1;
  for (const { offset, text } of heard) {
    const at = place.get(offset);
    got.set(offset, (got.get(offset) ?? 0) + 1);
    if (at === undefined || at < before || entries[at].text !== text) report.disordered++;
    before = at ?? before;
  }
  report.sent += expected.length;
  report.delivered += heard.length;
  report.lost += expected.filter(({ offset }) => !got.has(offset)).length;
  report.doubled += [...got.values()].filter((times) => times > 1).length;
}
console.log(JSON.stringify(report));
process.exit(report.lost || report.doubled || report.disordered || report.notRecovered ? 1 : 0);
