// SocketIOClient of C#: HttpClient for polling, .NET's ClientWebSocket.
import { OPEN, OPEN_SOCKET, TEXT, UNKNOWN, bytes, fragments, joined, left, withBytes } from "./words.mjs";

const TYPE = "Content-Type: text/plain; charset=utf-8";
const GET = ["Host: {host}", TYPE, "Content-Length: 0"];
const POST = ["Host: {host}", TYPE];
const OCTETS = ["Host: {host}", "Content-Type: application/octet-stream"];
const SOCKET = ["Host: {host}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"];

const speaking = (revision) => {
  const polling = `EIO=${revision}&transport=polling&sid={sid}&t=1796052763123`;
  return {
    poll: (...packets) => ({ get: polling, headers: GET, packets }),
    hold: { hold: polling, headers: GET },
    post: (...packets) => ({ post: polling, headers: POST, body: packets }),
    octets: (...all) => ({ post: polling, headers: OCTETS, body: bytes(...all) }),
    socket: { socket: `EIO=${revision}&transport=websocket&sid={sid}`, headers: SOCKET },
  };
};
const v3 = speaking(3);
const v4 = speaking(4);
const BYE = Buffer.from("\x03\xe8io client disconnect", "latin1");

/** 8 KiB at a time, which ends within characters. */
const LONG = "é😀".repeat(6000);
const MANY = Buffer.from(Array.from({ length: 20_480 }, (_, n) => n % 256));
const cut = (start, id, prefix) => [
  ...start, { send: fragments(`42${id}["ack","${LONG}"]`, 8192) }, { comes: [`43${id}["${LONG}"]`] },
  { send: withBytes('451-9["ack",', 1) }, { send: fragments(Buffer.concat([prefix, MANY]), 8192) },
  { comes: [withBytes("461-9[", 1), Buffer.concat([prefix, MANY])] },
  { send: "41" }, left(), { bye: BYE },
];

const socketOf = (start, prefix) => [
  ...start, { send: "40/admin," }, { comes: [prefix.length ? "40/admin," : joined("/admin")] },
  { send: `42/admin,1["ack","${TEXT}"]` }, { comes: [`43/admin,1["${TEXT}"]`] }, { send: '42["echo",1]' }, { comes: ['42["echo",1]'] },
  { send: withBytes('451-3["ack",', 1) }, { send: bytes(...prefix, 1) }, { comes: [withBytes("461-3[", 1), bytes(...prefix, 1)] },
  { send: '42["ask","x",0]' }, { comes: ['42#["question","x"]'] }, { send: '43#["yes"]' }, { comes: ['42["answered",null,"yes"]'] },
  { send: "41/admin," }, left(undefined, "/admin"), { send: "41" }, left(), { bye: BYE },
];
const SOCKET_3 = [v3.socket, { comes: [OPEN_SOCKET, "40"] }];
const SOCKET_4 = [v4.socket, { comes: [OPEN_SOCKET] }, { send: '40{"token":"ok"}' }, { comes: [joined()] }];

export default [
  {
    version: "2.x with EIO 3", revision: 3, transport: "polling",
    steps: [
      v3.poll(OPEN, "40"), v3.post("40/admin,"), v3.poll("40/admin,"), v3.post(`42/admin,1["ack","${TEXT}"]`), v3.poll(`43/admin,1["${TEXT}"]`),
      v3.post('42["echo","é😀"]'), v3.poll('42["echo","é😀"]'),
      v3.post(withBytes('452-2["ack",', 2)), v3.octets(1, 4, 255, 4, 1, 2, 3, 1, 1, 2, 255, 4, ...Array(11).fill(254)),
      v3.poll(withBytes("462-2[", 2), bytes(4, 1, 2, 3), bytes(4, ...Array(11).fill(254))),
      v3.post('42["emit with",{},1,"text","é😀"]', withBytes('451-["echo",', 1)), v3.octets(1, 4, 255, 4, 1, 2, 3),
      v3.poll('42["text","é😀"]', withBytes('451-["echo",', 1), bytes(4, 1, 2, 3)),
      v3.post('42["ask","x",0]'), v3.poll('42#["question","x"]'), v3.post('43#["yes"]'), v3.poll('42["answered",null,"yes"]'),
      v3.post("2"), v3.poll("3"), v3.post("41"), left(), v3.hold, v3.post("1"), { held: ["6"], or: UNKNOWN }, left("transport close", "/admin"),
    ],
  },
  { version: "2.x with EIO 3", revision: 3, transport: "WebSocket", steps: socketOf(SOCKET_3, [4]) },
  {
    version: "2.x", revision: 4, transport: "polling",
    steps: [
      v4.poll(OPEN), v4.post('40{"token":"ok"}'), v4.poll(joined()), v4.post("40/admin,"), v4.poll(joined("/admin")),
      v4.post(`42/admin,1["ack","${TEXT}"]`), v4.poll(`43/admin,1["${TEXT}"]`), v4.post('42["echo","é😀"]'), v4.poll('42["echo","é😀"]'),
      // The event and its attachments in a POST each.
      v4.post(withBytes('452-2["ack",', 2)), v4.post("bAQID", "b/w=="), v4.poll(withBytes("462-2[", 2), "bAQID", "b/w=="),
      v4.post('42["ask","x",0]'), v4.poll('42#["question","x"]'), v4.post('43#["yes"]'), v4.poll('42["answered",null,"yes"]'),
      v4.post("41"), left(), v4.hold, v4.post("1"), { held: ["6"], or: UNKNOWN }, left("transport close", "/admin"),
    ],
  },
  { version: "2.x", revision: 4, transport: "WebSocket", steps: socketOf(SOCKET_4, []) },
  { version: "3.x with EIO 3", revision: 3, transport: "WebSocket in fragments", steps: cut(SOCKET_3, 1, bytes(4)) },
  { version: "3.x", revision: 4, transport: "WebSocket in fragments", steps: cut(SOCKET_4, 1, bytes()) },
  {
    version: "4.x", revision: 4, transport: "upgrade without a probe",
    steps: [
      v4.poll(OPEN), v4.post('40{"token":"ok"}'), v4.socket, { send: "5" }, { comes: [joined()] },
      { send: '421["ack","up"]' }, { comes: ['431["up"]'] }, { send: '422["transport"]' }, { comes: ['432["websocket"]'] },
      { send: withBytes('451-3["ack",', 1) }, { send: bytes(1) }, { comes: [withBytes("461-3[", 1), bytes(1)] },
      { send: "41" }, left(), { bye: BYE },
    ],
  },
].map((script) => ({ make: "C#", allowEIO3: true, ...script }));
