// Certificates, made by openssl when they are needed, in a directory that lives as long as the process.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

let directory;
/** The path of a file among the certificates. */
export function file(name) {
  if (!directory) {
    directory = mkdtempSync(join(tmpdir(), "sio-certificates-"));
    process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
  }
  return join(directory, name);
}

export const openssl = (...args) => execFileSync("openssl", args, { stdio: "pipe" });
export const pem = (...paths) => paths.map((path) => readFileSync(path, "utf8")).join("");

const DAY = 86_400_000;
/** A time as openssl wants it. */
const time = (ms) => new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
const P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

/**
 * A key and a certificate; `by` signs it, by default the key itself. `kind` is what openssl makes a key of,
 * `extensions` stand in place of the usual ones.
 */
export function make(name, options = {}) {
  const { by = name, ca = false, host = "IP:127.0.0.1,DNS:localhost", from = Date.now() - DAY, to = Date.now() + 30 * DAY, aia } = options;
  const { kind = P256, subject = name, digest = "sha256" } = options;
  const [key, cert, request, config, index] = ["key", "pem", "csr", "cnf", "index"].map((end) => file(`${name}.${end}`));
  openssl("req", "-new", ...kind, "-nodes", "-keyout", key, "-out", request, "-subj", `/CN=${subject}`);
  const use = ca ? ["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign,cRLSign"] : ["basicConstraints=CA:FALSE", `subjectAltName=${host}`];
  if (aia) use.push(`authorityInfoAccess=caIssuers;URI:${aia}`);
  const extensions = options.extensions ?? ["subjectKeyIdentifier=hash", ...use, ...(options.more ?? [])];
  writeFileSync(index, "");
  writeFileSync(
    config,
    `[ca]\ndefault_ca=d\n[d]\ndatabase=${index}\nnew_certs_dir=${file("")}\nrand_serial=yes\ndefault_md=${digest}\npolicy=p\n` +
      `[p]\ncommonName=supplied\n[e]\n${extensions.join("\n")}\n`,
  );
  const signer = by === name ? ["-selfsign", "-keyfile", key] : ["-cert", file(`${by}.pem`), "-keyfile", file(`${by}.key`)];
  const dates = ["-startdate", time(from), "-enddate", time(to)];
  const extended = extensions.length ? ["-extensions", "e"] : [];
  openssl("ca", "-batch", "-notext", "-config", config, ...extended, "-in", request, "-out", cert, ...signer, ...dates);
  return { key, cert };
}

const made = new Map();
/** As `make`, but the one that was made under this name before, if there is one. */
export function once(name, options) {
  if (!made.has(name)) made.set(name, make(name, options));
  return made.get(name);
}
