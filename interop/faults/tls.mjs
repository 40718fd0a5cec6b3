// Certificates that are wrong in one thing each, made by openssl when they are first needed.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HOST, reference, setup } from "./parts.mjs";
import { connects, fails } from "./symptoms.mjs";

const directory = mkdtempSync(join(tmpdir(), "sio-lab-ca-"));
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
const file = (name) => join(directory, name);
const openssl = (...args) => execFileSync("openssl", args, { stdio: "pipe" });

const DAY = 86_400_000;
/** A time as openssl wants it. */
const time = (ms) => new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");

/** A key and a certificate; `by` signs it, by default the key itself. */
function make(name, { by = name, ca = false, host = `IP:${HOST},DNS:localhost`, from = Date.now() - DAY, to = Date.now() + 30 * DAY, aia } = {}) {
  const key = file(`${name}.key`);
  const cert = file(`${name}.pem`);
  const request = file(`${name}.csr`);
  openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", request, "-subj", `/CN=${name}`);
  const use = ca ? ["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign,cRLSign"] : ["basicConstraints=CA:FALSE", `subjectAltName=${host}`];
  if (aia) use.push(`authorityInfoAccess=caIssuers;URI:${aia}`);
  const config = file(`${name}.cnf`);
  const index = file(`${name}.index`);
  writeFileSync(index, "");
  writeFileSync(
    config,
    `[ca]\ndefault_ca=d\n[d]\ndatabase=${index}\nnew_certs_dir=${directory}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n` +
      `[p]\ncommonName=supplied\n[e]\nsubjectKeyIdentifier=hash\n${use.join("\n")}\n`,
  );
  const signer = by === name ? ["-selfsign", "-keyfile", key] : ["-cert", file(`${by}.pem`), "-keyfile", file(`${by}.key`)];
  const dates = ["-startdate", time(from), "-enddate", time(to)];
  openssl("ca", "-batch", "-notext", "-config", config, "-extensions", "e", "-in", request, "-out", cert, ...signer, ...dates);
  return { key, cert };
}

const made = new Map();
const once = (name, options) => {
  if (!made.has(name)) made.set(name, make(name, options));
  return made.get(name);
};
const authorities = () => {
  once("root", { ca: true });
  once("intermediate", { by: "root", ca: true });
};
const pem = (...paths) => paths.map((path) => readFileSync(path, "utf8")).join("");

/** A certificate of the lab's own authority. */
const leaf = (name, options) => ({
  files: () => {
    authorities();
    const { key, cert } = once(name, { by: "intermediate", ...options });
    const chain = file(`${name}-chain.pem`);
    writeFileSync(chain, pem(cert, file("intermediate.pem")));
    return { key, cert, chain };
  },
  tls() {
    const { key, chain } = this.files();
    return { key: pem(key), cert: pem(chain) };
  },
});

export const certificates = {
  root: { file: file("root.pem") },
  good: leaf("good"),
  expired: leaf("expired", { from: Date.now() - 90 * DAY, to: Date.now() - 2 * DAY }),
  future: leaf("future", { from: Date.now() + DAY }),
  wrongHost: leaf("wrong-host", { host: "DNS:www.example.com" }),
};

const secure = (tls) => async (lab) => `https://${HOST}:${await reference(lab, {}, { tls: await tls(lab) })}`;
const trusted = ["--ca", certificates.root.file];
const ca = () => ({ ca: readFileSync(certificates.root.file) });
const says = (code) => async (url) => {
  const error = await fetchError(url);
  if (error !== code) throw new Error(`${error}, not ${code}`);
  await fails("xhr poll error", ca())(url);
};

/** Why a TLS connection that trusts the lab's authority fails. */
async function fetchError(url) {
  const { connect } = await import("node:tls");
  const { hostname: host, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host, port, ...ca() }, () => resolve(socket.destroy() && "none"));
    socket.on("error", (error) => resolve(error.code));
  });
}

export const tls = [
  setup("tls", { arguments: trusted, start: secure(() => certificates.good.tls()), sees: (url) => connects(ca())(url) }),
  setup("tls-unknown-authority", {
    twin: "tls",
    expect: ["D04"],
    start: secure(() => certificates.good.tls()),
    sees: fails("xhr poll error"),
  }),
  ...[
    ["tls-expired", certificates.expired, "CERT_HAS_EXPIRED"],
    ["tls-not-yet-valid", certificates.future, "CERT_NOT_YET_VALID"],
    ["tls-wrong-host", certificates.wrongHost, "ERR_TLS_CERT_ALTNAME_INVALID"],
  ].map(([name, certificate, code]) =>
    setup(name, { twin: "tls", arguments: trusted, expect: ["D04"], start: secure(() => certificate.tls()), sees: says(code) }),
  ),
  setup("tls-self-signed", {
    twin: "tls",
    arguments: trusted,
    expect: ["D04"],
    start: secure(() => {
      authorities();
      const { key, cert } = once("self-signed");
      return { key: pem(key), cert: pem(cert) };
    }),
    sees: says("DEPTH_ZERO_SELF_SIGNED_CERT"),
  }),
  setup("tls-intermediate-missing", {
    twin: "tls",
    arguments: trusted,
    expect: ["D04"],
    // Where the certificate says it is, the intermediate one can be had: some browsers fetch it, nothing else does.
    start: secure(async (lab) => {
      authorities();
      const der = openssl("x509", "-in", file("intermediate.pem"), "-outform", "der");
      const port = await lab.listen(lab.http(undefined, (req, res) => res.setHeader("content-type", "application/pkix-cert").end(der)));
      const { key, cert } = make("alone", { by: "intermediate", aia: `http://${HOST}:${port}/intermediate.cer` });
      return { key: pem(key), cert: pem(cert) };
    }),
    sees: says("UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
  }),
  setup("tls-on-plain-port", {
    twin: "tls",
    expect: ["D04"],
    not: ["D06"],
    start: async (lab) => (await secure(() => certificates.good.tls())(lab)).replace("https:", "http:"),
    sees: fails("xhr poll error"),
  }),
];
