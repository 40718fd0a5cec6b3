// Servers whose TLS is odd in one or two ways: certificates, what is negotiated, how the bytes come.
import { constants } from "node:crypto";
import net from "node:net";
import tls from "node:tls";
import { file, once, pem } from "../certificates.mjs";
import { ODDITIES as PLAIN, fits, hooks, random } from "./oddities.mjs";
import { Runs, listen, pause } from "./server.mjs";

const DAY = 86_400_000;
const kind = (...args) => ["-newkey", ...args];
const curve = (name) => kind("ec", "-pkeyopt", `ec_paramgen_curve:${name}`);

/** The authority of all cases that say nothing else, and one that it has signed. */
function authorities() {
  return [once("odd-root", { ca: true }), once("odd-intermediate", { by: "odd-root", ca: true })];
}

/** A certificate of that authority; `chain` says what is sent with it. */
const leaf = (name, options = {}, chain = (own, intermediate) => [own, intermediate]) => () => {
  const [root, intermediate] = authorities();
  const own = once(`odd-${name}`, { by: "odd-intermediate", ...options });
  return { key: pem(own.key), cert: pem(...chain(own.cert, intermediate.cert, root.cert)), ca: root.cert };
};
/** One that its own key has signed, and what the client is given instead of an authority. */
const own = (name, options, given) => () => {
  const made = once(`odd-${name}`, options);
  return { key: pem(made.key), cert: pem(made.cert), ca: given ? once(...given).cert : made.cert };
};
const stranger = () => once("odd-stranger", {}).cert;

/** Certificates by what is odd about them. */
const CERTIFICATES = {
  "self-signed, an authority, and given": own("own-ca", { ca: true, extensions: ["basicConstraints=critical,CA:TRUE", "subjectAltName=IP:127.0.0.1,DNS:localhost"] }),
  "as openssl req -x509 makes it, and given": own("own-x509", { extensions: ["subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid:always", "basicConstraints=critical,CA:TRUE", "subjectAltName=IP:127.0.0.1,DNS:localhost"] }),
  "self-signed, no authority, and given": own("own", {}),
  "self-signed, an authority, and not given": () => ({ ...own("own-ca-2", { ca: true, extensions: ["basicConstraints=critical,CA:TRUE", "subjectAltName=IP:127.0.0.1,DNS:localhost"] })(), ca: authorities()[0].cert }),
  "self-signed; another key of the same subject given": own("same-a", { subject: "same", ca: true, extensions: ["basicConstraints=critical,CA:TRUE", "subjectAltName=IP:127.0.0.1"] }, ["odd-same-b", { subject: "same", ca: true }]),
  "another authority of the same subject given": () => ({ ...leaf("good")(), ca: once("odd-false-root", { subject: "odd-root", ca: true }).cert }),
  "self-signed, given, and expired": own("own-expired", { from: Date.now() - 9 * DAY, to: Date.now() - DAY }),
  "self-signed, given, for another name": own("own-other", { host: "DNS:www.example.com" }),
  "expired": leaf("expired", { from: Date.now() - 90 * DAY, to: Date.now() - 2 * DAY }),
  "not valid yet": leaf("future", { from: Date.now() + DAY }),
  "valid for a hundred years": leaf("old", { from: Date.now() - 400 * DAY, to: Date.now() + 36500 * DAY }),
  "for another name": leaf("other", { host: "DNS:www.example.com" }),
  "for the address alone": leaf("address", { host: "IP:127.0.0.1" }),
  "for the name alone": leaf("name", { host: "DNS:localhost" }),
  "for a name in capitals": leaf("capitals", { host: "DNS:LOCALHOST,IP:127.0.0.1" }),
  "for the address as a name": leaf("address-name", { host: "DNS:127.0.0.1" }),
  "for an address of IPv6 too": leaf("ipv6", { host: "IP:::1,IP:127.0.0.1,DNS:localhost" }),
  "for a hundred names": leaf("hundred", { host: Array.from({ length: 100 }, (_, n) => `DNS:h${n}.example.com`).join(",") + ",DNS:localhost,IP:127.0.0.1" }),
  "its name in the subject alone": leaf("subject", { subject: "localhost", extensions: ["basicConstraints=CA:FALSE"] }),
  "without extensions": leaf("version-1", { subject: "localhost", extensions: [] }),
  "for servers, it says": leaf("for-servers", { more: ["extendedKeyUsage=serverAuth"] }),
  "for clients, it says": leaf("for-clients", { more: ["extendedKeyUsage=clientAuth"] }),
  "for signatures alone, it says": leaf("signatures", { more: ["keyUsage=critical,digitalSignature"] }),
  "for keys alone, it says": leaf("keys", { more: ["keyUsage=critical,keyEncipherment"] }),
  "an unknown extension": leaf("unknown", { more: ["1.2.3.4.5=ASN1:UTF8:x"] }),
  "an unknown critical extension": leaf("critical", { more: ["1.2.3.4.5=critical,ASN1:UTF8:x"] }),
  "wants a stapled answer": leaf("staple", { more: ["tlsfeature=status_request"] }),
  "the root in the chain": leaf("good", {}, (own, intermediate, root) => [own, intermediate, root]),
  "the chain in another order": leaf("good", {}, (own, intermediate, root) => [own, root, intermediate]),
  "the intermediate twice": leaf("good", {}, (own, intermediate) => [own, intermediate, intermediate]),
  "itself twice": leaf("good", {}, (own, intermediate) => [own, own, intermediate]),
  "a stranger in the chain": leaf("good", {}, (own, intermediate) => [own, stranger(), intermediate]),
  "eight strangers in the chain": leaf("good", {}, (own, intermediate) => [own, ...Array(8).fill(stranger()), intermediate]),
  "without the intermediate": leaf("good", {}, (own) => [own]),
  "without the intermediate, which is given": () => ({ ...leaf("good", {}, (own) => [own])(), ca: authorities()[1].cert }),
  "the certificate given, not its authority": () => ({ ...leaf("good")(), ca: once("odd-good").cert }),
  "an intermediate that is none": () => {
    authorities();
    const middle = once("odd-none", { by: "odd-intermediate" });
    return { ...leaf("below-none", { by: "odd-none" }, (own, intermediate) => [own, middle.cert, intermediate])() };
  },
  "more authorities than one allows": () => {
    once("odd-short-root", { ca: true, extensions: ["basicConstraints=critical,CA:TRUE,pathlen:0"] });
    const middle = once("odd-too-much", { by: "odd-short-root", ca: true });
    return { ...leaf("below-too-much", { by: "odd-too-much" }, (own) => [own, middle.cert])(), ca: file("odd-short-root.pem") };
  },
  "names that its authority may sign": () => {
    once("odd-names", { ca: true, extensions: ["basicConstraints=critical,CA:TRUE", "nameConstraints=critical,permitted;DNS:localhost,permitted;IP:127.0.0.0/255.0.0.0"] });
    return { ...leaf("within-names", { by: "odd-names" }, (own) => [own])(), ca: file("odd-names.pem") };
  },
  "names that its authority may not sign": () => {
    once("odd-no-names", { ca: true, extensions: ["basicConstraints=critical,CA:TRUE", "nameConstraints=critical,permitted;DNS:example.com,permitted;IP:10.0.0.0/255.0.0.0"] });
    return { ...leaf("beyond-names", { by: "odd-no-names" }, (own) => [own])(), ca: file("odd-no-names.pem") };
  },
  "RSA of 1024 bits": leaf("rsa-1024", { kind: kind("rsa:1024") }),
  "RSA of 2048 bits": leaf("rsa-2048", { kind: kind("rsa:2048") }),
  "RSA of 3072 bits": leaf("rsa-3072", { kind: kind("rsa:3072") }),
  "RSA-PSS": leaf("rsa-pss", { kind: kind("rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048") }),
  "P-384": leaf("p-384", { kind: curve("secp384r1") }),
  "P-521": leaf("p-521", { kind: curve("secp521r1") }),
  "Ed25519": leaf("ed25519", { kind: kind("ed25519") }),
  "secp256k1": leaf("secp256k1", { kind: curve("secp256k1") }),
  "signed with SHA-384": leaf("sha-384", { digest: "sha384" }),
  "signed with SHA-512": leaf("sha-512", { digest: "sha512" }),
  "an authority of RSA": () => {
    once("odd-rsa-root", { ca: true, kind: kind("rsa:2048") });
    return { ...leaf("below-rsa", { by: "odd-rsa-root" }, (own) => [own])(), ca: file("odd-rsa-root.pem") };
  },
  "an authority of P-521": () => {
    once("odd-p521-root", { ca: true, kind: curve("secp521r1"), digest: "sha512" });
    return { ...leaf("below-p521", { by: "odd-p521-root", digest: "sha512" }, (own) => [own])(), ca: file("odd-p521-root.pem") };
  },
};

const V12 = { maxVersion: "TLSv1.2" };
const V13 = { minVersion: "TLSv1.3" };
const wanting = (more) => ({ options: () => ({ requestCert: true, rejectUnauthorized: false, ca: pem(authorities()[0].cert), ...more }) });
const needing = (more) => wanting({ rejectUnauthorized: true, ...more });
const shows = { client: () => once("odd-client", { by: "odd-root", more: ["extendedKeyUsage=clientAuth"] }) };
const showsOther = { client: () => once("odd-stranger", {}) };

/** What is negotiated, and how the bytes come: options of Node's server, and what is done to records. */
const WAYS = {
  "TLS 1.2 alone": { options: V12 },
  "TLS 1.3 alone": { options: V13 },
  "TLS 1.1 alone": { options: { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } },
  "TLS 1.2 with AES-128-GCM alone": { options: { ...V12, ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256" } },
  "TLS 1.2 with ChaCha20 alone": { options: { ...V12, ciphers: "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305" } },
  "TLS 1.2 with CBC alone": { options: { ...V12, ciphers: "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA" } },
  "TLS 1.2 without a curve": { options: { ...V12, ciphers: "AES128-GCM-SHA256" }, certificate: "RSA of 2048 bits" },
  "TLS 1.2 with DHE alone": { options: { ...V12, ciphers: "DHE-RSA-AES128-GCM-SHA256", dhparam: "auto" }, certificate: "RSA of 2048 bits" },
  "TLS 1.3 with AES-256 alone": { options: { ...V13, ciphers: "TLS_AES_256_GCM_SHA384" } },
  "TLS 1.3 with ChaCha20 alone": { options: { ...V13, ciphers: "TLS_CHACHA20_POLY1305_SHA256" } },
  "TLS 1.3 with CCM alone": { options: { ...V13, ciphers: "TLS_AES_128_CCM_SHA256" } },
  "its own order of ciphers": { options: { honorCipherOrder: true } },
  "P-256 alone": { options: { ecdhCurve: "P-256" } },
  "P-384 alone": { options: { ecdhCurve: "P-384" } },
  "P-384 alone, TLS 1.3 alone": { options: { ...V13, ecdhCurve: "P-384" } },
  "P-521 alone": { options: { ecdhCurve: "P-521" } },
  "X25519 alone": { options: { ecdhCurve: "X25519" } },
  "X448 alone": { options: { ecdhCurve: "X448" } },
  "ALPN of HTTP/1.1": { options: { ALPNProtocols: ["http/1.1"] } },
  "ALPN of HTTP/1.1 and HTTP/2": { options: { ALPNProtocols: ["h2", "http/1.1"] } },
  "ALPN refused, of HTTP/2 alone": { options: { ALPNProtocols: ["h2"] } },
  "ALPN refused": { options: { ALPNCallback: () => undefined } },
  "ALPN refused, TLS 1.2 alone": { options: { ...V12, ALPNCallback: () => undefined } },
  "no session tickets": { options: { secureOptions: constants.SSL_OP_NO_TICKET } },
  "no session tickets, TLS 1.2 alone": { options: { ...V12, secureOptions: constants.SSL_OP_NO_TICKET } },
  "tickets that nobody knows later": { server: (server) => server.on("connection", () => server.setTicketKeys(Buffer.from(Array.from({ length: 48 }, () => Math.random() * 256)))) },
  "tickets that nobody knows later, TLS 1.2 alone": { options: V12, server: (server) => server.on("connection", () => server.setTicketKeys(Buffer.from(Array.from({ length: 48 }, () => Math.random() * 256)))) },
  "sessions that end at once": { options: { sessionTimeout: 1 } },
  "a client's certificate wanted": wanting(),
  "a client's certificate wanted, TLS 1.2 alone": wanting(V12),
  "a client's certificate wanted and shown": { ...wanting(), ...shows },
  "a client's certificate needed": needing(),
  "a client's certificate needed, TLS 1.2 alone": needing(V12),
  "a client's certificate needed and shown": { ...needing(), ...shows },
  "a client's certificate needed and shown, TLS 1.2 alone": { ...needing(V12), ...shows },
  "another client's certificate shown": { ...needing(), ...showsOther },
  "a client's certificate shown unasked": shows,
  "no renegotiation": { options: { secureOptions: constants.SSL_OP_NO_RENEGOTIATION ?? 0 } },
  "no extended master secret": { options: { ...V12, secureOptions: constants.SSL_OP_NO_EXTENDED_MASTER_SECRET ?? 1 } },
  "a late choice of the certificate": { options: { SNICallback: (_, done) => setTimeout(done, 200, null) } },
  "records of 512 bytes": { connection: (socket) => socket.setMaxSendFragment(512) },
  "a handshake in records of 40 bytes": { records: small(40) },
  "a handshake in records of one byte": { records: small(1) },
  "a handshake in records of 40 bytes, TLS 1.2 alone": { options: V12, records: small(40) },
  "a handshake byte by byte": { pieces: 1 },
  "bytes in pieces of seven": { pieces: 7 },
  "a late handshake": { late: 400 },
  "a warning of the name first": { records: warning, options: V12 },
  "a warning of the name first, TLS 1.3 alone": { records: warning, options: V13 },
  "ends without close_notify": { records: silent, plain: "closes and says nothing" },
  "ends without close_notify, and says so": { records: silent, plain: "closes and says so" },
  "bodies that end without close_notify": { records: silent, plain: "a body until the end" },
  "bodies that end without close_notify, TLS 1.2 alone": { options: V12, records: silent, plain: "a body until the end" },
  "bodies that end with close_notify": { plain: "a body until the end" },
  "HTTP/1.0 without close_notify": { records: silent, plain: "HTTP/1.0" },
  "a reset instead of close_notify": { reset: true, plain: "closes and says so" },
  "nothing but an end": { cut: true },
  "plain HTTP": { noTls: true },
};

// --- What is done to a server's records: each function gets one and gives those that leave. ---

/** Cuts what is not encrypted yet into records of a size. */
function small(size) {
  return (state) => (record) => {
    if (record[0] !== 22) state.encrypted = true;
    if (state.encrypted) return [record];
    const records = [];
    for (let at = 5; at < record.length; at += size) {
      const part = record.subarray(at, at + size);
      records.push(Buffer.from([22, record[1], record[2], part.length >> 8, part.length & 255]), part);
    }
    return records;
  };
}

/** Begins with the alert that the name is not known, as a warning. */
function warning(state) {
  return (record) => {
    if (state.begun) return [record];
    state.begun = true;
    return [Buffer.from([21, 3, 3, 0, 2, 1, 112]), record];
  };
}

/** Takes the last record away if it can be an alert. */
function silent(state) {
  return (record) => {
    const held = state.held ? [state.held] : [];
    const isAlert = record[0] === 21 || (record[0] === 23 && record.length === 24);
    state.held = isAlert ? record : undefined;
    return isAlert ? held : [...held, record];
  };
}

/** Stands between a client and the TLS, where bytes can be odd. */
function relay(client, port, way) {
  const server = net.connect(port, "127.0.0.1");
  const act = way.records?.({}) ?? ((record) => [record]);
  let [bytes, ready] = [Buffer.alloc(0), way.late ? pause(way.late) : Promise.resolve()];
  for (const [one, other] of [[client, server], [server, client]]) {
    one.setNoDelay(true);
    one.on("error", () => other.destroy());
    one.on("close", () => other.destroySoon());
  }
  client.on("data", (data) => server.write(data));
  client.on("end", () => server.end());
  const write = (data) => {
    ready = ready.then(async () => {
      if (!way.pieces) return client.write(data);
      for (let at = 0; at < data.length; at += way.pieces) {
        client.write(data.subarray(at, at + way.pieces));
        if (at < 200) await new Promise(setImmediate);
      }
    });
  };
  server.on("data", (data) => {
    bytes = Buffer.concat([bytes, data]);
    while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt16BE(3)) {
      const length = 5 + bytes.readUInt16BE(3);
      for (const part of act(bytes.subarray(0, length))) write(part);
      bytes = bytes.subarray(length);
    }
  });
  server.on("end", () => {
    ready = ready.then(() => (way.reset ? client.resetAndDestroy() : client.end()));
  });
}

export const ODDITIES = [...Object.keys(CERTIFICATES), ...Object.keys(WAYS)];

/** Case `index` of a seed. */
export function generate(seed, index) {
  const next = random(seed * 1000003 + 500009 + index);
  const pick = (all) => all[Math.floor(next() * all.length)];
  const names = [];
  if (next() < 0.5) names.push(pick(Object.keys(CERTIFICATES)));
  if (!names.length || next() < 0.3) names.push(pick(Object.keys(WAYS)));
  const way = Object.assign({}, ...names.map((name) => WAYS[name]));
  const [revision, transport] = [pick([3, 4, 4]), way.plain ? pick(["polling", "both"]) : pick(["polling", "websocket", "both"])];
  const plain = way.plain ? [PLAIN.find(([name]) => name === way.plain)] : [];
  if (!names[1] && next() < 0.3) plain.push(pick(fits(revision, transport)));
  if (plain.length > (way.plain ? 1 : 0)) names.push(plain.at(-1)[0]);
  const host = next() < 0.5 ? "localhost" : "127.0.0.1";
  const certificate = names.find((name) => CERTIFICATES[name]) ?? way.certificate;
  return { ...hooks(revision, transport, plain), names, way, host, certificate };
}

/** Starts what serves such cases: a server for each run, since all of it can be odd. */
export function start() {
  const servers = new Map();
  const parts = ({ certificate, way }) => [
    (CERTIFICATES[certificate] ?? leaf("good"))(),
    typeof way.options === "function" ? way.options() : way.options,
    way.client?.(),
  ];
  return {
    prepare: (odd) => void parts(odd),
    async add(id, odd) {
      const { way } = odd;
      const [{ key, cert, ca }, options, shown] = parts(odd);
      const runs = new Runs();
      const accept = (socket) => {
        way.connection?.(socket);
        runs.accept(socket);
      };
      const path = runs.add(id, odd);
      const inner = way.noTls ? net.createServer(accept) : tls.createServer({ key, cert, noDelay: true, ...options }, accept);
      inner.on("tlsClientError", () => {});
      way.server?.(inner);
      let port = await listen(inner);
      const all = [inner];
      if (way.records || way.late || way.pieces || way.reset || way.cut) {
        const behind = port;
        const front = net.createServer((socket) => (way.cut ? socket.end() : relay(socket, behind, way)));
        port = await listen(front);
        all.push(front);
      }
      servers.set(id, [runs, ...all]);
      return { url: `https://${odd.host}:${port}${path}`, ca, ...(shown && { cert: shown.cert, key: shown.key }) };
    },
    remove(id) {
      for (const server of servers.get(id)) server.close();
      servers.delete(id);
    },
    close() {},
  };
}
