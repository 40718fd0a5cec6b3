// socket.io-client-swift: URLSession for polling, Starscream for the WebSocket.
import { BAD_REQUEST, OPEN, OPEN_SOCKET, TEXT, UNKNOWN, UNSUPPORTED, UPGRADED, bytes, inAnyOrder, joined, left, refusedUpgrade, withBytes } from "./words.mjs";
import { expected } from "../../harness.mjs";

const SESSION = [
  "Host: {host}", "Accept: */*", "User-Agent: App/1 CFNetwork/1490.0.4 Darwin/23.2.0", "Accept-Language: en-US,en;q=0.9",
  "Accept-Encoding: gzip, deflate", "Connection: keep-alive",
];
const UPLOAD = [...SESSION, "Content-Type: text/plain; charset=UTF-8"];
const STARSCREAM = [
  "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "Origin: http://{host}", "Host: {host}",
];
/** With the option `.compress`. */
const COMPRESSING = [...STARSCREAM, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=15"];

/** It says its transport, base64, and then the revision, if any. */
const speaking = (revision) => {
  const polling = `transport=polling&b64=1${revision}&sid={sid}`;
  const socket = `transport=websocket${revision}&sid={sid}`;
  return {
    poll: (...packets) => ({ get: polling, headers: SESSION, packets }),
    post: (...packets) => ({ post: polling, headers: UPLOAD, body: packets }),
    gone: { get: polling, headers: SESSION, refused: UNKNOWN },
    mismatch: { get: polling, headers: SESSION, refused: BAD_REQUEST },
    posted: (packet) => ({ post: polling, headers: UPLOAD, body: [packet], refused: BAD_REQUEST }),
    hold: { hold: polling, headers: SESSION },
    socket: { socket, headers: STARSCREAM },
    compressing: { socket, headers: COMPRESSING },
  };
};

const { poll, post, gone, mismatch, posted, hold, socket, compressing } = speaking("&EIO=4");

const NEW = [
  {
    transport: "polling",
    steps: [
      poll(OPEN), post('40/,{"token":"ok"}'), poll(joined()), post("40/admin,"), poll(joined("/admin")),
      post('40/guarded,{"token":"ok"}'), poll(joined("/guarded")),
      post(`42["echo","${TEXT}"]`), poll(`42["echo","${TEXT}"]`),
      post(withBytes('452-2["ack",', 2), "bAQID", "b/w=="), poll(withBytes("462-2[", 2), "bAQID", "b/w=="),
      post('42/admin,7["ack",1]', "3", '423["ack",2]'), inAnyOrder(poll("43/admin,7[1]", "433[2]")),
      post('42["ask","x",0]'), poll('42#["question","x"]'), post('43#["yes"]'), poll('42["answered",null,"yes"]'),
      post("41/admin,"), left(undefined, "/admin"), post('424["ack",4]'), poll("434[4]"),
      post("41/,"), left(), hold, post("1"), { held: ["6"], or: UNKNOWN }, gone,
    ],
  },
  {
    transport: "WebSocket",
    steps: [
      socket, { comes: [OPEN_SOCKET] }, { send: "40/," }, { comes: [joined()] }, { send: '40/admin,{"a":1}' }, { comes: [joined("/admin")] },
      { send: `42/admin,0["ack","${TEXT}"]` }, { comes: [`43/admin,0["${TEXT}"]`] },
      { send: withBytes('451-1["ack",', 1) }, { send: bytes(1, 2, 3) }, { comes: [withBytes("461-1[", 1), bytes(1, 2, 3)] },
      { send: '42["echo",1]' }, { comes: ['42["echo",1]'] },
      { send: '42["ask","x",0]' }, { comes: ['42#["question","x"]'] }, { send: '43#["yes"]' }, { comes: ['42["answered",null,"yes"]'] },
      { send: "41/," }, left(), { send: "1" }, { bye: bytes(3, 232) }, left("transport close", "/admin"),
    ],
  },
  {
    transport: "WebSocket that offers compression",
    steps: [compressing, { comes: [OPEN_SOCKET] }, { send: "40/," }, { comes: [joined()] }, { send: "1" }, { bye: bytes(3, 232) }, left("transport close")],
  },
  {
    transport: "upgrade",
    steps: [
      poll(OPEN), socket, hold, post("40/,"), { held: [joined()] }, hold, { send: "2probe" }, { comes: ["3probe"] }, post("6"), { held: ["6"] },
      { send: "5" }, UPGRADED, { send: '420["ack","up"]' }, { comes: ['430["up"]'] }, { send: '421["transport"]' }, { comes: ['431["websocket"]'] },
      { send: "41/," }, left(), { send: "1" }, { bye: bytes(3, 232) },
    ],
  },
  {
    transport: "upgrade before CONNECT",
    steps: [
      poll(OPEN), hold, socket, { send: "2probe" }, { comes: ["3probe"] }, post("6"), { held: ["6"] },
      { send: "5" }, { send: '40/,{"t":1}' }, { comes: [joined()] }, { send: '420["ack","up"]' }, { comes: ['430["up"]'] },
      { bye: bytes(3, 232) }, left("transport close"),
    ],
  },
  {
    transport: "upgrade that requests follow",
    steps: [
      poll(OPEN), post("40/,"), poll(joined()), socket, { send: "2probe" }, { comes: ["3probe"] }, { send: "5" }, UPGRADED,
      posted('420["ack","late"]'), mismatch, { send: '421["ack","alive"]' }, { comes: ['431["alive"]'] }, { bye: bytes(3, 232) }, left("transport close"),
    ],
  },
];

/** Revision 3: it is in the main namespace without asking, and pings by itself. */
const old = (revision) => {
  const { poll, post, gone, hold, socket } = speaking(revision);
  return [
    {
      transport: "polling",
      steps: [
        poll(OPEN, "40"), post("2"), poll("3"), post("40/admin,"), poll("40/admin,"),
        post(`42/admin,1["ack","${TEXT}"]`, "2"), inAnyOrder(poll(`43/admin,1["${TEXT}"]`, "3")),
        post('42["echo","😀"]'), poll('42["echo","😀"]'),
        post(withBytes('452-2["ack",', 2), "b4AQID", "b4/w=="), poll(withBytes("462-2[", 2), "b4AQID", "b4/w=="),
        post('42["ask","x",0]'), poll('42#["question","x"]'), post('43#["yes"]'), poll('42["answered",null,"yes"]'),
        post("40/guarded?token=no,"), poll('44/guarded,{"code":42}'), post("40/nope,"), poll('44/nope,{"message":"Invalid namespace"}'),
        post("41/admin,"), left(undefined, "/admin"), hold, post("1"), { held: ["6"], or: UNKNOWN }, left("transport close"), gone,
      ],
    },
    {
      transport: "WebSocket",
      steps: [
        socket, { comes: [OPEN_SOCKET, "40"] }, { send: "2" }, { comes: ["3"] }, { send: "40/admin," }, { comes: ["40/admin,"] },
        { send: `42/admin,0["ack","${TEXT}"]` }, { comes: [`43/admin,0["${TEXT}"]`] }, { send: '42["echo",1]' }, { comes: ['42["echo",1]'] },
        { send: withBytes('451-1["ack",', 1) }, { send: bytes(4, 1, 2, 3) }, { comes: [withBytes("461-1[", 1), bytes(4, 1, 2, 3)] },
        { send: '42["ask","x",0]' }, { comes: ['42#["question","x"]'] }, { send: '43#["yes"]' }, { comes: ['42["answered",null,"yes"]'] },
        { send: "41/admin," }, left(undefined, "/admin"), { send: "1" }, { bye: bytes(3, 232) }, left("transport close"),
      ],
    },
    {
      transport: "upgrade",
      steps: [
        poll(OPEN, "40"), socket, post("2"), poll("3"), hold, { send: "2probe" }, { comes: ["3probe"] }, post("6"), { held: ["6"] },
        { send: "5" }, UPGRADED, { send: "40/admin," }, { comes: ["40/admin,"] }, { send: "2" }, { comes: ["3"] },
        { send: '42/admin,3["ack","up"]' }, { comes: ['43/admin,3["up"]'] }, { send: "1" }, { bye: bytes(3, 232) }, left("transport close"),
      ],
    },
  ];
};

const named = (version, revision, scripts) => scripts.map((script) => ({ make: "Swift", version, revision, allowEIO3: true, ...script }));

export default [
  ...named("15", 3, old("")),
  ...named('15 with .connectParams(["EIO": "3"])', 3, old("&EIO=3")),
  ...named("16 with .version(.two)", 3, old("&EIO=3")),
  ...named("16", 4, NEW),
  {
    make: "Swift", version: "15", revision: 3, transport: "polling, not allowed",
    steps: [{ ...speaking("").gone, refused: UNSUPPORTED }],
  },
  {
    make: "Swift", version: "15", revision: 3, transport: "WebSocket, not allowed",
    steps: [{
      ...speaking("").socket,
      // What the reference says stands inside of the WebSocket.
      refused: expected({ reference: { status: 101, body: "" }, ours: refusedUpgrade(UNSUPPORTED) }),
    }],
  },
];
