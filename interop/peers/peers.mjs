// Clients of other makes, driven from here: one process for each version of a make, which may hold many connections. The commands and facts
// are in CONTRACT.md; interop/peers/setup makes the programs.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Program, within } from "../harness.mjs";

const file = (path) => fileURLToPath(new URL(path, import.meta.url));
const java = (classes) => ({
  words: ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", `${file(`java/${classes}/classes`)}:${file(`java/${classes}/lib`)}/*`, "Peer"],
  needs: file("java/.stamp"),
});
const python = (venv) => ({ words: [file(`${venv}/bin/python`), file("python/peer.py")], needs: file(`${venv}/stamp`) });

/**
 * The makes: which revision of Engine.IO each speaks, and how it is started. Some keep what is emitted before they are connected; some hand
 * each message to a thread of its own, so that what they tell is in no order; some try their transports in any order; some join twice now
 * and then, which ends the connection: they get several tries.
 */
export const MAKES = [
  { make: "java", version: "1.0.2", revision: 3, keeps: true, ...java("client-1") },
  { make: "java", version: "2.1.2", revision: 4, keeps: true, ...java("client-2") },
  { make: "python", version: "4.6.1", revision: 3, unordered: true, ...python("python/.venv-4") },
  { make: "python", version: "5.18.1", revision: 4, unordered: true, ...python("../.venv") },
  { make: "go", version: "3.0.6", revision: 4, keeps: true, unordered: true, shuffles: true, tries: 3, words: [file("go/bin/peer")], needs: file("go/bin/stamp") },
];

/** Why a make cannot be run here, if it cannot. */
export const lacks = ({ needs }) => (existsSync(needs) ? false : "interop/peers/setup has not made it");

/** Long enough for a machine with other things to do. */
const DEADLINE = 20_000;

/** What the connections listen to. */
const EVENTS = ["echo", "question", "answered", "n", "news", "last word"];

/** JSON in which bytes are `{"$bytes": base64}`. */
const written = (value) => {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("base64") };
  if (Array.isArray(value)) return value.map(written);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, written(one)]));
};
const read = (value) => {
  if (Array.isArray(value)) return value.map(read);
  if (value === null || typeof value !== "object") return value;
  if ("$bytes" in value) return Buffer.from(value.$bytes, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, read(one)]));
};

export class Peer extends Program {
  #count = 0;

  constructor({ words }) {
    super(words, "pipe");
    // It may have ended.
    this.child.stdin.on("error", () => {});
  }

  command(command) {
    this.child.stdin.write(`${JSON.stringify(command)}\n`);
  }

  /** A connection, which connects by itself; `namespaces` share it. */
  open(url, { transports, auth, reconnection = false, namespaces = ["/"], packets, deadline = DEADLINE } = {}) {
    const connection = new Connection(this, `c${++this.#count}`, namespaces[0], deadline);
    this.command({ do: "open", to: connection.name, url, transports, auth, reconnection, namespaces, packets, events: EVENTS });
    return connection;
  }

  async connect(url, options) {
    const connection = this.open(url, options);
    for (const namespace of options?.namespaces ?? ["/"]) connection.id = (await connection.at(namespace).connected()).id;
    return connection;
  }
}

class Connection {
  static #acks = 0;

  constructor(peer, name, namespace, deadline) {
    Object.assign(this, { peer, name, namespace, deadline });
  }

  /** The same connection in another namespace. */
  at(namespace) {
    return new Connection(this.peer, this.name, namespace, this.deadline);
  }

  async #next(kind, test = () => true) {
    const isOurs = (fact) => fact.of === this.name && fact.namespace === this.namespace && test(fact);
    return (await this.peer.fact(kind, isOurs, this.deadline))[kind];
  }

  connected = () => this.#next("connected");
  disconnected = () => this.#next("disconnected");
  refused = () => this.#next("refused");

  /** The arguments of the next event, which has to have that name. */
  async event(name) {
    const event = await this.#next("event");
    if (event.event !== name) throw new Error(`"${event.event}" came, not "${name}"`);
    return read(event.args);
  }

  #command = (command) => this.peer.command({ to: this.name, namespace: this.namespace, ...command });

  emit = (event, ...args) => this.#command({ do: "emit", event, args: written(args) });

  /** Emits 0, 1, .. each as one event. */
  count = (event, times) => this.#command({ do: "emit", event, times });

  async ask(event, ...args) {
    const ack = ++Connection.#acks;
    this.#command({ do: "emit", event, args: written(args), ack });
    return read((await this.#next("acked", ({ id }) => id === ack)).args);
  }

  close = () => this.#command({ do: "close" });
}

export { DEADLINE, within };
