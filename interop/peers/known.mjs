// What fails with a client of another make, and why: with the reference as with this server, unless `with` says that it is "reference" or "ours"
// alone. A race is not tried; of the others the table says "works" where they do all the same.

export const KNOWN = [
  {
    make: /^java 1/,
    cases: ["refusal with data"],
    reason: "it takes an ERROR packet with an object for an invalid one, and hears nothing",
  },
  {
    make: /^java/,
    ways: ["websocket", "default"],
    cases: ["drain"],
    with: "reference",
    reason: "OkHttp's onClosing is not heeded: a close frame is not noticed until the ping timeout",
  },
  {
    make: /^python/,
    ways: ["polling"],
    cases: ["burst"],
    reason: "it takes 16 packets in a body, unless `Payload.max_decode_packets` says more",
  },
  {
    make: /^python 4/,
    cases: ["no bytes"],
    reason: "it sends null where bytes have the length 0",
  },
  {
    make: /^python/,
    cases: ["client leaves"],
    is: "race",
    reason: "it breaks its connection off before it has sent that it leaves",
  },
  {
    make: /^go/,
    ways: ["polling"],
    cases: ["acks"],
    reason: "its POST waits until the GET ends that is pending, so that it is connected after 25 s",
  },
  {
    make: /^go/,
    ways: ["websocket"],
    cases: ["bytes at once"],
    is: "race",
    reason: "what is emitted while it connects is written by two threads: text and bytes of two packets come mixed, which ends the session",
  },
  {
    make: /^go/,
    ways: ["websocket"],
    cases: ["restart"],
    is: "race",
    reason: "now and then it reads the open packet of a reconnection, and never joins",
  },
  {
    make: /^go/,
    ways: ["default"],
    cases: ["heartbeats"],
    is: "race",
    reason: "it tries its transports in any order, and over polling each POST waits for the GET",
  },
  {
    make: /^go/,
    ways: ["websocket"],
    cases: ["namespaces"],
    reason: "the end of one namespace takes away what the others listen with",
  },
  {
    make: /^go/,
    ways: ["polling", "websocket"],
    cases: ["refusal"],
    reason: "it wants data with a refusal, and says \"missing 'data' field\" instead of the server's text",
  },
  {
    make: /^go/,
    ways: ["polling", "default"],
    cases: [
      "values", "bytes", "no bytes", "bytes at once", "acks", "order", "burst", "namespaces", "refusal", "refusal with data", "client leaves",
      "server leaves", "server closes", "restart", "drain",
    ],
    is: "race",
    reason: "it tries its transports in any order, and over polling each POST waits for the GET",
  },
];
