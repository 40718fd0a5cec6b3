// HTTP requests: paths, queries, methods and headers, right and odd.

const QUALITIES = ["", ";q=0", ";q=1", ";q=0.5", ";q=0.0005", ";q=0.0004", ";q=1e-9", ";q=.5", ";q=0.5x", ";q=2", ";q=-1", ";q=abc", ";q=", ";q", ";Q=0", "; q=0", ";q= 0.5", ";q =0", ";x=1;q=0", ";q=0;q=1", ";"];
const ORIGINS = ["http://a.example", "http://b.example", "http://c.example", "https://a.example", "null", "", "http://A.example", "http://a.example, http://b.example", "x\u00e9"];

export class Requests {
  constructor(random, set) {
    this.random = random;
    this.set = set;
  }

  path() {
    const { path } = this.set;
    return this.random.weighted([
      [30, path],
      [1, () => this.random.pick([
        path.replace(/\/$/, ""), `${path}/`, `${path}x`, `${path}x/y/`, "/", "/other", `/${path}`, path.toUpperCase(), path.replace("o", "%6f"), `${path}../`, `/x/..${path}`,
        `http://h${path}`, `${path}%zz`, `${path};a`, "*",
      ])],
    ]);
  }

  /** What a handshake says; mostly something that works. */
  handshake(transport) {
    const { random, set } = this;
    const right = set.old && random.chance(0.4) ? "3" : "4";
    const params = [
      random.weighted([[20, `EIO=${right}`], [1, () => random.pick(["", "EIO=3", "EIO=5", "EIO=", "EIO=04", "EIO=4.0", "EIO=x", "eio=4", "EIO=4&EIO=3", "EIO=3&EIO=4", "EIO[]=4", "EIO=%34", "%45IO=4", "EIO=+4", "EIO=4 ".trim() + "%20"])]]),
      random.weighted([[20, `transport=${transport}`], [1, () => random.pick(["", "transport=websocket", "transport=polling", "transport=foo", "transport=webtransport", "transport=", "transport=__proto__", "transport=constructor", "transport=%70olling", "transport=Polling", "transport=polling&transport=websocket", "transport=websocket&transport=polling", "transport=polling%00", "transport"])]]),
    ];
    const extra = () => random.pick([
      "t=abc", "b64=1", "b64=0", "b64=", "b64", "j=0", "j=12", "j=x1y2", "j=", "j", "sid=", "sid=nope", "sid=__proto__", "sid=constructor", "x=1&x=2", "__proto__=1", "a=%zz", "a=%F0%9F", "a=+b", "=", "&&", "a=b=c", "%00=1", "token=a%26b",
      "x=%E2%82%AC", "x=;y", "sid=%20", "sid",
    ]);
    if (random.chance(0.3)) params.push(...random.times(1, 2, extra));
    if (random.chance(0.1)) params.reverse();
    const query = params.filter(Boolean).join("&");
    const fragment = random.chance(0.01) ? "#x" : "";
    return { query: query + fragment, old: !/(^|&)EIO=4(&|$|#)/.test(query) };
  }

  /** Headers of a request that a browser or a program may send. */
  headers(share = 0.35) {
    const { random } = this;
    if (!random.chance(share)) return [];
    return random.times(1, 3, () => random.weighted([
      [4, () => ["Origin", random.pick(ORIGINS)]],
      [2, () => ["Cookie", random.pick(["a=b", "io=x; me=y", "", "=", "a=b; a=c"])]],
      [2, () => ["User-Agent", random.pick(["Mozilla/5.0 (Windows NT 6.1; Trident/7.0)", "Mozilla/4.0 (compatible ;MSIE 8.0)", "curl/8", ""])]],
      [3, () => ["Accept-Encoding", this.#encodings()]],
      [1, () => ["Connection", random.pick(["close", "keep-alive", "Close", "x", "close, x"])]],
      [1, () => ["X-Forwarded-For", "10.0.0.1, 10.0.0.2"]],
      [1, () => ["Accept", "*/*"]],
      [1, () => ["Authorization", "Bearer x"]],
      [1, () => ["X-Odd", random.pick(["é", "\t", "a\tb", "\"", "x".repeat(2000), " "])]],
      [1, () => ["Cache-Control", "no-cache"]],
      [1, () => ["Content-Type", random.pick(["text/plain", "application/json"])]],
      [1, () => random.pick([["Expect", "100-continue"], ["Expect", "x"], ["TE", "trailers"], ["Upgrade", "h2c"], ["Upgrade", "websocket"], ["HTTP2-Settings", "AAMAAABkAAQAAP__"]])],
    ]));
  }

  /** What a client says of compression. */
  #encodings() {
    const { random } = this;
    if (random.chance(0.4)) return random.pick(["gzip, deflate, br", "", "x-gzip", "gzip x", ",", " gzip ,", "gzip,,deflate", ";q=1"]);
    const one = () => random.pick(["gzip", "gzip", "deflate", "*", "br", "identity", "GZIP"]) + random.weighted([[2, ""], [3, () => random.pick(QUALITIES)]]);
    return random.times(1, 3, one).join(random.pick([",", ", "]));
  }

  preflight() {
    const { random } = this;
    const headers = [["Origin", random.pick(ORIGINS)]];
    if (random.chance(0.8)) headers.push(["Access-Control-Request-Method", random.pick(["POST", "GET", "DELETE", ""])]);
    if (random.chance(0.5)) headers.push(["Access-Control-Request-Headers", random.pick(["content-type", "x-a, x-b", "", "X-A,x-a"])]);
    return headers;
  }

  contentType() {
    const { random } = this;
    return random.weighted([
      [8, () => [["Content-Type", "text/plain;charset=UTF-8"]]],
      [2, () => []],
      [2, () => [["Content-Type", random.pick(["text/plain", "application/octet-stream", "application/octet-stream; x=y", "Application/Octet-Stream", "application/x-www-form-urlencoded", "application/json", "", "text/plain; charset=latin1", "x"])]]],
    ]);
  }

  method() {
    return this.random.weighted([[10, "GET"], [3, "POST"], [3, () => this.random.pick(["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "get", "FOO", "TRACE", "PROPFIND", "Get"])]]);
  }

  /** The headers of a request for a WebSocket, beside the usual ones, and which of those are missing. */
  websocket() {
    const { random } = this;
    if (random.chance(0.7)) return { headers: random.chance(0.2) ? this.headers(1) : [] };
    return random.weighted([
      [4, () => ({ headers: [["Sec-WebSocket-Protocol", random.pick(["chat", "chat, token", "a,b", "a, a", "", "(bad)", "a,", ",a", "a b", "é", "a\tb"])]] })],
      [1, () => ({ headers: [["Sec-WebSocket-Protocol", "a"], ["Sec-WebSocket-Protocol", random.pick(["a", "b"])]] })],
      [3, () => ({ headers: [["Sec-WebSocket-Extensions", random.pick(["permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "permessage-deflate; x=1", "x", "permessage-deflate; server_max_window_bits=99", "permessage-deflate, permessage-deflate; client_max_window_bits", "", ";", "permessage-deflate; client_max_window_bits=8"])]] })],
      [2, () => ({ without: ["Sec-WebSocket-Version"], headers: [["Sec-WebSocket-Version", random.pick(["12", "8", "7", "", "13, 8", "x", "013"])]] })],
      [2, () => ({ without: ["Sec-WebSocket-Key"], headers: [["Sec-WebSocket-Key", random.pick(["", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ== ", "AAAAAAAAAAAAAAAAAAAAAA=="])]] })],
      [1, () => ({ headers: [["Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="]] })],
      [2, () => ({ without: [random.pick(["Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"])] })],
      [2, () => ({ without: ["Upgrade"], headers: [["Upgrade", random.pick(["WebSocket", "foo", "websocket, foo", "", "h2c"])]] })],
      [2, () => ({ without: ["Connection"], headers: [["Connection", random.pick(["upgrade", "keep-alive, Upgrade", "close", "Upgrade, close", "keep-alive"])]] })],
      [1, () => ({ method: random.pick(["POST", "HEAD", "OPTIONS", "PUT"]) })],
    ]);
  }

  /** A request whose form is odd, in its bytes. */
  raw() {
    const { random, set } = this;
    const target = `${set.path}?EIO=4&transport=${set.transports[0]}`;
    const head = (first, ...lines) => [first, "X-Case: {case}", ...lines].join("\r\n") + "\r\n\r\n";
    return random.pick([
      head(`GET ${target} HTTP/1.0`),
      head(`GET ${target} HTTP/1.0`, "Connection: keep-alive"),
      head(`GET ${target} HTTP/1.1`),
      head(`GET ${target} HTTP/1.1`, "Host: h", "Host: i"),
      head(`GET ${target} HTTP/1.1`, "Host:"),
      head(`GET ${target} HTTP/2.0`, "Host: h"),
      head(`GET ${target} HTTP/1.2`, "Host: h"),
      head(`GET ${target}`, "Host: h"),
      head(`GET  ${target} HTTP/1.1`, "Host: h"),
      head(`get ${target} HTTP/1.1`, "Host: h"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "X : y"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "X:y"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "X: a", " b"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "noColon"),
      head(`GET ${target} HTTP/1.1`, "Host: h", ": x"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "X: a\0b"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "X: a\x01b"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "X(: a"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "Content-Length: 0"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "Content-Length: x"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "Content-Length: 1", "Content-Length: 2"),
      head(`GET ${target} HTTP/1.1`, "Host: h", "Content-Length: 0", "Transfer-Encoding: chunked") + "0\r\n\r\n",
      head(`GET ${target} HTTP/1.1`, "Host: h", "Transfer-Encoding: x"),
      head(`GET ${target} HTTP/1.1`, "Host: h").replaceAll("\r\n", "\n"),
      "\r\n" + head(`GET ${target} HTTP/1.1`, "Host: h"),
      head(`GET ${target}&x=é HTTP/1.1`, "Host: h"),
      head(`GET ${target}&x=a b HTTP/1.1`, "Host: h"),
      head(`GET ${target}&x=<>"{}|^\` HTTP/1.1`, "Host: h"),
      head(`GET ${target}&x=\x01 HTTP/1.1`, "Host: h"),
      head(`GET ${target} HTTP/1.1`, "Host: h", `X: ${"y".repeat(15000)}`),
      head(`GET ${target} HTTP/1.1`, "Host: h", `X: ${"y".repeat(20000)}`),
      head(`GET ${target}&x=${"y".repeat(5000)} HTTP/1.1`, "Host: h"),
      head(`GET ${target} HTTP/1.1`, "Host: h", ...Array.from({ length: random.pick([90, 110, 400]) }, (_, i) => `X-${i}: y`)),
      head(`GET ${target} HTTP/1.1`, "Host: h") + head(`GET ${target} HTTP/1.1`, "Host: h"),
      head(`CONNECT h:80 HTTP/1.1`, "Host: h"),
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      "junk\r\n\r\n",
    ]);
  }
}
