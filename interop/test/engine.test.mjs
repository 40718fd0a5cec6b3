// Engine.IO on the wire: requests and answers byte by byte.
import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";
import { describe, it } from "node:test";
import { WebSocket } from "ws";
import { HANDSHAKE, Server, Ws, expected, get, isReference, once, open, post, raw, request, upgradeRequest, withServer, within } from "../harness.mjs";

const refused = (code, message) => JSON.stringify({ code, message });

describe("handshake", { concurrency: true }, () => {
  it("E066 old Internet Explorers are told not to filter", withServer({}, {}, async (server) => {
    for (const [agent, expected] of [["Mozilla/5.0 (Windows NT 6.1; Trident/7.0)", "0"], ["Mozilla/4.0 (compatible ;MSIE 8.0)", "0"], ["Mozilla/5.0", undefined]]) {
      const session = await open(server);
      const answers = [
        await get(server, HANDSHAKE, { "user-agent": agent }),
        await post(server, session.path, "40", { "user-agent": agent }),
        await get(server, session.path, { "user-agent": agent }),
      ];
      for (const { headers } of answers) assert.equal(headers["x-xss-protection"], expected, agent);
    }
  }));

  it("E001 M17 polling", withServer({}, {}, async (server) => {
    const answer = await get(server, HANDSHAKE);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers["content-type"], "text/plain; charset=UTF-8");
    assert.equal(answer.headers["cache-control"], "no-store");
    assert.match(
      answer.body,
      /^0\{"sid":"[\w-]{20}","upgrades":\["websocket"\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000\}$/,
    );
    // E060 M30
    assert.deepEqual(Object.keys(answer.headers).filter((name) => name.startsWith("access-control")), []);
  }));

  it("E002 E003 WebSocket", withServer({}, {}, async (server) => {
    const ws = await Ws.open(server);
    const opened = await ws.next();
    assert.match(opened, /^0\{"sid":"[\w-]{20}","upgrades":\[\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000\}$/);
    ws.socket.terminate();
  }));

  it("E004-E009 E012 E016 M05-M15 M21 refusals", withServer({}, {}, async (server) => {
    const { sid } = await open(server);
    const known = `/socket.io/?sid=${sid}`;
    const cases = [
      ["GET", "/socket.io/?EIO=4&transport=foo", 0, "Transport unknown", { transport: "foo" }],
      ["GET", "/socket.io/?EIO=4&transport=__proto__", 0, "Transport unknown", { transport: "__proto__" }],
      ["GET", "/socket.io/?EIO=4&transport=webtransport", 0, "Transport unknown", { transport: "webtransport" }],
      ["GET", `${HANDSHAKE}&sid=nope`, 1, "Session ID unknown", { sid: "nope" }],
      ["POST", HANDSHAKE, 2, "Bad handshake method", { method: "POST" }],
      ["PUT", HANDSHAKE, 2, "Bad handshake method", { method: "PUT" }],
      ["OPTIONS", HANDSHAKE, 2, "Bad handshake method", { method: "OPTIONS" }],
      ["GET", "/socket.io/?EIO=4&transport=websocket", 3, "Bad request", { name: "TRANSPORT_HANDSHAKE_ERROR" }],
      // M60: a proxy that strips the upgrade.
      ["GET", `${known}&EIO=4&transport=websocket`, 3, "Bad request",
        { name: "TRANSPORT_MISMATCH", transport: "websocket", previousTransport: "polling" }],
      ["GET", `${known}&EIO=3&transport=polling`, 3, "Bad request",
        { name: "PROTOCOL_MISMATCH", protocol: 3, previousProtocol: 4 }],
      ["GET", "/socket.io/?EIO=3&transport=polling", 5, "Unsupported protocol version", { protocol: 3 }],
      ["GET", "/socket.io/?EIO=5&transport=polling", 5, "Unsupported protocol version", { protocol: 3 }],
      ["GET", "/socket.io/?transport=polling", 5, "Unsupported protocol version", { protocol: 3 }],
    ];
    for (const [method, path, code, message, context] of cases) {
      const answer = await request(server, method, path);
      assert.deepEqual([answer.status, answer.body], [400, refused(code, message)], path);
      assert.equal(answer.headers["content-type"], "application/json");
      const { connection_error } = await server.fact("connection_error");
      assert.deepEqual(connection_error, { code, message, context, url: path });
    }
    assert.equal((await get(server, "/socket.io/?EIO=4")).body, refused(0, "Transport unknown"));
  }));

  it("E010 M14 allowRequest refuses", withServer({}, { allowRequest: "deny" }, async (server) => {
    const answer = await get(server, HANDSHAKE);
    assert.deepEqual([answer.status, answer.body], [403, refused(4, "Forbidden")]);
    const { connection_error } = await server.fact("connection_error");
    assert.deepEqual([connection_error.code, connection_error.message], [4, "Forbidden"]);
  }));

  it("E010 E014 allowRequest refuses with a message", withServer({}, { allowRequest: "not today" }, async (server) => {
    const answer = await get(server, HANDSHAKE);
    assert.deepEqual([answer.status, answer.body], [403, refused(4, "not today")]);
    const { connection_error } = await server.fact("connection_error");
    assert.deepEqual([connection_error.message, connection_error.context], ["Forbidden", { message: "not today" }]);
    const upgrade = await raw(server, upgradeRequest("/socket.io/?EIO=4&transport=websocket"));
    assert.match(upgrade, /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.ok(upgrade.endsWith("\r\n\r\nnot today"));
  }));

  it("E011 allowRequest is asked once", withServer({}, { allowRequest: "allow" }, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    await get(server, HANDSHAKE);
    const asked = [await server.fact("allow_request"), await server.fact("allow_request")];
    assert.deepEqual(asked.map((fact) => fact.allow_request), [HANDSHAKE, HANDSHAKE]);
  }));

  it("E013 M11 a refused upgrade is raw", withServer({ cors: { origin: "https://a" } }, {}, async (server) => {
    for (const [path, message] of [
      [`/socket.io/?EIO=4&transport=websocket&sid=nope`, "Session ID unknown"],
      [`/socket.io/?EIO=4&transport=foo`, "Transport unknown"],
    ]) {
      const answer = await raw(server, upgradeRequest(path));
      const [head, body] = answer.split("\r\n\r\n");
      assert.match(head, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.match(head, /content-type: text\/html/i);
      assert.match(head, /connection: close/i);
      assert.doesNotMatch(head, /access-control|vary/i);
      assert.equal(body, message);
    }
  }));

  it("M49 an old client over WebSocket is refused", withServer({}, {}, async (server) => {
    const answer = await raw(server, upgradeRequest("/socket.io/?EIO=3&transport=websocket"));
    // The reference answers 101 first and writes the 400 into the WebSocket.
    const status = expected({ reference: /^HTTP\/1\.1 101 /, ours: /^HTTP\/1\.1 400 Bad Request\r\n/ });
    assert.match(answer, status);
    assert.match(answer, /Unsupported protocol version/);
  }));

  it("a bad WebSocket handshake is refused as the reference's library does", withServer({}, {}, async (server) => {
    const path = "/socket.io/?EIO=4&transport=websocket";
    const noKey = await raw(server, `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n`);
    assert.match(noKey, /^HTTP\/1\.1 400 [^]*Missing or invalid Sec-WebSocket-Key header$/);
    const version = await raw(server, upgradeRequest(path).replace("Version: 13", "Version: 12"));
    assert.match(version, /^HTTP\/1\.1 400 /);
    assert.match(version, /sec-websocket-version: 13, 8/i);
  }));

  it("E015 ids of one's own", withServer({}, { generateId: "custom" }, async (server) => {
    assert.equal((await open(server)).sid, "custom-1");
  }));

  it("E015 an id that cannot be made", withServer({}, { generateId: "fail" }, async (server) => {
    const answer = await get(server, HANDSHAKE);
    assert.deepEqual([answer.status, answer.body], [400, refused(3, "Bad request")]);
    const { connection_error } = await server.fact("connection_error");
    assert.equal(connection_error.context.name, "ID_GENERATION_ERROR");
  }));
});

describe("routing", { concurrency: true }, () => {
  it("E017 E019 M32 only the path's requests are ours", withServer({}, {}, async (server) => {
    assert.equal((await get(server, "/socket.io/x?EIO=4&transport=polling")).status, 200);
    assert.equal((await get(server, "/socket.io?EIO=4&transport=polling")).status, 404);
    assert.equal((await get(server, "/app")).body, "app");
  }));

  it("E018 without the trailing slash", withServer({ addTrailingSlash: false }, {}, async (server) => {
    assert.equal((await get(server, "/socket.io?EIO=4&transport=polling")).status, 200);
  }));

  it("M33 S054 another path", withServer({ path: "/my-custom-path/" }, {}, async (server) => {
    assert.equal((await get(server, "/my-custom-path/?EIO=4&transport=polling")).status, 200);
    assert.equal((await get(server, HANDSHAKE)).status, 404);
  }));

  it("E020 a foreign upgrade is ended", withServer({ destroyUpgradeTimeout: 50 }, { noApp: true }, async (server) => {
    assert.equal(await raw(server, upgradeRequest("/elsewhere")), "");
  }));

  it("E020 a foreign upgrade is left alone", withServer({ destroyUpgrade: false, destroyUpgradeTimeout: 20 }, {}, async (server) => {
    const socket = net.connect(server.port, "127.0.0.1", () => socket.write(upgradeRequest("/elsewhere")));
    const first = new Promise((resolve) => ["data", "close"].forEach((event) => socket.once(event, (data) => resolve(String(data)))));
    // Ours has an app behind it, which answers; Node leaves the connection open without a word.
    if (isReference) assert.equal(await Promise.race([first, new Promise((resolve) => setTimeout(resolve, 200, "open"))]), "open");
    else assert.match(await within(first), /^HTTP\/1\.1 404 /);
    socket.destroy();
  }));

  it("E053 M10 transports can be switched off", async () => {
    const polling = await Server.start({ transports: ["polling"] });
    assert.deepEqual((await open(polling)).upgrades, []);
    const answer = await raw(polling, upgradeRequest("/socket.io/?EIO=4&transport=websocket", "Connection: close\r\n").replace("Connection: Upgrade\r\n", "Connection: Upgrade, close\r\n"));
    assert.match(answer, /Transport unknown/);
    await polling.stop();
    const websocket = await Server.start({ transports: ["websocket"] });
    assert.equal((await get(websocket, HANDSHAKE)).body, refused(0, "Transport unknown"));
    await websocket.stop();
  });

  it("E052 allowUpgrades", withServer({ allowUpgrades: false }, {}, async (server) => {
    assert.deepEqual((await open(server)).upgrades, []);
  }));

  it("E061 headers", withServer({}, { headers: true }, async (server) => {
    const first = await get(server, HANDSHAKE);
    assert.deepEqual([first.headers["x-initial"], first.headers["x-each"]], ["1", "1"]);
    const path = `${HANDSHAKE}&sid=${JSON.parse(first.body.slice(1)).sid}`;
    const second = await post(server, path, "40");
    assert.deepEqual([second.headers["x-initial"], second.headers["x-each"]], [undefined, "1"]);
    const ws = new Ws(server);
    const headers = await within(ws.headers);
    assert.deepEqual([headers["x-initial"], headers["x-each"]], ["1", "1"]);
    ws.socket.terminate();
  }));

  it("E062 middleware", async () => {
    const header = await Server.start({}, { middleware: "header" });
    assert.equal((await get(header, HANDSHAKE)).headers["x-middleware"], "1");
    const ws = new Ws(header);
    assert.equal((await within(ws.headers))["x-middleware"], "1");
    ws.socket.terminate();
    await header.stop();
    const fail = await Server.start({}, { middleware: "fail" });
    assert.equal((await get(fail, HANDSHAKE)).body, refused(3, "Bad request"));
    assert.equal((await fail.fact("connection_error")).connection_error.context.name, "MIDDLEWARE_FAILURE");
    await fail.stop();
    const own = await Server.start({}, { middleware: "401" });
    const answer = await get(own, HANDSHAKE);
    assert.deepEqual([answer.status, answer.body], [401, "who are you?"]);
    await own.stop();
  });

  it("E056 E057 cookie", async () => {
    const plain = await Server.start({ cookie: true });
    const first = await get(plain, HANDSHAKE);
    const { sid } = JSON.parse(first.body.slice(1));
    assert.deepEqual(first.headers["set-cookie"], [`io=${sid}; Path=/; HttpOnly; SameSite=Lax`]);
    assert.equal((await post(plain, `${HANDSHAKE}&sid=${sid}`, "40")).headers["set-cookie"], undefined);
    await plain.stop();
    const own = await Server.start({ cookie: { name: "sid", path: "/x", sameSite: "strict", secure: true, maxAge: 60 } });
    const [cookie] = (await get(own, HANDSHAKE)).headers["set-cookie"];
    assert.match(cookie, /^sid=[\w-]{20}; Max-Age=60; Path=\/x; HttpOnly; Secure; SameSite=Strict$/);
    await own.stop();
  });

  it("E058 E059 M30 CORS", withServer({ cors: { origin: ["https://a", "https://b"], credentials: true } }, {}, async (server) => {
    const allowed = await get(server, HANDSHAKE, { origin: "https://b" });
    assert.equal(allowed.headers["access-control-allow-origin"], "https://b");
    assert.equal(allowed.headers["access-control-allow-credentials"], "true");
    assert.equal(allowed.headers.vary, "Origin");
    const other = await get(server, HANDSHAKE, { origin: "https://c" });
    assert.equal(other.headers["access-control-allow-origin"], undefined);
    const error = await get(server, `${HANDSHAKE}&sid=nope`, { origin: "https://a" });
    assert.deepEqual([error.status, error.headers["access-control-allow-origin"]], [400, "https://a"]);
    const preflight = await request(server, "OPTIONS", HANDSHAKE, {
      headers: { origin: "https://a", "access-control-request-method": "POST", "access-control-request-headers": "x-a" },
    });
    assert.equal(preflight.status, 204);
    // HTTP forbids a length where there is no content; the reference sends one.
    assert.equal(preflight.headers["content-length"], expected({ reference: "0", ours: undefined }));
    assert.equal(preflight.headers["access-control-allow-methods"], "GET,HEAD,PUT,PATCH,POST,DELETE");
    assert.equal(preflight.headers["access-control-allow-headers"], "x-a");
  }));
});

describe("CORS", { concurrency: true }, () => {
  // An option, an origin that asks, what is named as allowed, and whether the answer varies.
  const cases = [
    ["*", "https://a", "*", undefined],
    ["https://a", "https://b", "https://a", "Origin"],
    [true, "https://b", "https://b", "Origin"],
    [["https://a"], "https://b", undefined, "Origin"],
    [{ pattern: "\\.test$" }, "https://a.test", "https://a.test", "Origin"],
    [{ pattern: "\\.test$" }, "https://a.test.example", undefined, "Origin"],
    [{ ending: ".test" }, "https://a.test", "https://a.test", "Origin"],
    // The reference says nothing where its function refuses, so that a cache may show the refusal to others.
    [{ ending: ".test" }, "https://b", undefined, expected({ reference: undefined, ours: "Origin" })],
  ];
  for (const [option, origin, allowed, vary] of cases) {
    it(`E058 ${JSON.stringify(option)} for ${origin}`, withServer({ cors: { origin: option } }, {}, async (server) => {
      const { status, headers } = await get(server, HANDSHAKE, { origin });
      assert.deepEqual([status, headers["access-control-allow-origin"], headers.vary], [200, allowed, vary]);
      assert.equal(headers["access-control-allow-credentials"], undefined);
    }));
  }
});

describe("polling", { concurrency: true }, () => {
  it("E021-E025 packets go both ways", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    const posted = await post(server, path, "40");
    assert.deepEqual(
      [posted.status, posted.headers["content-type"], posted.headers["content-length"], posted.headers["cache-control"], posted.body],
      [200, "text/html", "2", "no-store", "ok"],
    );
    await get(server, path);
    const waiting = get(server, path);
    await post(server, path, '42["echo","é€🦀"]');
    assert.equal((await waiting).body, '42["echo","é€🦀"]');
    await post(server, path, '42["echo",1]\x1e42["echo",2]');
    const both = await get(server, path);
    assert.equal(both.body, '42["echo",1]\x1e42["echo",2]');
    assert.equal(both.headers["content-length"], String(Buffer.byteLength(both.body)));
    await post(server, path, '451-["echo",{"_placeholder":true,"num":0}]\x1ebAQIDBA==');
    assert.equal((await get(server, path)).body, '451-["echo",{"_placeholder":true,"num":0}]\x1ebAQIDBA==');
  }));

  it("E026 other methods", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    const answer = await request(server, "PUT", path);
    assert.deepEqual([answer.status, answer.body], [500, ""]);
  }));

  it("E027 a second GET", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    // Whichever comes second is refused; the one that waits learns that the session has ended.
    const both = await Promise.all([get(server, path), get(server, path)]);
    both.sort((a, b) => a.status - b.status);
    assert.deepEqual(both.map(({ status, body }) => [status, body]), [[200, "1"], [400, ""]]);
    assert.equal((await get(server, path)).body, refused(1, "Session ID unknown"));
    assert.equal((await server.fact("disconnect")).disconnect.reason, "transport error");
  }));

  it("E028 a second POST", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    const first = net.connect(server.port, "127.0.0.1");
    first.on("error", () => {});
    const ended = new Promise((resolve) => first.once("close", resolve));
    first.write(`POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n`);
    // From here on the server waits for its body.
    assert.match(String(await within(new Promise((resolve) => first.once("data", resolve)))), /^HTTP\/1\.1 100 /);
    const second = await post(server, path, "3");
    assert.deepEqual([second.status, second.body], [400, ""]);
    await within(ended, "the end of the first POST");
    assert.equal((await server.fact("disconnect")).disconnect.reason, "transport error");
    assert.equal((await get(server, path)).body, refused(1, "Session ID unknown"));
  }));

  it("E029 a POST that is dropped", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    const socket = net.connect(server.port, "127.0.0.1");
    socket.write(`POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n`);
    await within(new Promise((resolve) => socket.once("data", resolve)));
    socket.destroy();
    assert.equal((await server.fact("disconnect")).disconnect.reason, "transport error");
  }));

  it("E033 a body in chunks", withServer({ maxHttpBufferSize: 100 }, {}, async (server) => {
    const { path } = await open(server);
    const chunked = (body) =>
      raw(server, `POST ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n` +
        `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
    assert.match(await chunked("40"), /^HTTP\/1\.1 200 [^]*\r\n\r\nok$/);
    assert.match((await get(server, path)).body, /^40\{/);
    assert.match(await chunked("4".repeat(101)), /^HTTP\/1\.1 413 /);
    assert.equal((await get(server, path)).body, refused(1, "Session ID unknown"));
  }));

  it("E029 a GET that is dropped", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    const req = http.get({ port: server.port, host: "127.0.0.1", path, agent: false });
    req.on("error", () => {});
    await within(new Promise((resolve) => req.once("finish", resolve)));
    const witness = await Ws.connect(server);
    // Once the GET waits at the server it can be dropped.
    witness.send('42["emit to",[],[],"x",1]');
    await within(new Promise((resolve) => req.once("response", resolve)));
    const again = http.get({ port: server.port, host: "127.0.0.1", path, agent: false });
    again.on("error", () => {});
    await within(new Promise((resolve) => again.once("socket", (socket) => socket.once("connect", resolve))));
    again.destroy();
    const { disconnect } = await server.fact("disconnect");
    assert.equal(disconnect.reason, "transport error");
    witness.socket.terminate();
  }));

  it("E030 octets", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    const answer = await post(server, path, "x", { "content-type": "application/octet-stream" });
    assert.deepEqual([answer.status, answer.body], [400, ""]);
    assert.equal((await get(server, path)).body, refused(1, "Session ID unknown"));
  }));

  it("E031 E032 M50 the limit of a body", withServer({ maxHttpBufferSize: 100 }, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    const event = (length) => `42["echo","${"x".repeat(length - 13)}"]`;
    assert.equal((await post(server, path, event(100))).body, "ok");
    assert.equal((await get(server, path)).body, event(100));
    const above = await post(server, path, event(101));
    assert.deepEqual([above.status, above.body], [413, ""]);
    assert.equal((await server.fact("disconnect")).disconnect.reason, "transport error");
    assert.equal((await get(server, path)).body, refused(1, "Session ID unknown"));
  }));

  it("E024 base64 in lines, and bytes that are no UTF-8", withServer({}, {}, async (server) => {
    const session = await open(server);
    await post(server, session.path, "40");
    await get(server, session.path);
    const event = '451-["echo",{"_placeholder":true,"num":0}]';
    for (const text of ["AQID\n", "AQ\r\nID", "AQID=AQID", "AQIDA", "-_-_"]) {
      assert.equal((await post(server, session.path, `${event}\x1eb${text}`)).body, "ok");
      const bytes = Buffer.from(text, "base64").toString("base64");
      assert.equal((await get(server, session.path)).body, `${event}\x1eb${bytes}`);
    }
    await post(server, session.path, Buffer.from([...Buffer.from('42["echo","a'), 0xff, 0xc3, ...Buffer.from('"]')]));
    assert.equal((await get(server, session.path)).body, '42["echo","a\ufffd\ufffd"]');
  }));

  it("E035 E037 bad packets", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    assert.equal((await post(server, path, '42["drop me"]\x1eabc')).body, "ok");
    assert.equal((await server.fact("error")).error, "dropped");
    assert.equal((await server.fact("disconnect")).disconnect.reason, "parse error");
    assert.equal((await get(server, path)).body, refused(1, "Session ID unknown"));
  }));

  it("E038 the client says that it closes", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    await post(server, path, '1\x1e42["echo",1]');
    assert.equal((await server.fact("disconnect")).disconnect.reason, "transport close");
    assert.equal((await get(server, path)).body, refused(1, "Session ID unknown"));
  }));

  it("E054 the end waits for a GET", withServer({}, {}, async (server) => {
    const { path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    await post(server, path, '42["leave me",true]');
    const packets = [];
    while (packets.at(-1) !== "1") packets.push(...(await get(server, path)).body.split("\x1e"));
    assert.deepEqual(packets, ["41", "6", "1"]);
  }));
});

describe("WebSocket", { concurrency: true }, () => {
  it("E034 M50 the limit of a message", withServer({ maxHttpBufferSize: 100 }, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send("4".repeat(101));
    assert.equal(await ws.ended(), 1009);
    assert.equal((await server.fact("disconnect")).disconnect.reason, "transport error");
  }));

  it("E036 bad packets", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send("abc");
    assert.equal(await ws.ended(), 1005);
    assert.equal((await server.fact("disconnect")).disconnect.reason, "parse error");
  }));

  it("E041 a client's ping", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    ws.send("2");
    await ws.ended();
    assert.equal((await server.fact("disconnect")).disconnect.reason, "transport error");
  }));

  it("unexpected packets are ignored", withServer({}, {}, async (server) => {
    const ws = await Ws.connect(server);
    for (const packet of ["0", "1", "3", "5", "6"]) ws.send(packet);
    ws.send('42["echo",1]');
    assert.equal(await ws.next(), '42["echo",1]');
    ws.socket.terminate();
  }));

  it("E039 E040 M46 M47 heartbeat", withServer({ pingInterval: 50, pingTimeout: 500 }, {}, async (server) => {
    const ws = await Ws.connect(server);
    for (let i = 0; i < 3; i++) {
      assert.equal(await ws.next(), "2");
      ws.send("3");
    }
    assert.equal(await ws.next(), "2");
    assert.equal(await ws.ended(), 1005);
    assert.equal((await server.fact("disconnect")).disconnect.reason, "ping timeout");
  }));

  it("E071 E072 the engine closes all sessions", withServer({}, {}, async (server) => {
    const a = await Ws.connect(server);
    const b = await Ws.connect(server);
    const { path } = await open(server);
    a.send('421["count"]');
    assert.equal(await a.next(), "431[3]");
    await post(server, path, "40");
    await get(server, path);
    const waiting = get(server, path);
    // It waits at the server once this has made the way there and back.
    for (let i = 0; i < 3; i++) await get(server, "/app");
    b.send('42["close engine"]');
    assert.equal(await a.ended(), 1005);
    assert.match((await waiting).body, /1$/);
    assert.equal((await server.fact("disconnect")).disconnect.reason, "forced close");
    // The reference lets nobody in over WebSocket after this.
    if (isReference) return;
    const c = await Ws.connect(server);
    c.send('421["count"]');
    assert.equal(await c.next(), "431[1]");
    c.socket.terminate();
  }));
});

describe("upgrade", { concurrency: true }, () => {
  const probe = (server, sid) => Ws.open(server, `EIO=4&transport=websocket&sid=${sid}`);

  it("E044-E046 E047 E051 M52-M56 M59", withServer({}, {}, async (server) => {
    const { sid, path } = await open(server);
    await post(server, path, "40");
    await get(server, path);
    const ws = await probe(server, sid);
    const waiting = get(server, path);
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    assert.equal((await waiting).body, "6");
    await post(server, path, '42["echo",1]\x1e42["echo",2]');
    ws.send("5");
    assert.equal(await ws.next(), '42["echo",1]');
    assert.equal(await ws.next(), '42["echo",2]');
    assert.equal((await server.fact("upgrade")).upgrade, "websocket");
    const after = await get(server, path);
    assert.deepEqual([after.status, after.body], [400, refused(3, "Bad request")]);
    // E050: a further WebSocket is closed, the session lives.
    const late = await probe(server, sid);
    assert.equal(await late.ended(), 1005);
    ws.send('421["transport"]');
    assert.equal(await ws.next(), '431["websocket"]');
    ws.socket.terminate();
  }));

  it("E050 a second probe", withServer({}, {}, async (server) => {
    const { sid } = await open(server);
    const first = await probe(server, sid);
    first.send("2probe");
    assert.equal(await first.next(), "3probe");
    const second = await probe(server, sid);
    assert.equal(await second.ended(), 1005);
    first.send("5");
    first.send("40");
    assert.match(await first.next(), /^40/);
    first.socket.terminate();
  }));

  it("E049 a bad first packet", withServer({}, {}, async (server) => {
    const { sid, path } = await open(server);
    const ws = await probe(server, sid);
    ws.send("40");
    await ws.ended();
    assert.equal((await post(server, path, "40")).body, "ok");
  }));

  it("E048 upgradeTimeout", withServer({ upgradeTimeout: 50 }, {}, async (server) => {
    const { sid, path } = await open(server);
    const ws = await probe(server, sid);
    ws.send("2probe");
    await ws.ended();
    assert.equal((await post(server, path, "40")).body, "ok");
  }));

  it("the first subprotocol is answered, and what is no list is refused", withServer({}, {}, async (server) => {
    const { sid } = await open(server);
    for (const query of ["EIO=4&transport=websocket", `EIO=4&transport=websocket&sid=${sid}`]) {
      for (const protocols of [[], ["chat"], ["b", "a"]]) {
        const ws = new WebSocket(`ws://127.0.0.1:${server.port}/socket.io/?${query}`, protocols);
        await once(ws, "open");
        assert.equal(ws.protocol, protocols[0] ?? "");
        ws.terminate();
      }
      for (const lists of [[""], [","], ["a,"], [",a"], ["a,,b"], ["a b"], ["a/b"], ["a,a"], ["a", "a"], ["a", ""]]) {
        const lines = lists.map((list) => `Sec-WebSocket-Protocol: ${list}\r\n`).join("");
        const answer = await raw(server, upgradeRequest(`/socket.io/?${query}`, lines));
        assert.match(answer, /^HTTP\/1.1 400 [^]*Invalid Sec-WebSocket-Protocol header$/, lists.join("|"));
      }
    }
  }));

  it("an upgrade request that names polling is refused", withServer({}, {}, async (server) => {
    const query = "EIO=4&transport=polling";
    // The reference opens it, and closes it at once.
    if (isReference) return assert.equal(await (await Ws.open(server, query)).ended(), 1005);
    assert.match(await raw(server, upgradeRequest(`/socket.io/?${query}`)), /^HTTP\/1.1 400 /);
  }));

  it("E043 a ping that is due at the upgrade keeps its timeout", withServer({ pingInterval: 100, pingTimeout: 200 }, {}, async (server) => {
    const { sid, path } = await open(server);
    await post(server, path, "40");
    const ws = await probe(server, sid);
    ws.send("2probe");
    await ws.next();
    let body = "";
    while (!body.includes("2")) body = (await get(server, path)).body.replace(/40\{.*?\}/, "");
    ws.send("5");
    // The reference forgets the timeout: its session would never end.
    if (isReference) return ws.socket.terminate();
    assert.equal(await ws.ended(), 1005);
    assert.equal((await server.fact("disconnect")).disconnect.reason, "ping timeout");
  }));
});
