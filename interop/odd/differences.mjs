// Where our client refuses what JavaScript's takes, each with its reason: the table of
// docs/protocol-notes.md, "Odd servers".
export const DIFFERENCES = {
  "a message ahead of the open packet": "no server sends one, and a page that begins with 4 looks like it",
  "HTTP/1.2": "there is no such version",
  "no UTF-8 in a text": "it ends both, where it is sent: after the upgrade, which is sooner here",
  "maxPayload is one": "a message larger than the server takes is refused where it is emitted",
  "maxPayload is ten": "a message larger than the server takes is refused where it is emitted",
  "the sid is missing": "nothing but one WebSocket works without it, and no server leaves it out",
  "the sid is empty": "nothing but one WebSocket works with it, and no server sends one",
};
