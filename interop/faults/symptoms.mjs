// What users see, with the official client and with plain requests.
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { within } from "../harness.mjs";

const ANSWER = 1_500;

/** The official client's way to a connection: `error` if there is none, and what became of the upgrade. */
export async function attempt(url, { client = io, ...options } = {}) {
  const socket = client(url, { forceNew: true, reconnection: false, timeout: ANSWER, ...options });
  const { engine } = socket.io;
  const upgrade = new Promise((resolve) => {
    engine.once("upgrade", ({ name }) => resolve(name));
    engine.once("upgradeError", () => resolve("none"));
  });
  const outcome = new Promise((resolve) => {
    const fail = (error) => resolve({ socket, error: error instanceof Error ? error : new Error(`${error}`) });
    socket.on("connect", () => resolve({ socket, upgrade }));
    socket.on("connect_error", fail);
    socket.on("error", fail); // of version 2
    socket.on("disconnect", (reason) => fail(new Error(reason)));
    socket.io.on("close", (reason) => reason !== "forced close" && fail(new Error(reason)));
  });
  const silence = new Promise((resolve) => setTimeout(resolve, 2 * (options.timeout ?? ANSWER), { socket, error: new Error("silence") }).unref());
  return Promise.race([outcome, silence]);
}

/** It connects, is answered, and has the transport in the end. */
export const connects = ({ over = "websocket", ask = true, ...options } = {}) => async (url) => {
  const { socket, error, upgrade } = await attempt(url, options);
  try {
    assert.equal(error, undefined, `${error?.message} ${error?.description} ${error?.type ?? ""}`);
    const { engine } = socket.io;
    if (engine.transport.name !== over) await within(upgrade, `an upgrade to ${over}`);
    assert.equal(engine.transport.name, over);
    if (ask) {
      const answer = await within(new Promise((resolve) => socket.emit("ask", "x", resolve)), "an answer");
      assert.equal(answer, "x");
    }
  } finally {
    socket.close();
  }
};

/** It does not connect; the error has these properties. */
export const fails = (message, { status, body, data, ...options } = {}) => async (url) => {
  const { socket, error } = await attempt(url, options);
  socket.close();
  assert.ok(error, "a client has connected");
  assert.match(error.message, message instanceof RegExp ? message : new RegExp(`^${message}`));
  if (status) assert.equal(error.description, status);
  // The client drops the body; who wants to read it looks at the network.
  if (body) await answers(HANDSHAKE, {}, async (_, text) => assert.match(text, body))(url);
  if (data) assert.deepEqual(error.data, data);
};

/** It connects over polling and stays there, and who wants WebSocket gets nothing. */
export const staysOnPolling = (options = {}) => async (url) => {
  const { socket, error, upgrade } = await attempt(url, options);
  try {
    assert.equal(error, undefined, error?.message);
    assert.equal(await within(upgrade, "an upgrade that fails"), "none");
    assert.equal(socket.io.engine.transport.name, "polling");
  } finally {
    socket.close();
  }
  await fails("websocket error", { transports: ["websocket"], ...options })(url);
};

/** It connects, says something if there is something to say, and is thrown out. */
export const isThrownOut = (reason, { says, ...options } = {}) => async (url) => {
  const { socket, error } = await attempt(url, options);
  try {
    assert.equal(error, undefined, error?.message);
    if (says) socket.emit("ask", says);
    const [found] = await within(
      new Promise((resolve) => socket.on("disconnect", (...args) => resolve(args))),
      "a disconnection",
    );
    assert.match(found, new RegExp(reason));
  } finally {
    socket.close();
  }
};

/** A session that one request has opened is not known to some of those that follow. */
export const losesSessions = async (url) => {
  const post = { method: "POST", body: "40" };
  const bodies = [];
  for (let i = 0; i < 6; i++) {
    const opened = await (await fetch(new URL(HANDSHAKE, url))).text();
    const path = `${HANDSHAKE}&sid=${JSON.parse(opened.slice(1)).sid}`;
    for (let j = 0; j < 1 + (i % 2); j++) bodies.push(await (await fetch(new URL(path, url), post)).text());
  }
  assert.ok(bodies.includes('{"code":1,"message":"Session ID unknown"}'), bodies.join("\n"));
  const outcomes = await Promise.all(Array.from({ length: 12 }, () => attempt(url, { transports: ["polling"] })));
  for (const { socket } of outcomes) socket.close();
  assert.ok(outcomes.some(({ error }) => /xhr p\w+ error/.test(error?.message)), "all have connected");
};

/** All of several checks. */
export const all = (...checks) => async (url) => {
  for (const check of checks) await check(url);
};

export const HANDSHAKE = "socket.io/?EIO=4&transport=polling";

/** A plain request, and what its answer is like. */
export const answers = (path, init, check) => async (url) => {
  const response = await within(fetch(new URL(path, url), { redirect: "manual", ...init }), `an answer to ${path}`);
  await check(response, await response.text());
};

/** Would a browser give this answer to a page of the origin? */
export function readable({ headers }, origin, credentials = false) {
  const allowed = headers.get("access-control-allow-origin");
  if (credentials) return allowed === origin && headers.get("access-control-allow-credentials") === "true";
  return allowed === origin || allowed === "*";
}
