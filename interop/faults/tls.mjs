// Certificates that are wrong in one thing each, made by openssl when they are first needed.
import { readFileSync, writeFileSync } from "node:fs";
import { file, make, once, openssl, pem } from "../certificates.mjs";
import { HOST, reference, setup } from "./parts.mjs";
import { connects, fails } from "./symptoms.mjs";

const DAY = 86_400_000;
const authorities = () => {
  once("root", { ca: true });
  once("intermediate", { by: "root", ca: true });
};

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
