// The differences that are meant: the table in docs/protocol-notes.md. A rule in `rules.mjs` names its row by the first
// cell.
import { readFileSync } from "node:fs";

const NOTES = new URL("../../docs/protocol-notes.md", import.meta.url);

/** The first cells of the table about the server. */
export function rows(notes = readFileSync(NOTES, "utf8")) {
  const [server] = notes.split("\n## ");
  const lines = server.split("\n").filter((line) => line.startsWith("| "));
  return lines.map((line) => /^\| (.*?) \| /.exec(line)?.[1]).slice(1);
}
