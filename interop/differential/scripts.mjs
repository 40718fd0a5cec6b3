// Scripts: what a client does, right or wrong, in which order. `play.mjs` says what their steps are.
import { Packets } from "./packets.mjs";
import { Random } from "./random.mjs";
import { Requests } from "./requests.mjs";
import { SETS } from "./options.mjs";

/** The case of a number: the options, and what is done. */
export function generate(seed, number) {
  const random = new Random(seed, number);
  const set = number % SETS.length;
  return { set, script: new Scripts(random, SETS[set]).script() };
}

/** `{type: 0, nsp: "/"}` */
const MSGPACK_CONNECT = "82a47479706500a36e7370a12f";

class Scripts {
  #steps = [];
  #connections = 0;
  #sessions = 0;

  constructor(random, set) {
    this.random = random;
    this.set = set;
    this.packets = new Packets(random, set);
    this.requests = new Requests(random, set);
  }

  script() {
    const { random, set } = this;
    const polling = set.transports.includes("polling");
    const websocket = set.transports.includes("websocket");
    random.weighted([
      [3, () => this.#handshakes()],
      [1, () => this.#add({ do: "bytes", on: this.#connection(), data: this.requests.raw() })],
      [1, () => this.#add({ do: "websocket", on: this.#connection(), target: `${this.requests.path()}?${this.requests.handshake("websocket").query}`, ...this.requests.websocket() })],
      [polling ? 8 : 1, () => this.#polling()],
      [websocket ? 6 : 1, () => this.#websocket()],
      [websocket && polling ? 4 : 0, () => this.#upgrade()],
    ]);
    return this.#steps;
  }

  #add(step) {
    this.#steps.push(step);
    return step.on;
  }

  #connection() {
    return `c${++this.#connections}`;
  }

  #handshakes() {
    const { random, requests } = this;
    for (let i = random.between(1, 3); i > 0; i--) {
      const { query } = requests.handshake(random.pick(this.set.transports));
      const method = requests.method();
      const step = { do: "request", on: this.#connection(), method, target: `${requests.path()}?${query}` };
      step.headers = method === "OPTIONS" && random.chance(0.8) ? requests.preflight() : requests.headers(0.6);
      if (method === "POST" || random.chance(0.1)) step.body = random.pick(["", "40", "x"]);
      if (random.chance(0.2)) step.as = this.#session(query);
      this.#add(step);
    }
  }

  #session() {
    return `s${++this.#sessions}`;
  }

  /** A session over polling: its name, its query from now on, and whether it is one of an old client. */
  #open() {
    const { random, requests, set } = this;
    const as = this.#session();
    let { query, old } = requests.handshake("polling");
    if (random.chance(0.75)) {
      old = set.old && random.chance(0.5);
      query = `EIO=${old ? 3 : 4}&transport=polling${random.chance(0.15) ? random.pick(["&b64=1", "&j=1", "&j=0&b64=1"]) : ""}`;
    }
    this.#add({ do: "request", on: this.#connection(), method: "GET", target: `${set.path}?${query}`, headers: requests.headers(0.1), as });
    const jsonp = /(^|&)j=/.test(query);
    return { as, old, jsonp, target: `${set.path}?${query.replace(/#.*/, "").replace(/(^|&)sid(=[^&]*)?(?=&|$)/g, "")}&sid={${as}}` };
  }

  #get(session, on = this.#connection()) {
    return this.#add({ do: "request", on, method: "GET", target: session.target, headers: this.requests.headers(0.08) });
  }

  #post(session, body, on = this.#connection()) {
    const { random, requests } = this;
    const step = { do: "request", on, method: "POST", target: session.target, headers: requests.contentType(), body };
    if (random.chance(0.04)) step.chunks = random.pick([1, 7, 50]);
    if (random.chance(0.02)) step.headers.push(["Content-Encoding", random.pick(["gzip", "identity", "x"])]);
    if (random.chance(0.02)) step.headers.push(["Expect", "100-continue"]);
    if (random.chance(0.02)) step.version = "1.0";
    return this.#add(step);
  }

  #body(session) {
    const { packets, random } = this;
    if (session.jsonp && random.chance(0.8)) {
      const text = session.old ? packets.oldPayload().body : this.#payload();
      if (typeof text !== "string") return text;
      return random.weighted([[8, () => `d=${encodeURIComponent(text)}`], [1, () => random.pick([`d=${text}`, "x=1", "d=", `d=${encodeURIComponent(text)}&d=x`, `D=${text}`, `d=${encodeURIComponent(text.replaceAll("\\", "\\\\"))}`, "d=%zz"])]]);
    }
    return session.old ? packets.oldPayload() : this.#payload();
  }

  #payload() {
    const { packets, random, set } = this;
    if (!set.msgpack || random.chance(0.2)) return packets.payload();
    return random.times(1, random.pick([1, 1, 3]), () => `b${Buffer.from(packets.msgpack().hex, "hex").toString("base64")}`).join("\x1e");
  }

  /** What joins the main namespace over polling, if something has to. */
  #joined(session) {
    const connect = this.set.msgpack ? `b${Buffer.from(MSGPACK_CONNECT, "hex").toString("base64")}` : session.old ? undefined : "40";
    return connect && session.jsonp ? `d=${encodeURIComponent(connect)}` : connect;
  }

  #polling() {
    const { random } = this;
    const session = this.#open();
    if (random.chance(0.85)) {
      const join = this.#joined(session);
      if (join) this.#post(session, join);
      if (random.chance(0.8)) this.#get(session);
    }
    for (let i = random.between(1, 5); i > 0; i--) this.#pollingStep(session);
  }

  #send(session) {
    const body = this.#body(session);
    if (body?.body === undefined) return this.#post(session, body);
    const on = this.#post(session, body.body);
    if (body.binary && this.random.chance(0.95)) this.#steps.at(-1).headers = [["Content-Type", "application/octet-stream"]];
    return on;
  }

  #pollingStep(session) {
    const { random, requests } = this;
    random.weighted([
      [10, () => this.#send(session)],
      [6, () => this.#get(session)],
      [1, () => { this.#get(session); this.#get(session); }],
      [1, () => {
        // A POST whose body comes in two parts, with something between them.
        const body = session.old ? "2:40" : '42["echo",1]';
        const on = this.#add({ do: "request", on: this.#connection(), method: "POST", target: session.target, headers: [["Content-Type", "text/plain"]], body: body.slice(0, 3), length: body.length, part: true });
        random.pick([() => this.#send(session), () => this.#get(session), () => this.#add({ do: "hang up", on, how: random.pick(["reset", "end"]) }), () => {}])();
        this.#add({ do: "bytes", on, data: body.slice(3) });
      }],
      [1, () => { const on = this.#get(session); this.#add({ do: "hang up", on, how: random.pick(["reset", "end"]) }); }],
      [1, () => this.#add({ do: "request", on: this.#connection(), method: random.pick(["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]), target: session.target, headers: requests.headers() })],
      [1, () => {
        const target = random.pick([
          session.target.replace(/EIO=\d/, "EIO=3"), session.target.replace(/EIO=\d/, "EIO=4"), session.target.replace("polling", "websocket"), session.target.replace(/EIO=\d&?/, ""), session.target.replace("{", "x{"),
          session.target + "&sid=nope", session.target.replace("sid=", "sid=nope&sid="), session.target + "&j=1", session.target + "&b64=1",
        ]);
        this.#add({ do: "request", on: this.#connection(), method: random.pick(["GET", "POST"]), target, headers: [], body: random.pick([undefined, session.old ? "1:2" : "42[\"echo\"]"]) });
      }],
      [1, () => this.#post(session, session.old ? "1:1" : random.pick(["1", '1\x1e42["echo",1]', '42["echo",1]\x1e1']))],
      [1, () => this.#post(session, session.old ? "2:41" : random.pick(["41", '41\x1e42["echo",1]', '42["echo",1]\x1e41', "41\x1e40", "40\x1e40", '40\x1e42["echo",1]', '40/admin,\x1e42/admin,["echo",1]']))],
      [1, () => this.#post(session, { before: session.old ? "2000:4" : "4", repeat: "x", times: random.pick([98, 99, 100, 101, 299, 300, 301, 2000]) })],
    ]);
  }

  #frame(on, session) {
    const { packets, random, set } = this;
    const text = () => {
      if (session.old) return packets.oldEngine();
      return packets.engine();
    };
    const send = (data, more = {}) => this.#add({ do: "frame", on, op: 1, data, ...more });
    const binary = (spec) => (session.old ? { hex: `04${spec.hex}` } : spec);
    if (set.msgpack && random.chance(0.7)) return send(binary(packets.msgpack()), { op: 2 });
    random.weighted([
      [24, () => send(text())],
      [5, () => {
        send('451-["echo",{"_placeholder":true,"num":0}]');
        if (random.chance(0.9)) send(binary(packets.binary()), { op: 2 });
        if (random.chance(0.2)) send(text());
      }],
      [2, () => send(packets.binary(), { op: 2 })],
      [2, () => {
        const whole = text();
        const middle = random.below(whole.length + 1);
        send(whole.slice(0, middle), { fin: false });
        if (random.chance(0.3)) send("", random.pick([{ op: 9 }, { op: 0, fin: false }, { op: 10 }, { op: 1 }, { op: 8, code: 1000 }, { op: 9, fin: false }]));
        send(whole.slice(middle), { op: 0 });
      }],
      [3, () => send(...random.pick([
        ["x", { op: 9 }], ["", { op: 9 }], [{ repeat: "x", times: 125 }, { op: 9 }], [{ repeat: "x", times: 126 }, { op: 9 }], ["", { op: 10 }], ["x", { op: 10 }], ["x", { op: 9, fin: false }],
        ["x", { op: 3 }], ["x", { op: 7 }], ["", { op: 11 }], ["x", { op: 15 }], ["x", { op: 0 }], ["", { op: 0, fin: false }],
      ]))],
      [2, () => send(text(), random.pick([{ mask: false }, { rsv: 4 }, { rsv: 2 }, { rsv: 1 }, { rsv: 6 }, { form: 16 }, { form: 64 }, { deflate: true }]))],
      [2, () => send("", { op: 8, code: random.pick([1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1014, 1015, 1016, 2999, 3000, 4000, 4999, 5000, 0, 999, 65535]) })],
      [1, () => send(...random.pick([["", { op: 8 }], ["x", { op: 8 }], [{ hex: "ff" }, { op: 8, code: 1000 }], ["bye", { op: 8, code: 1000 }], [{ repeat: "x", times: 123 }, { op: 8, code: 1000 }], [{ repeat: "x", times: 124 }, { op: 8, code: 1000 }], ["", { op: 8, code: 1000, mask: false }]]))],
      [1, () => send({ hex: random.pick(["34ff", "3432c3", "3432eda080", "34c080", "ff", "34f4908080"]) })],
      [1, () => send({ repeat: "x", times: random.pick([98, 99, 100, 101, 299, 300, 301, 2000, 70000]), before: "4" })],
      [1, () => send({ before: '42["echo","', repeat: "x", times: random.pick([10, 60, 70, 80, 200, 260, 1200]), after: '"]' })],
      [1, () => this.#add({ do: "hang up", on, how: random.pick(["reset", "end"]) })],
      [1, () => send("41")],
      [1, () => send("40")],
    ]);
  }

  #websocket() {
    const { random, requests, set } = this;
    const on = this.#connection();
    const as = this.#session();
    let { query, old } = requests.handshake("websocket");
    if (random.chance(0.85)) {
      old = set.old && random.chance(0.5);
      query = `EIO=${old ? 3 : 4}&transport=websocket${random.chance(0.05) ? "&b64=1" : ""}`;
    }
    const more = random.chance(0.15) ? requests.websocket() : {};
    if (set.options.perMessageDeflate && random.chance(0.8)) more.headers = [...(more.headers ?? []), ["Sec-WebSocket-Extensions", "permessage-deflate"]];
    this.#add({ do: "websocket", on, target: `${set.path}?${query}`, ...more, as });
    const session = { old };
    if (random.chance(0.85)) {
      if (set.msgpack) this.#add({ do: "frame", on, op: 2, data: { hex: MSGPACK_CONNECT } });
      else if (!old) this.#add({ do: "frame", on, op: 1, data: "40" });
    }
    for (let i = random.between(1, 6); i > 0; i--) this.#frame(on, session);
  }

  #upgrade() {
    const { random } = this;
    const session = this.#open();
    const join = this.#joined(session);
    if (join && random.chance(0.85)) this.#post(session, join);
    if (random.chance(0.6)) this.#get(session);
    const target = session.target.replace("transport=polling", "transport=websocket");
    const open = () => this.#add({ do: "websocket", on: this.#connection(), target });
    let on = open();
    const send = (data) => this.#add({ do: "frame", on, op: 1, data });
    if (random.chance(0.5)) {
      // The right way, with something between the steps.
      const between = () => random.chance(0.25) && this.#pollingStep(session);
      send("2probe");
      between();
      if (random.chance(0.6)) this.#get(session);
      between();
      send("5");
      for (let i = random.between(0, 4); i > 0; i--) random.weighted([[6, () => this.#frame(on, session)], [1, () => this.#pollingStep(session)], [1, () => { on = open(); }]]);
      return;
    }
    for (let i = random.between(1, 6); i > 0; i--) {
      random.weighted([
        [5, () => send("2probe")],
        [4, () => send("5")],
        [3, () => send(random.pick(["2", "3probe", "3", "6", "1", "40", '42["echo",1]', "2prob", "2probex", "5x", "x", ""]))],
        [3, () => this.#get(session)],
        [3, () => this.#pollingStep(session)],
        [2, () => this.#frame(on, session)],
        [1, () => this.#add({ do: "hang up", on, how: random.pick(["reset", "end"]) })],
        [1, () => this.#add({ do: "frame", on, op: 8, code: 1000 })],
        [1, () => { on = open(); }],
        [1, () => this.#post(session, session.old ? '20:42["leave me",true]'.replace("20", "19") : '42["leave me",true]')],
      ]);
    }
  }
}

