// Servers that set cookies in odd ways. Behind most of them the server is one of several: what lacks the
// cookie that leads to it does not know the session.
import { LINES, hooks, random } from "./oddities.mjs";
import { start } from "./server.mjs";

const latin1 = (text) => Buffer.from(text).toString("latin1");
const many = (count, value = "x") => Array.from({ length: count }, (_, n) => `Set-Cookie: c${n}=${value}`);
const DAY = 86_400_000;
const http = (ms) => new Date(Date.now() + ms).toUTCString();

/** `Set-Cookie` lines of each answer, and what has to come back, if something has. */
const set = (lines, wants) => ({ lines: [lines].flat(), wants });
const one = (text, wants = "route=a") => set(`Set-Cookie: ${text}`, wants);

const COOKIES = {
  "a cookie": one("route=a"),
  "with a path": one("route=a; Path=/"),
  "as load balancers set it": one("route=a; Path=/; HttpOnly; SameSite=Lax"),
  "with all attributes": one(`route=a; Path=/; Max-Age=600; Expires=${http(DAY)}; HttpOnly; SameSite=None; Partitioned; Priority=High`),
  "attributes in capitals": one("route=a; PATH=/; MAX-AGE=600; HTTPONLY"),
  "attributes in lower case": one("route=a; path=/; max-age=600; httponly"),
  "no space behind semicolons": one("route=a;Path=/;HttpOnly"),
  "spaces everywhere": one("  route  =  a  ;  Path = / ; HttpOnly  "),
  "semicolons without anything": one("route=a;;; Path=/;"),
  "unknown attributes": one("route=a; Path=/; Colour=red; 5; =; ==x"),
  "an attribute twice": one("route=a; Path=/elsewhere; Path=/"),
  "a tab": one("route=a;\tPath=/"),
  "a header in lower case": set("set-cookie: route=a; Path=/", "route=a"),
  "a header in capitals": set("SET-COOKIE: route=a; Path=/", "route=a"),
  "a header without a space": set("Set-Cookie:route=a; Path=/", "route=a"),
  "a folded header": set("Set-Cookie: route=a;\r\n Path=/", "route=a"),
  "Set-Cookie2": set(["Set-Cookie2: other=b", "Set-Cookie: route=a"], "route=a"),
  "a dollar": one("$Version=1; route=a", null),
  "a name with a dollar": one("$route=a", "$route=a"),
  "a name with dots and dashes": one("__Host-route.1-2=a; Path=/", "__Host-route.1-2=a"),
  "a value with equals signs": one("route=a=b==; Path=/", "route=a=b=="),
  "a value of base64": one("route=YWJj+/YQ==; Path=/", "route=YWJj+/YQ=="),
  "a value with commas": one("route=a,b,c; Path=/", "route=a,b,c"),
  "a value with spaces": one("route=a b  c; Path=/", "route=a b  c"),
  "a value with quotes within": one('route=a"b"c; Path=/', 'route=a"b"c'),
  "a value in quotes": one('route="a"; Path=/'),
  "a value in quotes, to come back": one('route="a"; Path=/', 'route="a"'),
  "a quote that does not end": one('route="a; Path=/', null),
  "a value of JSON": one('route={"a":[1,2]}; Path=/', 'route={"a":[1,2]}'),
  "a value with percent": one("route=%e2%82%ac%0d%0a; Path=/", "route=%e2%82%ac%0d%0a"),
  "a value with a backslash": one("route=a\\b; Path=/", "route=a\\b"),
  "an empty value": one("route=; Path=/", "route="),
  "no value": one("route", null),
  "no name": one("=a", null),
  "nothing": one("", null),
  "latin-1": one("route=\xe9; Path=/", null),
  "latin-1, to come back": one("route=\xe9; Path=/", "route=\xe9"),
  "UTF-8": one(`route=${latin1("é€😀")}; Path=/`, null),
  "UTF-8, to come back": one(`route=${latin1("é€😀")}; Path=/`, `route=${latin1("é€😀")}`),
  "a name beyond ASCII": one(`${latin1("é")}=a; Path=/`, null),
  "a control character": one("route=a\x01b; Path=/", null),
  "DEL": one("route=a\x7fb; Path=/", null),
  "NUL": one("route=a\x00b; Path=/", null),
  "twice the same": set(["Set-Cookie: route=a", "Set-Cookie: route=a"], "route=a"),
  "twice, and the last one counts": set(["Set-Cookie: route=b", "Set-Cookie: route=a"], "route=a"),
  "twice with other paths": set(["Set-Cookie: route=b; Path=/elsewhere", "Set-Cookie: route=a; Path=/"], "route=a"),
  "set, taken back and set": set(["Set-Cookie: route=b", "Set-Cookie: route=; Max-Age=0", "Set-Cookie: route=a"], "route=a"),
  "several on one line": one("other=b, route=a", null),
  "another one that was taken back": set(["Set-Cookie: other=; Max-Age=0", "Set-Cookie: route=a"], "route=a"),
  "another one that has expired": set(["Set-Cookie: other=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "Set-Cookie: route=a"], "route=a"),
  "expires tomorrow": one(`route=a; Expires=${http(DAY)}`),
  "expires tomorrow, with dashes": one(`route=a; Expires=${http(DAY).replace(/(\d\d) (\w+) (\d+)/, "$1-$2-$3")}`),
  "expires in two digits": one(`route=a; Expires=${http(DAY).replace(/(\d\d) (\w+) \d\d(\d\d)/, "$1-$2-$3")}`),
  "expires as asctime": one("route=a; Expires=Fri Dec 31 23:59:59 2038"),
  "expires in the year 9999": one("route=a; Expires=Fri, 31 Dec 9999 23:59:59 GMT"),
  "expires in 2038 and later": one("route=a; Expires=Tue, 19 Jan 2038 03:14:08 GMT"),
  "expires without a zone": one(`route=a; Expires=${http(DAY).replace(" GMT", "")}`),
  "expires as ISO 8601": one(`route=a; Expires=${new Date(Date.now() + DAY).toISOString()}`, null),
  "expires soon, it says": one("route=a; Expires=soon", null),
  "expires soon, it says, and has to come back": one("route=a; Expires=soon", "route=a"),
  "an empty Expires": one("route=a; Expires=", null),
  "Max-Age beats Expires": one("route=a; Max-Age=600; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
  "Expires behind Max-Age, and tomorrow": one(`route=a; Expires=${http(DAY)}; Max-Age=600`),
  "Max-Age of text": one("route=a; Max-Age=abc", null),
  "Max-Age with a unit": one("route=a; Max-Age=600s", "route=a"),
  "Max-Age in quotes": one('route=a; Max-Age="600"', null),
  "Max-Age with a fraction": one("route=a; Max-Age=600.5", "route=a"),
  "Max-Age without an end": one("route=a; Max-Age=99999999999999999999", null),
  "Max-Age of years": one("route=a; Max-Age=3155760000", "route=a"),
  "the path of the requests": one("route=a; Path=/socket.io"),
  "the path of the requests with a slash": one("route=a; Path=/socket.io/"),
  "an empty path": one("route=a; Path="),
  "a path that is none": one("route=a; Path=socket.io"),
  "a path in quotes": one('route=a; Path="/"'),
  "another path": one("route=a; Path=/elsewhere", null),
  "another path, and has to come back": one("route=a; Path=/elsewhere"),
  "a path that begins like that of the requests": one("route=a; Path=/socket", null),
  "a path in capitals": one("route=a; Path=/SOCKET.IO", null),
  "the domain": one("route=a; Domain=127.0.0.1; Path=/"),
  "the domain with a dot before it": one("route=a; Domain=.127.0.0.1; Path=/"),
  "an empty domain": one("route=a; Domain=; Path=/"),
  "another domain": one("route=a; Domain=example.com; Path=/", null),
  "another domain, and has to come back": one("route=a; Domain=example.com; Path=/"),
  "a domain of all": one("route=a; Domain=com", null),
  "Secure": one("route=a; Secure; Path=/", null),
  "Secure, and has to come back": one("route=a; Secure; Path=/"),
  "Secure, with a value": one("route=a; Secure=false; Path=/", null),
  "twenty": set([...many(20), "Set-Cookie: route=a"], "route=a"),
  "twenty, and first the one that matters": set(["Set-Cookie: route=a", ...many(20)], "route=a"),
  "a hundred": set([...many(100), "Set-Cookie: route=a"], "route=a"),
  "two hundred": set([...many(200), "Set-Cookie: route=a"], "route=a"),
  "two hundred, and first the one that matters": set(["Set-Cookie: route=a", ...many(200)], "route=a"),
  "a large one": one(`route=a${"b".repeat(3000)}`, `route=a${"b".repeat(3000)}`),
  "one of 4,000 bytes": one(`route=a${"b".repeat(3990)}`, `route=a${"b".repeat(3990)}`),
  "one of 6,000 bytes": set([`Set-Cookie: large=${"b".repeat(6000)}`, "Set-Cookie: route=a"], "route=a"),
  "one of 6,000 bytes, and has to come back": one(`route=a${"b".repeat(6000)}`, `route=a${"b".repeat(6000)}`),
  "10,000 bytes in all": set([...many(5, "y".repeat(2000)), "Set-Cookie: route=a"], "route=a"),
  "10,000 bytes in all, and first the one that matters": set(["Set-Cookie: route=a", ...many(5, "y".repeat(2000))], "route=a"),
  "30,000 bytes in all": set([...many(20, "y".repeat(1500)), "Set-Cookie: route=a"], "route=a"),
};

/** What comes with it. */
const WAYS = {
  "another value with each answer": { changes: true },
  "with the first answer alone": { once: true },
  "beside lines of the application": { lines: ["Server: odd", "X-Powered-By: nothing", "Vary: Cookie"] },
};

export const ODDITIES = [...Object.keys(COOKIES), ...Object.keys(WAYS)];

/** Case `index` of a seed. */
export function generate(seed, index) {
  const next = random(seed * 1000003 + 900001 + index);
  const pick = (all) => all[Math.floor(next() * all.length)];
  const [revision, transport] = [pick([3, 4, 4]), pick(["polling", "polling", "both"])];
  const names = [pick(Object.keys(COOKIES))];
  if (next() < 0.3) names.push(pick(Object.keys(WAYS)));
  else if (next() < 0.2) names.push(pick(Object.keys(LINES)));
  const { lines, wants } = COOKIES[names[0]];
  const way = WAYS[names[1]] ?? { lines: LINES[names[1]] ? [LINES[names[1]]] : [] };
  let answers = 0;
  const add = (headers, isFirst) => {
    headers.push(...(way.lines ?? []));
    if (way.once && !isFirst) return;
    headers.push(...lines);
    if (way.changes) headers.push(`Set-Cookie: turn=${answers++}`);
  };
  const cookies = {
    answer: (a) => void add(a.headers, a.kind === "open"),
    handshake: (h) => void add(h.headers, false),
  };
  const odd = hooks(revision, transport, [[names.join(" + "), "", cookies]]);
  // The client of Socket.IO 2 keeps none.
  if (wants && revision === 4) odd.lets = (headers) => `; ${headers.cookie};`.includes(`; ${wants};`);
  return { ...odd, names, cookies: true };
}

export { start };
