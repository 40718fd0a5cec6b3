// Where our client refuses what JavaScript's takes, each with its reason: the table of
// docs/protocol-notes.md, "Odd servers".
export const DIFFERENCES = {
  "a message ahead of the open packet": "no server sends one, and a page that begins with 4 looks like it",
  "HTTP/1.2": "there is no such version",
};
