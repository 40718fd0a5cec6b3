// Proxies that are odd in one or two ways, and servers behind them that are right.
import net from "node:net";
import tls from "node:tls";
import { once, pem } from "../certificates.mjs";
import { LINES, hooks, random } from "./oddities.mjs";
import { Runs, listen, pause } from "./server.mjs";

const USER = "Basic " + Buffer.from("user:p@ss").toString("base64");
const says = (status, head = "", body = "") => ({ answer: `HTTP/1.1 ${status}\r\n${head}\r\n${body}` });
const line = (text) => ({ answer: `${text}\r\n\r\n` });
const chunked = (text) => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
const PAGE = "<html><body>no</body></html>";
const wanting = (given) => ({ wants: USER, user: given });

/** What a proxy does when it is asked for a tunnel. */
const TUNNELS = {
  "an answer of HTTP/1.0": line("HTTP/1.0 200 Connection established"),
  "no reason": line("HTTP/1.1 200"),
  "an empty reason": line("HTTP/1.1 200 "),
  "a reason beyond ASCII": line("HTTP/1.1 200 \xe9tabli"),
  "two spaces before the status": line("HTTP/1.1  200 OK"),
  "the proxy's http in lower case": line("http/1.1 200 OK"),
  "201": line("HTTP/1.1 201 Created"),
  "204": line("HTTP/1.1 204 No Content"),
  "299": line("HTTP/1.1 299 Fine"),
  "line feeds alone": { answer: "HTTP/1.1 200 OK\nVia: odd\n\n" },
  "an empty line first": { answer: "\r\nHTTP/1.1 200 OK\r\n\r\n" },
  "100 before the 200": { answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" },
  "103 before the 200": { answer: "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" },
  "102 twice before the 200": { answer: "HTTP/1.1 102 Processing\r\n\r\n".repeat(2) + "HTTP/1.1 200 OK\r\n\r\n" },
  "101 instead of the 200": line("HTTP/1.1 101 Switching Protocols"),
  "a length of zero": says("200 OK", "Content-Length: 0\r\n"),
  "a length, and no body": says("200 OK", "Content-Length: 7\r\n"),
  "chunked, and no body": says("200 OK", "Transfer-Encoding: chunked\r\n"),
  "a chunked body": says("200 OK", "Transfer-Encoding: chunked\r\n", chunked("tunnel")),
  "an empty chunked body": says("200 OK", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
  "a chunked body, later": { ...says("200 OK", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), cutAtHead: true },
  "a body with a length": says("200 OK", "Content-Length: 6\r\n", "tunnel"),
  "an empty line behind the head": says("200 OK", "", "\r\n"),
  "Connection: close": says("200 OK", "Connection: close\r\n"),
  "Proxy-Connection": says("200 OK", "Proxy-Connection: keep-alive\r\nProxy-Agent: odd/1.0\r\n"),
  "credentials wanted with the 200": says("200 OK", "Proxy-Authenticate: Basic realm=x\r\n"),
  ...Object.fromEntries(Object.entries(LINES).map(([name, text]) => [`a line of the 200: ${name}`, says("200 OK", `${text}\r\n`)])),
  "in pieces": { ...says("200 OK", "Via: 1.1 odd\r\n"), pieces: 5 },
  "byte by byte": { ...says("200 OK", "Via: 1.1 odd\r\n"), pieces: 1 },
  "slow": { ...says("200 OK"), late: 300 },
  "very slow": { ...says("200 OK"), late: 1200 },
  "slow bytes": { ...says("200 OK", "Via: 1.1 odd\r\n"), pieces: 4, between: 30 },
  "silent": { silent: true },
  "closes": { answer: "" , ends: true },
  "resets": { resets: true },
  "half a head": { answer: "HTTP/1.1 200 O", ends: true },
  "no HTTP": { answer: "what is this\r\n\r\n" },
  "a record of TLS": { answer: "\x15\x03\x03\x00\x02\x02\x28" },
  "403": { ...says("403 Forbidden", `Content-Length: ${PAGE.length}\r\n`, PAGE) },
  "405": { ...says("405 Method Not Allowed", "Allow: GET, POST\r\nContent-Length: 0\r\n") },
  "407": { ...says("407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n") },
  "407 with an endless body": { ...says("407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=x\r\n", PAGE) },
  "502": { ...says("502 Bad Gateway", "Transfer-Encoding: chunked\r\n", chunked(PAGE)) },
  "a redirect": says("302 Found", "Location: http://127.0.0.1:1/\r\nContent-Length: 0\r\n"),
  "403, but forwards": { ...says("403 Forbidden", "Content-Length: 0\r\n"), forwards: true },
  "405, but forwards": { ...says("405 Method Not Allowed", "Content-Length: 0\r\n"), forwards: true },
  "403 with a page, but forwards": { ...says("403 Forbidden", "Transfer-Encoding: chunked\r\n", chunked(PAGE)), forwards: true },
  "403 and the end, but forwards": { ...says("403 Forbidden", "Connection: close\r\n", PAGE), ends: true, forwards: true },
  "403 and closes each connection, but forwards": { ...says("403 Forbidden", "Content-Length: 0\r\n"), forwards: true, closes: true },
  "403 for who has no name, but forwards": { ...says("403 Forbidden", "Content-Length: 0\r\n"), forwards: true, ...wanting("user:p%40ss@") },
  "credentials wanted and given": wanting("user:p%40ss@"),
  "credentials wanted, others given": wanting("user:no@"),
  "credentials wanted, a name given": wanting("user@"),
  "credentials given unasked": { user: "user:p%40ss@" },
  "credentials beyond ASCII": { user: "us%C3%A9r:%E2%82%AC@" },
  "credentials with colons": { user: "user:a%3Ab@", wants: "Basic " + Buffer.from("user:a:b").toString("base64") },
};

/** How the client is told of it. */
const URLS = {
  "by its name": { url: (port) => `http://localhost:${port}` },
  "with a slash": { url: (port) => `http://127.0.0.1:${port}/` },
  "in capitals": { url: (port) => `HTTP://127.0.0.1:${port}` },
  "over IPv6": { host: "::1", url: (port) => `http://[::1]:${port}` },
  "over TLS": { tls: true, url: (port) => `https://localhost:${port}` },
  "over TLS whose name is another": { tls: "wrong", url: (port) => `https://localhost:${port}` },
  "where nobody listens": { url: () => "http://127.0.0.1:1" },
};

const names = (NO_PROXY, more) => ({ env: (proxy) => ({ http_proxy: proxy, https_proxy: proxy, no_proxy: NO_PROXY }), direct: true, ...more });
/** What stands in the environment. Where hosts are left out, the proxy refuses: who asks it does not connect. */
const ENVIRONMENTS = {
  "NO_PROXY=*": names("*"),
  "NO_PROXY=the name": names("localhost"),
  "NO_PROXY=the address": names("127.0.0.1", { host: "127.0.0.1" }),
  "NO_PROXY=the name in capitals": names("LOCALHOST"),
  "NO_PROXY=a list": names("example.com,localhost"),
  "NO_PROXY=a list with spaces": names("example.com, localhost , other"),
  "NO_PROXY=a list of spaces alone": names("example.com localhost"),
  "NO_PROXY=a list with nothing in it": names(",,localhost,"),
  "NO_PROXY=the name and its port": { ...names(""), port: (port) => `localhost:${port}` },
  "NO_PROXY=the name and another port": names("localhost:1"),
  "NO_PROXY=the name with a dot before it": names(".localhost"),
  "NO_PROXY=the name with a dot behind it": names("localhost."),
  "NO_PROXY=the name with a star before it": names("*localhost"),
  "NO_PROXY=the name with a star and a dot": names("*.localhost"),
  "NO_PROXY=a domain, for a name below it": names(".localhost", { host: "a.localhost" }),
  "NO_PROXY=the end of the name": names("host"),
  "NO_PROXY=the end of the name, with a star": names("*host"),
  "NO_PROXY=a net": names("127.0.0.0/8", { host: "127.0.0.1" }),
  "NO_PROXY=another net": names("10.0.0.0/8", { host: "127.0.0.1" }),
  "NO_PROXY=a star for an address": names("127.0.0.*", { host: "127.0.0.1" }),
  "NO_PROXY=* among others": names("example.com,*"),
  "NO_PROXY=* for an address": names("*", { host: "127.0.0.1" }),
  "NO_PROXY=an address of IPv6": names("::1", { host: "[::1]" }),
  "NO_PROXY=an address of IPv6 in brackets": names("[::1]", { host: "[::1]" }),
  "NO_PROXY=another name": names("example.com"),
  "http_proxy alone": { env: (proxy) => ({ http_proxy: proxy, https_proxy: proxy }) },
  "HTTP_PROXY alone": { env: (proxy) => ({ HTTP_PROXY: proxy, HTTPS_PROXY: proxy }) },
  "ALL_PROXY alone": { env: (proxy) => ({ ALL_PROXY: proxy }) },
  "all_proxy beside an empty http_proxy": { env: (proxy) => ({ all_proxy: proxy, http_proxy: "", https_proxy: "" }) },
  "a proxy without a scheme": { env: (proxy) => ({ http_proxy: proxy.replace("http://", ""), https_proxy: proxy }), plain: true },
  "an empty NO_PROXY": { env: (proxy) => ({ http_proxy: proxy, https_proxy: proxy, NO_PROXY: "" }) },
  "both cases, of which one is dead": { env: (proxy) => ({ http_proxy: proxy, https_proxy: proxy, HTTP_PROXY: "http://127.0.0.1:1", HTTPS_PROXY: "http://127.0.0.1:1" }) },
};

export const ODDITIES = [TUNNELS, URLS, ENVIRONMENTS].flatMap(Object.keys);

/** Case `index` of a seed. */
export function generate(seed, index) {
  const next = random(seed * 1000003 + 700001 + index);
  const pick = (all) => all[Math.floor(next() * all.length)];
  const names = [];
  if (next() < 0.75) names.push(pick(Object.keys(TUNNELS)));
  const where = next() < 0.5 ? URLS : ENVIRONMENTS;
  if (!names.length || next() < 0.3) names.push(pick(Object.keys(where)));
  const way = Object.assign({}, ...names.map((name) => TUNNELS[name] ?? URLS[name] ?? ENVIRONMENTS[name]));
  const transport = pick(["polling", "websocket", "both"]);
  const secure = next() < 0.4 && !way.forwards && !way.plain;
  return { ...hooks(pick([3, 4, 4]), transport, []), names, way, secure };
}

/** A proxy, one for each run. */
function proxy(way, target) {
  return (client) => {
    const sockets = [client];
    const end = () => sockets.forEach((socket) => socket.destroySoon());
    client.on("error", () => {});
    client.on("close", end);
    let bytes = Buffer.alloc(0);
    const read = (data) => {
      bytes = Buffer.concat([bytes, data]);
      const at = bytes.indexOf("\r\n\r\n");
      if (at < 0) return;
      client.off("data", read);
      ask(bytes.subarray(0, at + 4).toString("latin1"), bytes.subarray(at + 4));
    };
    client.on("data", read);

    async function write(text) {
      const data = Buffer.from(text, "latin1");
      const size = way.pieces ?? (way.cutAtHead ? data.indexOf("\r\n\r\n") + 4 : data.length);
      for (let at = 0; at < data.length; at += size) {
        client.write(data.subarray(at, at + size));
        if (data.length > size) await pause(way.between ?? 5);
      }
    }

    function join(first) {
      const server = net.connect(target);
      sockets.push(server);
      server.on("error", end);
      server.on("close", end);
      server.write(first);
      client.pipe(server);
      server.pipe(client);
    }

    async function ask(head, rest) {
      const has = /^proxy-authorization: *(.*)\r$/im.exec(head)?.[1];
      if (way.late) await pause(way.late);
      const refused = way.wants && has !== way.wants;
      if (!head.startsWith("CONNECT ")) {
        if (!way.forwards || refused || /^upgrade:/im.test(head)) {
          return client.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
        // To the server as to one that has no proxy, one request a connection.
        const lines = head.replace(/^(\S+) http:\/\/[^/]+/, "$1 ").replace(/^(proxy-[^\r]*|connection:[^\r]*)\r\n/gim, "");
        return join(Buffer.concat([Buffer.from(lines.replace(/\r\n\r\n$/, "\r\nConnection: close\r\n\r\n"), "latin1"), rest]));
      }
      if (way.silent) return;
      if (way.resets) return client.resetAndDestroy();
      if (refused) return write("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n");
      const answer = way.direct && !way.forwards ? "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n" : (way.answer ?? "HTTP/1.1 200 OK\r\n\r\n");
      await write(answer);
      if (way.ends || way.closes) return client.end();
      if (way.direct && !way.forwards) return;
      if (/^(HTTP\/1.1 1\d\d.*\r\n(.+\r\n)*\r\n)*\s*HTTP\/\d\.\d +2/i.test(answer)) join(rest);
    }
  };
}

/** Starts what serves such cases. */
export function start() {
  const servers = new Map();
  const root = once("odd-root", { ca: true });
  const shown = (name, host) => {
    const { key, cert } = once(name, { by: "odd-root", host });
    return { key: pem(key), cert: pem(cert) };
  };
  const right = () => shown("odd-behind", "DNS:localhost,DNS:a.localhost,IP:127.0.0.1,IP:::1");
  const wrong = () => shown("odd-proxy-other", "DNS:www.example.com");
  right();
  wrong();
  return {
    async add(id, odd) {
      const { way } = odd;
      const runs = new Runs();
      const accept = (socket) => runs.accept(socket);
      const server = odd.secure ? tls.createServer(right(), accept) : net.createServer(accept);
      server.on("tlsClientError", () => {});
      const host = way.direct ? (way.host ?? "localhost") : "localhost";
      const port = await listen(server, host === "[::1]" ? "::1" : "127.0.0.1");
      const act = proxy(way, { port, host: host === "[::1]" ? "::1" : "127.0.0.1" });
      const front = way.tls ? tls.createServer(way.tls === "wrong" ? wrong() : right(), act) : net.createServer(act);
      front.on("tlsClientError", () => {});
      const proxyPort = await listen(front, way.direct ? "127.0.0.1" : (way.host ?? "127.0.0.1"));
      servers.set(id, [runs, server, front]);
      const at = (way.url ?? ((port) => `http://127.0.0.1:${port}`))(proxyPort).replace("//", `//${way.user ?? ""}`);
      const env = way.env?.(at);
      if (way.port) env.no_proxy = way.port(port);
      const url = `${odd.secure ? "https" : "http"}://${host}:${port}${runs.add(id, odd)}`;
      return { url, ca: root.cert, forwards: Boolean(way.forwards), ...(env ? { env } : { proxy: at }) };
    },
    remove(id) {
      for (const server of servers.get(id)) server.close();
      servers.delete(id);
    },
    close() {},
  };
}
