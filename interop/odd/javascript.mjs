// Runs cases with socket.io-client: one line of JSON each in, its verdict out.
import fs from "node:fs";
import readline from "node:readline";
import { HttpProxyAgent } from "http-proxy-agent";
import { HttpsProxyAgent } from "https-proxy-agent";
import proxies from "proxy-from-env";
import v4 from "socket.io-client";
import v2 from "socket.io-client-v2";
import { BYTES, TEXT } from "./server.mjs";

// What the client throws out of its callbacks ends its case by the deadline.
process.on("uncaughtException", () => {});
process.on("unhandledRejection", () => {});

/** What JavaScript's client is given in Node to go through a proxy: it knows none by itself. */
function agent({ url, proxy, env, forwards }, trust) {
  const at = env ? proxies.getProxyForUrl(url) : proxy;
  return at && (forwards ? new HttpProxyAgent(at, trust) : new HttpsProxyAgent(at, trust));
}

function options(order) {
  const { ca, cert, key, cookies } = order;
  const read = (file) => file && fs.readFileSync(file);
  const trust = { ca: read(ca), cert: read(cert), key: read(key) };
  const through = agent(order, trust);
  return { ...(ca && trust), ...(through && { agent: through }), withCredentials: cookies };
}

function run(order) {
  const { url, revision, transport, deadline } = order;
  return new Promise((resolve) => {
    const io = revision === 3 ? v2 : v4;
    const socket = io(url, {
      ...options(order), forceNew: true, reconnection: false, timeout: deadline,
      transports: transport === "both" ? ["polling", "websocket"] : [transport],
    });
    let why = "nothing came";
    const [news, acks] = [[], []];
    const done = (verdict) => {
      clearTimeout(timer);
      clearInterval(waiting);
      // Closing tells more, which is not the verdict.
      resolve(verdict);
      socket.close();
    };
    const timer = setTimeout(() => done(`fails: ${why}`), deadline);
    let waiting;
    const look = () => {
      if (acks.length < 3 || news.length < 3 || waiting) return;
      const bytes = Buffer.from(news[2]);
      if (news[0] !== 1 || news[1] !== TEXT || !BYTES.equals(bytes) || acks.join() !== "1,2,3") return done("fails: wrong news");
      const until = Date.now() + (transport === "both" ? 1500 : 0);
      waiting = setInterval(() => {
        const name = socket.io.engine?.transport?.name;
        if (!socket.connected) done("fails: lost");
        else if (name === "websocket" || Date.now() >= until) done(`delivers over ${name}`);
      }, 10);
    };
    socket.on("connect_error", (error) => done(`fails: ${error.message ?? error}`));
    socket.on("error", (error) => done(`fails: ${error.message ?? error}`));
    socket.on("disconnect", (reason) => done(`fails: ${reason}`));
    socket.on("news", (value) => {
      news.push(value);
      look();
    });
    socket.on("connect", () => {
      why = "connected";
      const echo = (n) => socket.emit("echo", n, (answer) => {
        acks.push(answer);
        if (n < 3) echo(n + 1);
        look();
      });
      echo(1);
    });
  });
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  Promise.resolve(order).then(run).catch((error) => `fails: ${error.message}`).then((verdict) => console.log(JSON.stringify({ id: order.id, verdict })));
}
