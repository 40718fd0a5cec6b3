// Compression of polling answers, and of WebSocket messages.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync, inflateSync } from "node:zlib";
import { get, open, post, withServer } from "../harness.mjs";

/** A polling session that has joined. */
async function joined(server) {
  const session = await open(server);
  await post(server, session.path, "40");
  await get(server, session.path);
  return session;
}

/** The answer to a GET after an event of `length` characters. */
async function emitted(server, how, length, headers) {
  const session = await joined(server);
  await post(server, session.path, `42["emit with",${JSON.stringify(how)},1,"x","${"a".repeat(length)}"]`);
  return get(server, session.path, headers);
}

describe("polling", { concurrency: true }, () => {
  it("E063 answers are compressed for those who accept it", withServer({}, {}, async (server) => {
    const expected = `42["x","${"a".repeat(1100)}"]`;
    for (const [accept, name, inflate] of [["gzip, deflate", "gzip", gunzipSync], ["deflate", "deflate", inflateSync]]) {
      const answer = await emitted(server, {}, 1100, { "accept-encoding": accept });
      assert.equal(answer.headers["content-encoding"], name);
      assert.equal(inflate(answer.bytes).toString(), expected);
    }
    for (const [how, length, accept] of [[{}, 1000, "gzip"], [{ compress: false }, 1100, "gzip"], [{}, 1100, "br"], [{}, 1100, ""]]) {
      const answer = await emitted(server, how, length, accept ? { "accept-encoding": accept } : {});
      assert.equal(answer.headers["content-encoding"], undefined, JSON.stringify([how, length, accept]));
      assert.equal(answer.body, `42["x","${"a".repeat(length)}"]`);
    }
  }));

  it("E063 the threshold can be set, and compression be off", async () => {
    const one = withServer({ httpCompression: { threshold: 10 } }, {}, async (server) => {
      const answer = await emitted(server, {}, 20, { "accept-encoding": "gzip" });
      assert.equal(answer.headers["content-encoding"], "gzip");
    });
    const none = withServer({ httpCompression: false }, {}, async (server) => {
      const answer = await emitted(server, {}, 2000, { "accept-encoding": "gzip" });
      assert.equal(answer.headers["content-encoding"], undefined);
    });
    await Promise.all([one(), none()]);
  });
});
