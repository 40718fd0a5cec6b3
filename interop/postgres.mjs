// A Postgres of a test's own.
import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";
import { freePort } from "./cluster.mjs";
import { within } from "./harness.mjs";

const debian = "/usr/lib/postgresql";
const versions = existsSync(debian) ? readdirSync(debian).map((version) => join(debian, version, "bin")) : [];
const programs = [...process.env.PATH.split(delimiter), ...versions].find((path) => ["initdb", "postgres"].every((name) => existsSync(join(path, name))));

export const lacksPostgres = [programs, "there is no postgresql here"];

/** Who runs it: root must not. */
const id = (...args) => Number(execFileSync("id", args));
const user = process.getuid() === 0 && programs ? { uid: id("-u", "postgres"), gid: id("-g", "postgres") } : {};

const table = "CREATE TABLE socket_io_attachments (id bigserial UNIQUE, created_at timestamptz DEFAULT NOW(), payload bytea)";

/** Starts one with the table of the adapter, and settings more. */
export async function startPostgres({ prepare = () => {}, settings = [] } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "socketio-postgres-"));
  if (user.uid) chownSync(directory, user.uid, user.gid);
  const options = { cwd: directory, ...user };
  execFileSync(join(programs, "initdb"), ["-D", directory, "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C"], options);
  prepare(directory, user);
  const port = await freePort();
  const all = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", ...settings];
  const words = ["-D", directory, "-p", `${port}`, ...all.flatMap((setting) => ["-c", setting])];
  const child = spawn(join(programs, "postgres"), words, { ...options, stdio: ["ignore", "ignore", "pipe"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const ready = (resolve) => createInterface({ input: child.stderr }).on("line", (line) => line.includes("ready to accept connections") && resolve());
  await within(new Promise(ready), "a Postgres");
  const url = `postgres://postgres@localhost:${port}/postgres`;
  const pool = new pg.Pool({ connectionString: url });
  pool.on("error", () => {});
  await pool.query(table);
  const stop = async () => {
    await pool.end();
    child.kill("SIGQUIT");
    await exited;
    rmSync(directory, { recursive: true });
  };
  return { url, pool, stop };
}
