// What a browser can find out about a Socket.IO server. Each check tells an outcome: its id, a status, a detail, and findings,
// which name a text and the facts for it. Nothing here knows the document.

/** How long an answer may take, how long connections are held, and how often sessions are opened; in milliseconds. */
const WAIT = 5_000;
const HOLD = 5_000;
const ROUNDS = 4;
/** A small body that comes so much later than its head was held back. */
const LATE = 250;
const PING = "2";
const PONG = "3";

/** Examines the server at `base` whose requests go to `path`, and tells each outcome as it comes. */
export async function examine(base, path, tell) {
  const server = new Server(base, path);
  tell(browser());
  const { open, handshake, cors } = await reach(server);
  tell(handshake);
  tell(cors);
  const sticky = open ? await followUp(server) : because("D10", handshake);
  tell(sticky);
  const polls = open && sticky.status === "ok";
  const held = polls ? holdPoll(server, open) : undefined;
  const { channel, direct, session } = await openWebSocket(server, open, handshake);
  tell(direct);
  const [polling, upgrade, heartbeat] = await Promise.all([
    polls ? held.then((outcome) => longPolling(sticky, outcome)) : because("D14", open ? sticky : handshake),
    upgrades(server, open, [handshake, sticky, direct]),
    channel ? beat(channel, session) : because("D16", direct),
  ]);
  for (const outcome of [polling, upgrade, heartbeat]) tell(outcome);
}

const ok = (id, detail) => ({ id, status: "ok", detail, findings: [] });
const skipped = (id, detail) => ({ id, status: "skipped", detail, findings: [] });
const because = (id, other) => skipped(id, { word: "because", id: other.id });
const unclear = (id, detail = "") => ({ id, status: "inconclusive", detail, findings: [] });
const found = (id, status, key, facts, ...evidence) => ({ id, status, detail: "", findings: [{ key, facts, status, evidence }] });
const seconds = (ms) => (ms < 1_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 100) / 10} s`);
const waited = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Requests and WebSockets to one server. */
class Server {
  #count = 0;

  constructor(base, path) {
    this.base = base;
    this.path = path;
  }

  url(transport, sid) {
    const session = sid ? `&sid=${encodeURIComponent(sid)}` : "";
    return `${this.base}${this.path}?EIO=4&transport=${transport}${session}&t=${Date.now().toString(36)}${this.#count++}`;
  }

  /** A request over polling; `body` makes it a POST. */
  async ask({ sid, body, wait = WAIT } = {}) {
    const method = body === undefined ? "GET" : "POST";
    const line = `${method} ${this.path}?EIO=4&transport=polling${sid ? "&sid=…" : ""}`;
    const headers = body === undefined ? undefined : { "content-type": "text/plain;charset=UTF-8" };
    const start = performance.now();
    const took = () => performance.now() - start;
    try {
      const response = await fetch(this.url("polling", sid), { method, headers, body, signal: AbortSignal.timeout(wait) });
      const head = took();
      const text = await response.text();
      return { line, status: response.status, text, late: took() - head, took: took() };
    } catch (error) {
      return { line, isSilent: error.name === "TimeoutError", text: "", took: took() };
    }
  }

  /** Is anything there, whether or not a page may read it? */
  async answers() {
    const init = { mode: "no-cors", signal: AbortSignal.timeout(WAIT) };
    return fetch(this.url("polling"), init).then(() => true, () => false);
  }

  leave(sid) {
    return this.ask({ sid, body: "1" });
  }

  webSocket(sid) {
    return new Channel(this.url("websocket", sid).replace(/^http/, "ws"));
  }
}

/** A WebSocket whose messages are awaited one by one. */
class Channel {
  #messages = [];
  #wake = () => {};
  #start = performance.now();

  constructor(url) {
    this.line = "WebSocket";
    try {
      this.socket = new WebSocket(url);
    } catch {
      // A page of https:// may not open ws://.
      this.ended = { code: 1006, wasClean: false, after: 0 };
      return;
    }
    this.socket.onmessage = ({ data }) => {
      this.#messages.push(String(data));
      this.#wake();
    };
    this.socket.onclose = ({ code, wasClean }) => {
      this.ended = { code, wasClean, after: performance.now() - this.#start };
      this.#wake();
    };
  }

  /** The next message; nothing if the WebSocket has ended or is silent for so long. */
  async next(wait) {
    const deadline = performance.now() + wait;
    while (!this.#messages.length && !this.ended && performance.now() < deadline) {
      await Promise.race([new Promise((resolve) => (this.#wake = resolve)), waited(deadline - performance.now())]);
    }
    return this.#messages.shift();
  }

  send(text) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(text);
  }

  close() {
    this.socket?.close();
  }

  /** How it ended, in a line of evidence. */
  end() {
    return this.ended ? `${this.line} → ${this.ended.code}, ${seconds(this.ended.after)}` : `${this.line} → …`;
  }
}

/** What an answer was, in a line of evidence; ids of sessions stay secret. */
const shown = ({ line, status, text, isSilent, took }) =>
  `${line} → ${status ?? (isSilent ? "…" : "✗")} (${seconds(took)}) ${text.slice(0, 200).replace(/"sid":"[^"]*"/g, '"sid":"…"')}`.trim();

/** The session that an answer opens. */
function opened({ status, text }) {
  if (status !== 200 || !text.startsWith("0{")) return undefined;
  try {
    const open = JSON.parse(text.slice(1).split("\u001e")[0]);
    return typeof open.sid === "string" ? open : undefined;
  } catch {
    return undefined;
  }
}

/** The refusal of a server, which is JSON. */
function refusal(text) {
  try {
    const { code, message } = JSON.parse(text);
    return { code, message: typeof message === "string" ? message : "" };
  } catch {
    return {};
  }
}

const isUnknown = ({ status, text }) => status === 400 && (refusal(text).code === 1 || /invalid session/i.test(text));

function browser() {
  const isNative = (made) => /\[native code\]/.test(Function.prototype.toString.call(made));
  const makers = { WebSocket: window.WebSocket, fetch: window.fetch, XMLHttpRequest: window.XMLHttpRequest };
  const replaced = Object.keys(makers).filter((name) => !isNative(makers[name]));
  if (replaced.length) return found("B01", "warning", "replaced", { message: replaced.join(", ") }, navigator.userAgent);
  return ok("B01", navigator.onLine ? "" : "offline");
}

/** The handshake over polling, and whether CORS lets the page read it. */
async function reach(server) {
  const isForeign = server.base !== location.origin;
  const same = skipped("D20", { word: "sameOrigin" });
  const got = await server.ask();
  const open = opened(got);
  if (open) {
    await server.leave(open.sid);
    return { open, handshake: ok("D06", seconds(got.took)), cors: isForeign ? ok("D20", location.origin) : same };
  }
  if (got.status === undefined) {
    if (isForeign && (await server.answers())) {
      const cors = found("D20", "failed", "cors", { origin: location.origin }, shown(got));
      return { cors, handshake: { ...unclear("D06"), detail: { word: "because", id: "D20" }, findings: [] } };
    }
    const handshake = found("D06", "failed", "unreached", { url: server.base }, shown(got));
    return { handshake, cors: isForeign ? because("D20", handshake) : same };
  }
  const { key, facts } = notSocketIo(server, got);
  const handshake = found("D06", "failed", key, facts, shown(got));
  return { handshake, cors: isForeign ? ok("D20", location.origin) : same };
}

/** What answers the handshake, if not a session. */
function notSocketIo({ path }, { status, text }) {
  const { code, message } = refusal(text);
  const is = (key, facts = {}) => ({ key, facts });
  if (/^\d+:0\{/.test(text)) return is("oldServer");
  if (code === 0) return is("webSocketOnly");
  if (status === 403 && code === 4) return is("forbidden", { message });
  if (status === 429 || (status === 503 && message !== undefined)) return is("busy", { status });
  if (status === 200 && text.trimStart().startsWith("<")) return is("page", { path });
  if (status === 404) return is("notFound", { path });
  if (status === 401 || status === 407) return is("credentials");
  if (status === 403) return is("forbiddenBefore");
  if (status >= 502 && status <= 504) return is("gateway", { status });
  return is("notEngine", { status });
}

/** Do the later requests of a session reach the server that opened it? */
async function followUp(server) {
  const lates = [];
  const sids = [];
  const lost = [];
  let total = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const got = await server.ask();
    const open = opened(got);
    if (!open) continue;
    lates.push(got.late);
    sids.push(open.sid);
    // One after the other, as a client does.
    for (const request of [{ body: "40" }, { wait: WAIT / 2 }]) {
      const answer = await server.ask({ sid: open.sid, ...request });
      if (answer.status === undefined) break;
      total++;
      if (isUnknown(answer)) lost.push(shown(answer));
    }
    await server.leave(open.sid);
  }
  const isCached = new Set(sids).size < sids.length;
  const seen = { late: Math.min(...lates), isCached };
  if (lost.length && !isCached) return found("D10", "failed", "sticky", { failed: lost.length, total }, lost[0]);
  if (!total) return unclear("D10");
  return { ...ok("D10", { word: "stayed", count: sids.length }), seen };
}

/** Lets a request wait. The outcome is nothing where it was not cut. */
async function holdPoll(server, { pingInterval }) {
  const open = opened(await server.ask());
  if (!open) return undefined;
  const { sid } = open;
  await server.ask({ sid, body: "40" });
  const start = performance.now();
  const left = () => HOLD - (performance.now() - start);
  let cut;
  while (!cut && left() > 0) {
    const got = await server.ask({ sid, wait: left() });
    if (got.status === 200) {
      if (got.text.split("\u001e").includes(PING)) await server.ask({ sid, body: PONG });
      if (/(^|\u001e)1$/.test(got.text)) return undefined;
    } else if (!got.isSilent) {
      const facts = { after: seconds(got.took), message: `${got.status ?? "✗"}`, interval: seconds(pingInterval) };
      cut = found("D14", "failed", "pollCut", facts, shown(got));
    }
  }
  await server.leave(sid);
  return cut;
}

function longPolling({ seen }, cut) {
  if (seen.isCached) return found("D14", "failed", "cached", { message: "sid" });
  if (cut) return cut;
  if (seen.late > LATE) return found("D14", "warning", "late", { message: seconds(seen.late) }, `${seconds(seen.late)}`);
  return ok("D14", { word: "held", seconds: HOLD / 1_000 });
}

/** Opens a WebSocket with a session of its own. */
async function openWebSocket(server, polled, handshake) {
  const channel = server.webSocket();
  const first = await channel.next(WAIT);
  const session = opened({ status: 200, text: first ?? "" });
  if (session) return { channel, session, direct: ok("D12", "") };
  const wasOpen = channel.socket?.readyState === WebSocket.OPEN;
  const line = channel.end();
  channel.close();
  // What cannot be reached at all, or may be no Socket.IO, is not blamed for WebSocket too.
  if (!polled) return { direct: because("D12", handshake) };
  if (!polled.upgrades?.includes("websocket")) return { direct: skipped("D12", { word: "notOffered" }) };
  if (first !== undefined || wasOpen) return { direct: found("D12", "failed", "webSocketNoSession", {}, line) };
  return { direct: found("D12", "failed", channel.ended ? "blocked" : "webSocketSilent", {}, line) };
}

/** Moves a session from polling to WebSocket. */
async function upgrades(server, open, needed) {
  const missing = needed.find(({ status }) => status !== "ok");
  if (!open || missing) return because("D13", missing);
  if (!open.upgrades?.includes("websocket")) return skipped("D13", { word: "notOffered" });
  const start = performance.now();
  const session = opened(await server.ask());
  if (!session) return unclear("D13");
  const { sid } = session;
  await server.ask({ sid, body: "40" });
  await server.ask({ sid });
  const waiting = server.ask({ sid });
  const channel = server.webSocket(sid);
  await new Promise((resolve) => {
    channel.socket?.addEventListener("open", resolve);
    channel.socket?.addEventListener("close", resolve);
    setTimeout(resolve, WAIT);
  });
  channel.send(`${PING}probe`);
  const answer = await channel.next(WAIT / 2);
  if (answer !== `${PONG}probe`) {
    const line = `2probe: ${channel.end()}`;
    channel.close();
    await server.leave(sid);
    await waiting;
    return found("D13", "failed", "upgradeRefused", { message: `${channel.ended?.code ?? "…"}` }, line);
  }
  channel.send("5");
  const released = await waiting;
  channel.close();
  return released.status === 200 ? ok("D13", seconds(performance.now() - start)) : unclear("D13", shown(released));
}

/** Keeps a WebSocket for some seconds, and answers the server's pings. */
async function beat(channel, { pingInterval }) {
  const start = performance.now();
  const passed = () => performance.now() - start;
  let isPinged = false;
  let isRefused = false;
  channel.send("40");
  while (passed() < HOLD && !channel.ended) {
    const message = await channel.next(HOLD - passed());
    if (message === PING) {
      isPinged = true;
      channel.send(PONG);
    }
    if (message?.startsWith("44")) isRefused = true;
  }
  const { ended } = channel;
  const line = channel.end();
  channel.close();
  const interval = seconds(pingInterval);
  // Who ends a connection on purpose says so: a proxy only hangs up.
  if (ended && !ended.wasClean && !isRefused) return found("D16", "failed", "tunnelCut", { after: seconds(ended.after), interval }, line);
  if (ended) return unclear("D16", line);
  if (!isPinged && pingInterval < HOLD - 1_000) return found("D16", "failed", "noPing", { interval }, line);
  return ok("D16", { word: "held", seconds: HOLD / 1_000 });
}
