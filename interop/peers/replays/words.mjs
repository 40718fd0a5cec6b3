// What the scripts of all makes have in common.
const open = (upgrades) => `0{"sid":"*","upgrades":${upgrades},"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`;

/** The open packet over polling, and over a WebSocket. */
export const OPEN = open('["websocket"]');
export const OPEN_SOCKET = open("[]");

/** The answer to CONNECT of revision 4. */
export const joined = (namespace = "/") => `40${namespace === "/" ? "" : `${namespace},`}{"sid":"*"}`;

/** Characters of one, two and three bytes, and two that are surrogate pairs. */
export const TEXT = "grüße 😀𝒳 \u2028 ключ";

export const bytes = (...all) => Buffer.from(all);

/** Answers of two that know nothing of each other. */
export const inAnyOrder = (step) => ({ ...step, inAnyOrder: true });

/** An event or an ack with so many attachments. */
export const withBytes = (start, count) => {
  const places = Array.from({ length: count }, (_, num) => `{"_placeholder":true,"num":${num}}`);
  return `${start}${places.join()}]`;
};

export const left = (is = "client namespace disconnect", namespace) => ({ fact: "disconnect", is, namespace });
export const UPGRADED = { fact: "upgrade" };

/** A message as fragments of that size, which may end within a character. */
export function fragments(message, size) {
  const all = Buffer.from(message);
  const parts = [];
  for (let at = 0; at < all.length; at += size) parts.push(all.subarray(at, at + size));
  return typeof message === "string" ? parts.map((text) => ({ text })) : parts;
}

const refusal = (code, message) => ({ status: 400, body: JSON.stringify({ code, message }) });
export const UNSUPPORTED = refusal(5, "Unsupported protocol version");
export const BAD_REQUEST = refusal(3, "Bad request");
export const UNKNOWN = refusal(1, "Session ID unknown");

/** The same where a WebSocket was asked for. */
export const refusedUpgrade = ({ status, body }) => ({ status, body: JSON.parse(body).message });
