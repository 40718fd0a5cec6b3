// What clients in Swift, Dart, C# and C++ send, after their sources, against the server under test.
import { after, before, describe, it } from "node:test";
import { Server } from "../harness.mjs";
import cpp from "../peers/replays/cpp.mjs";
import csharp from "../peers/replays/csharp.mjs";
import dart from "../peers/replays/dart.mjs";
import { play } from "../peers/replays/play.mjs";
import swift from "../peers/replays/swift.mjs";

const SCRIPTS = [...swift, ...dart, ...csharp, ...cpp];
/** The rows of docs/acceptance.md. */
const ROWS = { "Swift 15": "M28 ", "Swift 16": "M29 " };

for (const allowEIO3 of [true, false]) {
  describe(allowEIO3 ? "replays" : "replays where revision 3 is not allowed", () => {
    let server;
    before(async () => (server = await Server.start(allowEIO3 ? { allowEIO3 } : {})));
    after(() => server.stop());

    for (const script of SCRIPTS.filter((script) => Boolean(script.allowEIO3) === allowEIO3)) {
      const name = `${script.make} ${script.version}`;
      it(`${ROWS[name.slice(0, 8)] ?? ""}${name}: ${script.transport}`, () => play(script, server));
    }
  });
}
