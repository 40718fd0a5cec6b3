// Fixed numbers of messages to `bench_server`, in step: nothing is sent before all answers to what was
// sent before are there and have been compared, so that each run makes the server do the same.
// Raw sockets and frames made by hand; no library's client is measured along.
import { connect as open } from 'node:net';

const MASK = Buffer.from([0x12, 0x34, 0x56, 0x78]);

/** A frame of a client (RFC 6455, section 5.2). */
function frame(opcode, payload) {
  const { length } = payload;
  const head = length < 126 ? [0x80 | opcode, 0x80 | length] : [0x80 | opcode, 0xfe, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), MASK, payload.map((byte, i) => byte ^ MASK[i % 4])]);
}
export const text = (payload) => frame(1, Buffer.from(payload));

/** One TCP connection; what comes is cut into pieces by `next`, which gives null until there is a whole one. */
class Wire {
  #buffer = Buffer.alloc(0);
  #waiting = null;
  #ended = false;
  static async open(port) {
    const socket = open({ port, host: '127.0.0.1', noDelay: true });
    await new Promise((done, failed) => socket.once('connect', done).once('error', failed));
    return new Wire(socket);
  }
  constructor(socket) {
    this.socket = socket;
    socket.on('data', (data) => {
      this.#buffer = this.#buffer.length ? Buffer.concat([this.#buffer, data]) : data;
      this.#waiting?.();
    });
    socket.on('error', () => {});
    socket.on('close', () => { this.#ended = true; this.#waiting?.(); });
  }
  async #piece(next) {
    for (;;) {
      const piece = next(this.#buffer);
      if (piece) {
        this.#buffer = this.#buffer.subarray(piece.end);
        return piece;
      }
      if (this.#ended) throw new Error('the server closed a connection');
      await new Promise((done) => { this.#waiting = done; });
      this.#waiting = null;
    }
  }
  write(bytes) { this.socket.write(bytes); }

  /** The body of an HTTP answer. */
  async answer(status) {
    const { body } = await this.#piece((buffer) => {
      const head = buffer.indexOf('\r\n\r\n');
      if (head < 0) return null;
      const lines = buffer.toString('latin1', 0, head);
      if (!lines.startsWith(`HTTP/1.1 ${status} `)) throw new Error(lines);
      const end = head + 4 + Number(/content-length: *(\d+)/i.exec(lines)?.[1] ?? 0);
      return buffer.length < end ? null : { end, body: buffer.toString('utf8', head + 4, end) };
    });
    return body;
  }
  /** The next frame that is no ping of Engine.IO. */
  async frame() {
    for (;;) {
      const { opcode, payload } = await this.#piece((buffer) => {
        if (buffer.length < 2) return null;
        const long = buffer[1] === 126;
        if (long && buffer.length < 4) return null;
        const start = long ? 4 : 2;
        const end = start + (long ? buffer.readUInt16BE(2) : buffer[1]);
        return buffer.length < end ? null : { end, opcode: buffer[0] & 15, payload: buffer.subarray(start, end) };
      });
      if (opcode !== 1 || payload.toString() !== '2') return { opcode, payload };
      this.write(text('3'));
    }
  }
  async expect(expected) {
    const { payload } = await this.frame();
    if (!payload.equals(expected)) throw new Error(`${payload} came, not ${expected}`);
  }
  async end() {
    const ended = new Promise((done) => this.socket.once('close', done));
    if (!this.#ended) {
      this.socket.end();
      await ended;
    }
  }
}

const request = (method, query, headers = '', body = '') =>
  `${method} /socket.io/?EIO=4&${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n${headers}` +
  (method === 'POST' ? `Content-Type: text/plain;charset=UTF-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` : '') + `\r\n${body}`;
const UPGRADE = 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

async function websocket(port, sid = '') {
  const wire = await Wire.open(port);
  wire.write(request('GET', `transport=websocket${sid && `&sid=${sid}`}`, UPGRADE));
  await wire.answer(101);
  return wire;
}
export async function joined(port) {
  const wire = await websocket(port);
  await wire.frame();
  wire.write(text('40'));
  await wire.frame();
  return wire;
}
async function leave(wire) {
  wire.write(frame(8, Buffer.from([3, 232])));
  while ((await wire.frame()).opcode !== 8);
  await wire.end();
}
async function polling(port) {
  const [gets, posts] = await Promise.all([Wire.open(port), Wire.open(port)]);
  gets.write(request('GET', 'transport=polling'));
  const { sid } = JSON.parse((await gets.answer(200)).slice(1));
  const query = `transport=polling&sid=${sid}`;
  const post = async (body) => { posts.write(request('POST', query, '', body)); await posts.answer(200); };
  const get = async () => { gets.write(request('GET', query)); return gets.answer(200); };
  await Promise.all([get(), post('40')]);
  return { sid, post, get, async end() { await Promise.all([gets.end(), posts.end()]); } };
}

const each = (many, act) => Promise.all(many.map(act));
const times = (count, make = (i) => i) => Array.from({ length: count }, (_, i) => make(i));

/** Connections that send `sent` (frames) `depth` at a time, and get `answers` for each. */
function exchange(conns, depth, sent, answers) {
  return {
    open: (port) => each(times(conns), () => joined(port)),
    async round(wires) {
      const burst = Buffer.concat(times(depth, () => Buffer.concat(sent)));
      await each(wires, async (wire) => {
        wire.write(burst);
        for (let i = 0; i < depth; i++) for (const answer of answers) await wire.expect(answer);
      });
      return conns * depth;
    },
    close: (wires) => each(wires, leave),
  };
}
/** One of each group of `members` publishes, and all of the group receive the same. */
function publish(conns, members, depth, join, sent) {
  return {
    async open(port) {
      const wires = await each(times(conns), () => joined(port));
      if (join) await each(wires, async (wire, i) => { wire.write(text(join(Math.floor(i / members)))); await wire.frame(); });
      return wires;
    },
    async round(wires) {
      wires.forEach((wire, i) => {
        if (i % members === 0) wire.write(Buffer.concat(times(depth, () => text(sent(i / members)))));
      });
      await each(wires, async (wire, i) => {
        const answer = Buffer.from(sent(Math.floor(i / members)));
        for (let i = 0; i < depth; i++) await wire.expect(answer);
      });
      return conns * depth;
    },
    close: (wires) => each(wires, leave),
  };
}
const event = (payload) => Buffer.from(`42["message",${JSON.stringify(payload)}]`);
const echo = (conns, depth, payload) => exchange(conns, depth, [frame(1, event(payload))], [event(payload)]);
const SHORT = 'x'.repeat(32);
const OBJECT = { id: 12345, name: 'Somebody', tags: ['one', 'two', 'three'], nested: { ok: true, ratio: 0.25, none: null }, text: 'y'.repeat(130) };
const BYTES = Buffer.from(times(256, (i) => i));
const PLACEHOLDER = Buffer.from('451-["binary",{"_placeholder":true,"num":0}]');
const alone = { open: async (port) => port, close: async () => {} };

/** What a message is in each scenario: an answer, a delivery, or a connection. */
export const SCENARIOS = {
  echo: { rounds: 40, ...echo(20, 8, SHORT) },
  ack: { rounds: 40, ...exchange(20, 8, [text(`421["ack","${SHORT}"]`)], [Buffer.from(`431["${SHORT}"]`)]) },
  'echo-4k': { rounds: 25, ...echo(20, 4, 'x'.repeat(4096)) },
  'echo-object': { rounds: 30, ...echo(20, 8, OBJECT) },
  binary: { rounds: 25, ...exchange(20, 8, [frame(1, PLACEHOLDER), frame(2, BYTES)], [PLACEHOLDER, BYTES]) },
  broadcast: { rounds: 40, ...publish(200, 200, 2, null, () => `42["broadcast","${SHORT}"]`) },
  room: { rounds: 60, ...publish(200, 50, 1, (room) => `420["join","r${room}"]`, (room) => `42["room","r${room}","${SHORT}"]`) },
  polling: {
    rounds: 60,
    open: (port) => each(times(16), () => polling(port)),
    async round(clients) {
      await each(clients, async (client) => {
        const [answer] = await Promise.all([client.get(), client.post(event(SHORT).toString())]);
        if (answer !== event(SHORT).toString()) throw new Error(answer);
      });
      return clients.length;
    },
    close: (clients) => each(clients, (client) => client.end()),
  },
  connect: {
    rounds: 40,
    ...alone,
    async round(port) {
      await each(times(16), async () => leave(await joined(port)));
      return 16;
    },
  },
  'connect-polling': {
    rounds: 20,
    ...alone,
    async round(port) {
      await each(times(16), async () => {
        const client = await polling(port);
        const wire = await websocket(port, client.sid);
        const released = client.get();
        wire.write(text('2probe'));
        await wire.expect(Buffer.from('3probe'));
        if (await released !== '6') throw new Error('the waiting request was not released');
        wire.write(Buffer.concat([text('5'), frame(1, event(SHORT))]));
        await wire.expect(event(SHORT));
        await leave(wire);
        await client.end();
      });
      return 16;
    },
  },
};

/** Tells the server to mark the moment. */
export async function marker(port) {
  const wire = await joined(port);
  return {
    async mark() {
      wire.write(text('421["mark"]'));
      // It hears broadcasts, too.
      while ((await wire.frame()).payload.toString() !== '431[]');
    },
    close: () => leave(wire),
  };
}
