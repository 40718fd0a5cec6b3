// socket.io-client-cpp: websocketpp, which sends its headers in the order of their names.
import { OPEN_SOCKET, TEXT, bytes, joined, left, withBytes } from "./words.mjs";

const HEADERS = [
  "Connection: Upgrade", "Host: {host}", "Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "Upgrade: websocket", "User-Agent: WebSocket++/0.8.2",
];
const socket = (revision) => ({ socket: `EIO=${revision}&transport=websocket&t=1796052763`, headers: HEADERS });
const BYE = Buffer.from("\x03\xe8End by user", "latin1");
const ask = [{ send: '42["ask","x",0]' }, { comes: ['42#["question","x"]'] }, { send: '43#["yes"]' }, { comes: ['42["answered",null,"yes"]'] }];

export default [
  // It waits for the CONNECT of revision 3, and the first ping of its own ends the session.
  { version: "1.x", revision: 4, transport: "WebSocket", steps: [socket(4), { comes: [OPEN_SOCKET] }, { send: "2" }, { closed: true }] },
  {
    version: "2.1", revision: 3, transport: "WebSocket",
    steps: [
      socket(3), { comes: [OPEN_SOCKET, "40"] }, { send: "40/admin" }, { comes: ["40/admin,"] },
      { send: `42/admin,0["ack","${TEXT}"]` }, { comes: [`43/admin,0["${TEXT}"]`] }, { send: '42["echo",1]' }, { comes: ['42["echo",1]'] },
      { send: withBytes('451-1["ack",', 1) }, { send: bytes(4, 1, 2, 3) }, { comes: [withBytes("461-1[", 1), bytes(4, 1, 2, 3)] },
      ...ask, { send: "2" }, { comes: ["3"] },
      { send: "41/admin" }, left(undefined, "/admin"), { send: "41" }, left(), { bye: BYE },
    ],
  },
  {
    version: "3.1", revision: 4, transport: "WebSocket",
    steps: [
      socket(4), { comes: [OPEN_SOCKET] }, { send: "40" }, { comes: [joined()] }, { send: "40/admin" }, { comes: [joined("/admin")] },
      { send: `42/admin,0["ack","${TEXT}"]` }, { comes: [`43/admin,0["${TEXT}"]`] }, { send: '42["echo",1]' }, { comes: ['42["echo",1]'] },
      // The byte 4 of revision 3 is one of its own now.
      { send: withBytes('451-1["ack",', 1) }, { send: bytes(4, 1, 2, 3) }, { comes: [withBytes("461-1[", 1), bytes(4, 1, 2, 3)] },
      ...ask, { send: "41/admin" }, left(undefined, "/admin"), { send: "41" }, left(), { bye: BYE },
    ],
  },
].map((script) => ({ make: "C++", allowEIO3: true, ...script }));
