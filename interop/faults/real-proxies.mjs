// nginx, Apache, HAProxy, Caddy and Traefik in front of two servers: with the configuration that docs/proxies.md explains, and with one that
// lacks a line of it. They run as nobody if we are root.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { first, HOST, noOurs, ours, reference, setup, sparePort } from "./parts.mjs";
import { noServe, quiet, routed } from "./healthy.mjs";
import { lively } from "./servers.mjs";
import { all, attempt, connects, fails, isThrownOut, losesSessions, staysOnPolling } from "./symptoms.mjs";

const NOBODY = 65_534;
const asRoot = process.getuid() === 0;
const unprivileged = asRoot ? { uid: NOBODY, gid: NOBODY } : {};
const program = (name) => first(...["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/opt/homebrew/bin"].map((path) => join(path, name)));

/** How each is run with a template of docs/proxies, in a directory of its own. */
const kinds = {
  nginx: {
    program: program("nginx"),
    around: (conf, directory) =>
      `daemon off; pid ${directory}/pid; error_log stderr; events {}\nhttp {\naccess_log off;\n` +
      ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${directory}/${kind};\n`).join("") +
      `${conf}}\n`,
    args: (file, directory) => ["-p", directory, "-e", "stderr", "-c", file],
  },
  apache: {
    program: program("apache2"),
    around: (conf, directory) => {
      const modules = "/usr/lib/apache2/modules";
      const names = ["mpm_event", "authz_core", "headers", "slotmem_shm", "proxy", "proxy_http", "proxy_balancer", "lbmethod_byrequests"];
      const load = names.map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so\n`).join("");
      return `${load}ServerName localhost\nServerRoot ${directory}\nDefaultRuntimeDir ${directory}\nPidFile ${directory}/pid\nErrorLog ${directory}/error.log\n${conf}`;
    },
    args: (file) => ["-f", file, "-D", "FOREGROUND"],
  },
  haproxy: { program: program("haproxy"), around: (conf) => conf, args: (file) => ["-db", "-f", file] },
  caddy: {
    program: program("caddy"),
    around: (conf) => `{\n\tadmin off\n}\n${conf}`,
    args: (file) => ["run", "--adapter", "caddyfile", "--config", file],
  },
  traefik: {
    program: first(process.env.SIO_TRAEFIK, new URL(".venv/bin/traefik", import.meta.url).pathname) ?? program("traefik"),
    template: "traefik.yml",
    around: (conf) => conf,
    args: (file, _, listen) => [
      `--entrypoints.web.address=${HOST}:${listen}`,
      `--providers.file.filename=${file}`,
      "--global.checknewversion=false",
      "--global.sendanonymoususage=false",
    ],
  },
};

/** Takes the change from the correct lines, which must be there. */
function changed(conf, changes) {
  for (const [line, instead] of changes) {
    assert.ok(conf.includes(line), `the configuration has no ${line}`);
    conf = conf.split("\n").flatMap((text) => (text.includes(line) ? (instead === undefined ? [] : text.replace(line, instead)) : text)).join("\n");
  }
  return conf;
}

/** Runs a proxy with a configuration that has this port, on a directory of its own. */
export async function run(lab, kind, conf, listen) {
  const { program, around, args } = kinds[kind];
  const directory = mkdtempSync(join(tmpdir(), "sio-lab-"));
  if (asRoot) chownSync(directory, NOBODY, NOBODY);
  // Traefik goes by the end of a name, and takes its own name for something else.
  const file = join(directory, kind === "traefik" ? "conf.yml" : "conf");
  writeFileSync(file, `${around(conf, directory)}\n`);
  lab.atEnd(() => rmSync(directory, { recursive: true, force: true }));
  const child = lab.spawn(program, args(file, directory, listen), {
    ...unprivileged,
    cwd: directory,
    detached: true,
    // Caddy keeps things at home.
    env: { PATH: process.env.PATH, HOME: directory },
  });
  await lab.accepting(child, listen);
  const url = `http://${HOST}:${listen}`;
  // Traefik listens before it has read its routes.
  while (kind === "traefik" && (await fetch(`${url}/socket.io/`)).status === 404);
  return url;
}

/** A proxy with a template in which lines are replaced, or left out where nothing stands instead. */
export const behind = (kind, changes = [], { options = {}, nodes, file = kinds[kind].template ?? `${kind}.conf` } = {}) => async (lab) => {
  const ports = nodes ? await nodes(lab, options) : [await reference(lab, options), await reference(lab, options)];
  const listen = await sparePort();
  const template = readFileSync(new URL(`../../docs/proxies/${file}`, import.meta.url), "utf8");
  // The first line, a comment, names the placeholders.
  const conf = ports.reduce((conf, port, i) => conf.replaceAll(`:NODE_${i + 1}`, `:${port}`), changed(template, changes).replaceAll(":LISTEN", `:${listen}`));
  return run(lab, kind, conf, listen);
};

export const absent = (kind) => {
  const { program } = kinds[kind];
  if (!program) return `${kind} is not installed: run interop/faults/setup`;
  return spawnSync(program, [["caddy", "traefik"].includes(kind) ? "version" : "-v"]).error ? `${program} does not run` : undefined;
};

/** Two of this project's servers. */
const two = { needs: noOurs, nodes: async (lab, options) => [await ours(lab, options), await ours(lab, options)], options: lively };

/** The set-ups of one proxy; a fault's twin is the correct configuration. */
const of = (kind, correct, faults) => {
  const missing = (needs = () => undefined) => () => absent(kind) ?? needs();
  const name = (suffix) => (suffix ? `${kind}-${suffix}` : kind);
  return [
    ...correct.map(({ suffix, options, nodes, needs, ...rest }) => setup(name(suffix), { missing: missing(needs), start: behind(kind, [], { options, nodes }), ...rest })),
    ...faults.map(({ suffix, changes, options, nodes, needs, twin, ...rest }) =>
      setup(name(suffix), { missing: missing(needs), twin: name(twin), start: behind(kind, changes, { options, nodes }), ...rest }),
    ),
  ];
};

/** Three servers that route, behind a proxy that gives each request to the next one. */
const routing = (kind) => {
  const behindIt = behind(kind, [], { file: `${kind}-round-robin.conf`, nodes: (lab) => routed(lab, 3) });
  return setup(`${kind}-routing`, { missing: () => noServe() ?? absent(kind), start: behindIt, sees: all(quiet(), quiet({ transports: ["polling"], over: "polling" })) });
};
const payload = { suffix: "payload", arguments: ["--payload"] };
const alive = { suffix: "lively", options: lively };
const down = { suffix: "nodes-down", nodes: async () => [await sparePort(), await sparePort()], expect: ["D06"], not: ["D12"] };
const lost = { expect: ["D10"], may: ["D13"], not: ["D12"], sees: losesSessions };
const polling = { expect: ["D12"], may: ["D13"], not: ["D10"], sees: staysOnPolling() };
const late = { options: lively, twin: "lively", expect: ["D14"], may: ["D16", "D17"], not: ["D10", "D12"] };
const thrownOut = isThrownOut("transport error", { transports: ["polling"] });
const tooLarge = async (url) => {
  const { socket, error } = await attempt(url, { transports: ["polling"] });
  assert.equal(error, undefined);
  const lost = new Promise((resolve) => socket.on("disconnect", (reason, details) => resolve([reason, details.description])));
  socket.emit("ask", "x".repeat(100_000));
  assert.deepEqual(await lost, ["transport error", 413]);
};

// The cookie of Apache is the only thing that ties a client to a node, so that a client must keep it.
// Who keeps no cookies is warned, rightly.
const jar = { arguments: ["--origin", "{origin}"], may: ["D10", "D25"], sees: connects({ withCredentials: true }) };

export const realProxies = [
  routing("nginx"),
  routing("haproxy"),
  ...of("nginx", [{}, payload, alive, { suffix: "ours", ...two, sees: connects({ ask: false }) }], [
    { suffix: "no-upgrade", changes: [["proxy_set_header Upgrade"], ["proxy_set_header Connection"]], ...polling },
    { suffix: "connection-close", changes: [["$connection_upgrade;", "close;"]], ...polling },
    { suffix: "http10", changes: [["proxy_http_version 1.1", "proxy_http_version 1.0"], ["proxy_set_header Connection"]], ...polling },
    { suffix: "no-stickiness", changes: [["hash $remote_addr"]], ...lost },
    // When the one server has been silent for too long, nginx asks the other, which does not know the session: code 1 is the
    // symptom and stickiness is not the cause.
    { suffix: "read-timeout", changes: [["proxy_read_timeout 60s", "proxy_read_timeout 700ms"]], sees: thrownOut, ...late },
    { suffix: "ours-read-timeout", changes: [["proxy_read_timeout 60s", "proxy_read_timeout 700ms"]], sees: thrownOut, ...late, ...two, twin: "ours" },
    {
      suffix: "body-capped",
      twin: "payload",
      arguments: ["--payload"],
      changes: [["client_max_body_size 1m", "client_max_body_size 64k"]],
      expect: ["D18"],
      sees: tooLarge,
    },
    {
      suffix: "path-stripped",
      changes: [["proxy_pass http://socketio;", "proxy_pass http://socketio/;"]],
      expect: ["D06"],
      may: ["D07"],
      not: ["D12"],
      sees: fails("xhr poll error", { status: 404 }),
    },
    { ...down, sees: fails("xhr poll error", { status: 502, body: /502 Bad Gateway/ }) },
  ]),
  ...of("apache", [jar, { ...alive, ...jar }, { suffix: "ours", ...two, ...jar, sees: connects({ ask: false, withCredentials: true }) }], [
    { suffix: "cookie-not-kept", expect: ["D10"], not: ["D12"], sees: losesSessions },
    { suffix: "no-upgrade", changes: [["route=1 upgrade=websocket", "route=1"], ["route=2 upgrade=websocket", "route=2"]], ...polling, ...jar, not: [], may: ["D10", "D13", "D25"], sees: staysOnPolling({ withCredentials: true }) },
    { suffix: "no-stickiness", changes: [["stickysession"]], ...lost },
    { suffix: "read-timeout", changes: [["ProxyTimeout 60", "ProxyTimeout 1"]], ...late, ...jar, not: ["D12"], may: ["D10", "D16", "D17", "D25"], sees: isThrownOut("transport error", { transports: ["polling"], withCredentials: true }) },
    {
      suffix: "ours-read-timeout",
      changes: [["ProxyTimeout 60", "ProxyTimeout 1"]],
      ...late,
      ...jar,
      ...two,
      twin: "ours",
      not: ["D12"],
      may: ["D10", "D16", "D17", "D25"],
      sees: isThrownOut("transport error", { transports: ["polling"], withCredentials: true }),
    },
    { ...down, sees: fails("xhr poll error", { status: 503, body: /503 Service Unavailable/ }) },
  ]),
  ...of("haproxy", [{}, alive], [
    { suffix: "no-stickiness", changes: [["balance source", "balance roundrobin"], ["cookie SERVERID"], [" cookie 1 check", " check"], [" cookie 2 check", " check"]], ...lost },
    { suffix: "cookie-only", changes: [["balance source", "balance roundrobin"]], ...lost },
    { suffix: "read-timeout", changes: [["timeout server 60s", "timeout server 700ms"]], sees: thrownOut, ...late },
    {
      suffix: "tunnel-timeout",
      changes: [["timeout tunnel 1h", "timeout tunnel 700ms"]],
      options: lively,
      twin: "lively",
      expect: ["D16"],
      may: ["D17"],
      not: ["D12", "D14"],
      sees: isThrownOut("transport close", { transports: ["websocket"] }),
    },
    // It tries for three seconds.
    { ...down, sees: fails("xhr poll error", { timeout: 6_000, status: 503, body: /503 Service Unavailable/ }) },
  ]),
  ...of("caddy", [{}, payload, alive], [
    { suffix: "no-stickiness", changes: [["lb_policy"]], ...lost },
    { suffix: "read-timeout", changes: [["response_header_timeout 60s", "response_header_timeout 700ms"]], sees: thrownOut, ...late },
    {
      suffix: "path-stripped",
      changes: [["handle /socket.io/*", "handle_path /socket.io/*"]],
      expect: ["D06"],
      may: ["D07"],
      not: ["D12"],
      sees: fails("xhr poll error", { status: 404 }),
    },
    // Its answer has no body.
    { ...down, sees: fails("xhr poll error", { status: 502, body: /^$/ }) },
  ]),
  ...of("traefik", [jar, { ...alive, ...jar }], [
    { suffix: "cookie-not-kept", expect: ["D10"], not: ["D12"], sees: losesSessions },
    { suffix: "no-stickiness", changes: [["sticky:"], ["cookie:"], ["name: SIO"], ["httpOnly"]], ...lost },
    { suffix: "read-timeout", changes: [["responseHeaderTimeout: 60s", "responseHeaderTimeout: 700ms"]], ...late, ...jar, not: ["D12"], may: ["D10", "D16", "D17", "D25"], sees: isThrownOut("transport error", { transports: ["polling"], withCredentials: true }) },
    { ...down, sees: fails("xhr poll error", { status: 502, body: /^Bad Gateway$/ }) },
  ]),
];
