// socket_io_client of Dart: dart:io's WebSocket.
import { expected } from "../../harness.mjs";
import { BAD_REQUEST, OPEN_SOCKET, TEXT, bytes, joined, left, refusedUpgrade, withBytes } from "./words.mjs";

const HEADERS = [
  "user-agent: Dart/3.5 (dart:io)", "connection: Upgrade", "cache-control: no-cache", "accept-encoding: gzip", "content-length: 0",
  "sec-websocket-version: 13", "host: {host}", "sec-websocket-extensions: permessage-deflate; client_max_window_bits", "upgrade: websocket",
  "sec-websocket-key: {key}",
];
const socket = (revision, transport = "websocket", more = "") => ({ socket: `EIO=${revision}&transport=${transport}${more}`, headers: HEADERS });
/** What `setTransports(['websocket'])` mends. */
const defaults = (revision) => [{
  ...socket(revision, "polling"),
  refused: expected({ reference: { status: 101, body: "" }, ours: refusedUpgrade(BAD_REQUEST) }),
}, ...expected({ reference: [{ closed: true }], ours: [] })];

const ask = [{ send: '42["ask","x",0]' }, { comes: ['42#["question","x"]'] }, { send: '43#["yes"]' }, { comes: ['42["answered",null,"yes"]'] }];

export default [
  {
    version: "1.x", revision: 3, transport: "WebSocket",
    steps: [
      socket(3), { comes: [OPEN_SOCKET, "40"] }, { send: "40/admin?token=1," }, { comes: ["40/admin,"] },
      { send: `42/admin,0["ack","${TEXT}"]` }, { comes: [`43/admin,0["${TEXT}"]`] }, { send: '42["echo",1]' }, { comes: ['42["echo",1]'] },
      { send: withBytes('451-1["ack",', 1) }, { send: bytes(4, 1, 2) }, { comes: [withBytes("461-1[", 1), bytes(4, 1, 2)] },
      ...ask, { send: "2" }, { comes: ["3"] },
      { send: "41/admin," }, left(undefined, "/admin"), { bye: bytes() }, left("transport close"),
    ],
  },
  {
    version: "2.x, 3.x", revision: 4, transport: "WebSocket",
    steps: [
      socket(4), { comes: [OPEN_SOCKET] }, { send: '40{"token":"ok"}' }, { comes: [joined()] }, { send: "40/admin," }, { comes: [joined("/admin")] },
      { send: `42/admin,0["ack","${TEXT}"]` }, { comes: [`43/admin,0["${TEXT}"]`] }, { send: '42["echo",1]' }, { comes: ['42["echo",1]'] },
      { send: withBytes('451-1["ack",', 1) }, { send: bytes(1, 2) }, { comes: [withBytes("461-1[", 1), bytes(1, 2)] },
      ...ask, { send: "41/admin," }, left(undefined, "/admin"), { send: "41" }, left(), { bye: bytes() },
    ],
  },
  {
    version: "2.x, 3.x", revision: 4, transport: "WebSocket, with forceBase64",
    steps: [
      socket(4, "websocket", "&b64=1"), { comes: [OPEN_SOCKET] }, { send: "40" }, { comes: [joined()] },
      { send: withBytes('451-1["ack",', 1) }, { send: "bAQID" },
      { comes: [withBytes("461-1[", 1), "bAQID"] },
      { bye: bytes() }, left("transport close"),
    ],
  },
  { version: "1.x", revision: 3, transport: "defaults", steps: defaults(3) },
  { version: "2.x, 3.x", revision: 4, transport: "defaults", steps: defaults(4) },
].map((script) => ({ make: "Dart", allowEIO3: true, ...script }));
