// What steps send, packet by packet.
import { decode } from "notepack.io";
import { bytes } from "./wire.mjs";

/**
 * The packets of Socket.IO in a step, `{type, nsp, data}` (`data` with MessagePack alone); `{}` for what is none. Types 5
 * and 6 are 2 and 3.
 */
export function messages(step, { msgpack }) {
  if (step.do === "frame") return step.op === 2 ? (msgpack ? [unpacked(bytes(step.data))] : [{}]) : [message(String(step.data), msgpack)];
  const body = step.body ?? "";
  if (typeof body !== "string" && !body.hex) return [{}];
  const text = typeof body === "string" ? unwrapped(body) : Buffer.from(body.hex, "hex").toString("latin1");
  return split(text, /EIO=4/.test(step.target ?? "")).map((packet) => message(packet, msgpack));
}

/** What a form of JSONP carries. */
function unwrapped(body) {
  try {
    return body.startsWith("d=") ? decodeURIComponent(body.slice(2)) : body;
  } catch {
    return body;
  }
}

function split(text, isNew) {
  if (isNew) return text.split("\x1e");
  // Text with its length, or bytes of which each has a type, a length and 255.
  if (/^[\0\x01]/.test(text)) return text.split(/[\0\x01][\0-\x09]+\xff/).slice(1);
  const packets = [];
  for (let rest = text, head; (head = /^(\d+):/.exec(rest)); ) {
    const end = head[0].length + Number(head[1]);
    packets.push(rest.slice(head[0].length, end));
    rest = rest.slice(end);
  }
  return packets;
}

function message(packet, msgpack) {
  if (packet.startsWith("b")) return msgpack ? unpacked(Buffer.from(packet.slice(1), "base64")) : {};
  const found = /^4([0-6])(?:\d+-)?(\/[^,]*)?/.exec(packet);
  if (!found || msgpack) return {};
  const type = Number(found[1]);
  return { type: type > 4 ? type - 3 : type, nsp: (found[2] ?? "/").replace(/[?#].*/, "") };
}

function unpacked(bytes) {
  try {
    const { type, nsp, data, id } = decode(bytes);
    return { type, nsp, data, id };
  } catch {
    return {};
  }
}
