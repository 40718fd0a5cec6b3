// docs/from-javascript.md has a line for each public name of the JavaScript packages.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";

const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
const types = (path) => read(`../node_modules/${path}.d.ts`);

/** The public members of a class or an interface, and what its comments do not call private. */
function members(text, name) {
  const lines = text.split("\n");
  const start = lines.findIndex((line) => new RegExp(`^(export |declare |abstract )*(class|interface) ${name}\\b`).test(line));
  assert.notEqual(start, -1, `${name} is declared`);
  // The head may take several lines, whose last one opens the body.
  const open = lines.findIndex((line, at) => at >= start && line.endsWith("{"));
  const end = lines.findIndex((line, at) => at > open && line === "}");
  const found = new Set();
  let comment = "";
  for (const line of lines.slice(open + 1, end)) {
    if (/^ {4}( \*|\/\*)/.test(line)) comment = line.includes("/**") ? line : comment + line;
    const [, member] = /^ {4}(?:readonly |static |abstract |get |set )*([a-z]\w*)\??[(<:]/i.exec(line) ?? [];
    if (!member) continue;
    if (member !== "constructor" && !/@(private|internal|protected)\b/.test(comment)) found.add(member);
    comment = "";
  }
  assert.ok(found.size, `${name} has members`);
  return [...found];
}

/** The words in the left column of a part of the guide. */
function words(part) {
  const rows = part.split("\n").filter((line) => line.startsWith("| "));
  const code = rows.flatMap((row) => row.split(/(?<!\\)\|/)[1].match(/`[^`]+`/g) ?? []);
  return new Set(code.flatMap((text) => text.match(/\w+/g)));
}

const guide = read("../../docs/from-javascript.md");
const at = guide.indexOf("\n## The client");
const emitter = ["@socket.io/component-emitter/lib/cjs/index", ["Emitter"]];
const sides = {
  server: [guide.slice(0, at), [
    ["socket.io/dist/index", ["Server", "ServerOptions"]],
    ["socket.io/dist/namespace", ["Namespace", "NamespaceReservedEventsMap"]],
    ["socket.io/dist/parent-namespace", ["ParentNamespace"]],
    ["socket.io/dist/socket", ["Socket"]],
    ["socket.io/dist/socket-types", ["Handshake", "SocketReservedEventsMap"]],
    ["socket.io/dist/client", ["Client"]],
    ["socket.io/dist/broadcast-operator", ["BroadcastOperator", "RemoteSocket"]],
    ["engine.io/build/server", ["ServerOptions", "BaseServer", "Server"]],
    ["engine.io/build/socket", ["Socket"]],
    ["socket.io-adapter/dist/in-memory-adapter", ["Adapter"]],
    emitter,
  ]],
  client: [guide.slice(at), [
    ["socket.io-client/build/cjs/socket", ["Socket", "SocketOptions", "SocketReservedEvents"]],
    ["socket.io-client/build/cjs/manager", ["Manager", "ManagerOptions", "ManagerReservedEvents"]],
    ["engine.io-client/build/cjs/socket", ["Socket", "SocketOptions", "SocketReservedEvents"]],
    emitter,
  ]],
};

for (const [side, [part, sources]] of Object.entries(sides)) {
  describe(`the guide for those who come from the JavaScript ${side}`, () => {
    const known = words(part);
    for (const [file, names] of sources) {
      for (const name of names) {
        it(`M69 has each member of ${name} in ${file}`, () => {
          assert.deepEqual(members(types(file), name).filter((member) => !known.has(member)), []);
        });
      }
    }
  });
}
