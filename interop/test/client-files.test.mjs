// The client's files, as the server serves them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync, inflateSync } from "node:zlib";
import { get, withServer } from "../harness.mjs";

const clientFiles = fileURLToPath(new URL("../node_modules/socket.io/client-dist", import.meta.url));
const names = ["socket.io", "socket.io.min", "socket.io.esm.min", "socket.io.msgpack.min"].flatMap((name) => [`${name}.js`, `${name}.js.map`]);

describe("the client's files", { concurrency: true }, () => {
  it("S053 each is served, compressed, and not sent twice", withServer({ serveClient: true }, { clientFiles }, async (server) => {
    for (const name of names) {
      const path = `/socket.io/${name}`;
      const content = readFileSync(`${clientFiles}/${name}`);
      const plain = await get(server, path);
      assert.deepEqual([plain.status, plain.bytes.equals(content)], [200, true], name);
      const { etag } = plain.headers;
      const type = name.endsWith(".map") ? "application/json" : "application/javascript";
      assert.deepEqual(
        [etag, plain.headers["cache-control"], plain.headers["content-type"], plain.headers["content-encoding"]],
        ['"4.8.4"', "public, max-age=0", `${type}; charset=utf-8`, undefined],
      );
      for (const [encoding, inflate] of [["gzip", gunzipSync], ["deflate", inflateSync]]) {
        const { headers, bytes } = await get(server, path, { "accept-encoding": encoding });
        assert.equal(headers["content-encoding"], encoding);
        assert.ok(inflate(bytes).equals(content), name);
      }
      for (const known of [etag, `W/${etag}`]) {
        const { status, body } = await get(server, path, { "if-none-match": known });
        assert.deepEqual([status, body], [304, ""]);
      }
      assert.equal((await get(server, path, { "if-none-match": '"4.0.0"' })).status, 200);
    }
    // With a query, as those who must not get an old one ask; and nothing but these.
    assert.equal((await get(server, "/socket.io/socket.io.js?v=1")).status, 200);
    for (const other of ["other.js", "../package.json", "socket.io.js/x"]) {
      assert.notEqual((await get(server, `/socket.io/${other}`)).status, 200);
    }
  }));

  it("S053 none is served where that is off", withServer({}, {}, async (server) => {
    const { status, body } = await get(server, "/socket.io/socket.io.js");
    assert.deepEqual([status, JSON.parse(body)], [400, { code: 0, message: "Transport unknown" }]);
  }));
});
