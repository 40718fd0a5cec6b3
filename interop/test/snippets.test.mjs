// The lines that `sio doctor --explain` prints for proxies work: each real proxy gets them as they are, with other addresses.
// ingress-nginx and AWS are not here.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { HOST, Lab, reference, sparePort } from "../faults/parts.mjs";
import { absent, run } from "../faults/real-proxies.mjs";
import { connects } from "../faults/symptoms.mjs";
import { isReference } from "../harness.mjs";

const built = isReference
  ? new URL("../../target/release/sio", import.meta.url).pathname
  : join(dirname(dirname(process.env.SIO_SERVER)), "sio");
const sio = process.env.SIO_BIN ?? built;
const skip = isReference || !existsSync(sio) ? "there is no sio here" : false;

const lines = (id, tool) => {
  const told = JSON.parse(execFileSync(sio, ["doctor", "--explain", id, "--json"], { encoding: "utf8" }));
  return told.fixes[0].snippets[tool];
};

/** A busy machine takes its time. */
const SLOW = 5_000;

/** Where the lines belong. */
const whole = {
  nginx: {
    "all of them": (port, { pass, stick, wait }) => `${stick}\nserver {\nlisten ${HOST}:${port};\n${wait}\n${pass}\n}\n`,
  },
  apache: {
    "those that pass WebSocket on": (port, { pass }) => `Listen ${HOST}:${port}\n${pass}\n`,
    "those for stickiness": (port, { stick, wait }) => `Listen ${HOST}:${port}\n${stick}\n${wait}\n`,
  },
  haproxy: {
    "all of them": (port, { pass, stick, wait }) =>
      `defaults\ntimeout connect 5s\n${wait}\n${pass.replace("mode http", `mode http\n  bind ${HOST}:${port}`)}\n${stick}\n`,
  },
  caddy: {
    "those that pass WebSocket on": (port, { pass }) => `http://${HOST}:${port} {\n${pass}\n}\n`,
    "those for stickiness": (port, { stick }) => `http://${HOST}:${port} {\n${stick}\n}\n`,
    "those that wait": (port, { wait }) => `http://${HOST}:${port} {\n${wait}\n}\n`,
  },
  traefik: {
    "those that pass WebSocket on": (_, { pass }) => pass,
    "those for stickiness": (_, { pass, stick }) => pass.replace(/ {2}services:[^]*/, stick.replace("http:\n", "")),
    "those that wait": (_, { pass, wait }) => pass.replace(/ {2}services:[^]*/, wait.replace("http:\n", "")),
  },
};
const names = { nginx: "nginx", apache: "Apache", haproxy: "HAProxy", caddy: "Caddy", traefik: "Traefik" };

/** What the doctor shows of a proxy without stickiness. */
const shown = async (kind, compose) => {
  const lab = new Lab();
  try {
    const [one, two] = [await reference(lab), await reference(lab)];
    const listen = await sparePort();
    const url = await run(lab, kind, compose(listen, one, two), listen);
    const child = lab.spawn(sio, ["doctor", url, "--json"]);
    await child.failed.catch(() => {});
    const { findings } = JSON.parse(child.printed);
    return findings.filter(({ id }) => id === "D10").map(({ fix }) => Object.keys(fix.snippets));
  } finally {
    await lab.stop();
  }
};

describe("the lines to paste", { skip, concurrency: 2 }, () => {
  for (const [kind, ways] of Object.entries(whole)) {
    for (const [what, compose] of Object.entries(ways)) {
      it(`${names[kind]}: ${what}`, { skip: absent(kind) }, async () => {
        const [pass, stick, wait] = ["D12", "D10", "D14"].map((id) => lines(id, names[kind]));
        const lab = new Lab();
        try {
          const [one, two] = [await reference(lab), await reference(lab)];
          const listen = await sparePort();
          const conf = compose(listen, { pass, stick, wait }).replaceAll("10.0.0.1:3000", `${HOST}:${one}`).replaceAll("10.0.0.2:3000", `${HOST}:${two}`);
          assert.doesNotMatch(conf, /undefined|10\.0\.0/);
          const url = await run(lab, kind, conf, listen);
          // The stickiness of Apache and Traefik is a cookie.
          await connects({ withCredentials: true, timeout: SLOW })(url);
          const polling = connects({ withCredentials: true, timeout: SLOW, transports: ["polling"], over: "polling" });
          await Promise.all(Array.from({ length: 8 }, () => polling(url)));
        } finally {
          await lab.stop();
        }
      });
    }
  }

  it("a report shows only those for the proxy that gives itself away", { skip: absent("nginx") ?? absent("caddy") }, async () => {
    const nginx = (port, one, two) =>
      `upstream nodes { server ${HOST}:${one}; server ${HOST}:${two}; }\nserver { listen ${HOST}:${port}; location / { proxy_pass http://nodes; ` +
      `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"; } }\n`;
    const caddy = (port, one, two) => `http://${HOST}:${port} {\nreverse_proxy ${HOST}:${one} ${HOST}:${two}\n}\n`;
    assert.deepEqual([await shown("nginx", nginx), await shown("caddy", caddy)], [[["nginx"]], [["Caddy"]]]);
  });
});
