// Servers of several makes with which nothing is wrong.
import { readFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import ioV2 from "socket.io-client-v2";
import { first, HOST, noOurs, ours, reference, setup, sparePort } from "./parts.mjs";
import { v2, v3 } from "./servers.mjs";
import { connects } from "./symptoms.mjs";
import { certificates } from "./tls.mjs";

const here = (path) => new URL(path, import.meta.url).pathname;
const target = process.env.CARGO_TARGET_DIR ?? here("../../target");
const paths = {
  python: first(process.env.SIO_PYTHON, here("../.venv/bin/python")),
  serve: first(process.env.SIO_BIN, `${target}/release/sio`),
};
const python = () => {
  if (!paths.python) return "python-socketio is not installed: run interop/faults/setup";
  const { status } = spawnSync(paths.python, ["-c", "import socketio, uvicorn"]);
  return status === 0 ? undefined : `${paths.python} has no python-socketio: run interop/faults/setup`;
};
export const noServe = () => (paths.serve ? undefined : "there is no sio here: cargo build --release --bin sio");

const served = (args = [], scheme = "http") => async (lab) => {
  const child = lab.spawn(paths.serve, ["serve", "--port", "0", "--log-format", "json", ...args(lab)]);
  const [, port] = await lab.line(child, /"serving[^}]*"address":"[^"]*:(\d+)"|"address":"[^"]*:(\d+)"[^}]*"serving/).then((m) => m.filter(Boolean));
  return `${scheme}://${HOST}:${port}`;
};
/** The ports of several servers, each of which forwards what is another's. */
export async function routed(lab, count) {
  const env = { ...process.env, SIO_CLUSTER_SECRET: "the secret of the lab" };
  const ports = [];
  for (let i = 0; i < count; i++) {
    const port = await sparePort();
    const child = lab.spawn(paths.serve, ["serve", "--port", port, "--advertise", `${HOST}:${port}`, "--trusted-proxy", HOST], { env });
    await lab.accepting(child, port);
    ports.push(port);
  }
  return ports;
}

/** The chat of `sio serve` does not answer to "ask". */
export const quiet = (options) => connects({ ask: false, ...options });

const pythonServer = async (lab) => {
  const child = lab.spawn(paths.python, [here("python-server.py")]);
  const [, port] = await lab.line(child, /^listening (\d+)$/);
  await lab.accepting(child, Number(port));
  return `http://${HOST}:${port}`;
};
/** What is examined only when it is asked for. */
const everything = ["--soak", "2", "--payload", "--emit", 'ask="x"'];

export const healthy = [
  setup("reference", { start: async (lab) => `http://${HOST}:${await reference(lab)}` }),
  setup("version-3", { start: async (lab) => `http://${HOST}:${await reference(lab, {}, { make: v3 })}` }),
  setup("version-3-all", { arguments: everything, start: async (lab) => `http://${HOST}:${await reference(lab, {}, { make: v3 })}` }),
  setup("version-2-all", {
    arguments: [...everything, "--client", "js@2"],
    start: async (lab) => `http://${HOST}:${await reference(lab, {}, { make: v2 })}`,
    sees: connects({ client: ioV2 }),
  }),
  setup("eio3-all", {
    arguments: [...everything, "--client", "js@2"],
    start: async (lab) => `http://${HOST}:${await reference(lab, { allowEIO3: true })}`,
    sees: connects({ client: ioV2 }),
  }),
  setup("ours-all", {
    missing: noOurs,
    arguments: everything.with(-1, 'ack="x"'),
    start: async (lab) => `http://${HOST}:${await ours(lab)}`,
    sees: quiet(),
  }),
  setup("python", { missing: python, start: pythonServer }),
  setup("python-all", { missing: python, arguments: everything, start: pythonServer }),
  setup("sio-serve", { missing: noServe, start: served(() => []), sees: quiet() }),
  setup("sio-serve-path", {
    missing: noServe,
    arguments: ["--path", "/live/io"],
    start: served(() => ["--path", "/live/io"]),
    sees: quiet({ path: "/live/io" }),
  }),
  setup("sio-serve-tls", {
    missing: noServe,
    arguments: ["--ca", certificates.root.file],
    start: served((lab) => {
      const { key, chain } = certificates.good.files(lab);
      return ["--tls-cert", chain, "--tls-key", key];
    }, "https"),
    sees: (url) => quiet({ ca: readFileSync(certificates.root.file) })(url),
  }),
  setup("sio-namespace", {
    missing: noOurs,
    start: async (lab) => `http://${HOST}:${await ours(lab)}/admin`,
    sees: quiet(),
  }),
];
