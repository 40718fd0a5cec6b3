// The chat: an ordinary Socket.IO application.
//
// It emits join {name, room} -> {ok, users, error}, message {text} -> true, typing true|false,
// image {name, type, data} -> true, and gets message, image, typing, users and system.

import { Client } from "./client.js";

const MAX_IMAGE = 500_000;
const $ = (id) => document.getElementById(id);
const client = new Client(document.querySelector('meta[name="socket-path"]').content);
const typing = new Map();
let me = { name: localStorage.name ?? `Guest ${Math.ceil(Math.random() * 999)}`, room: location.hash.slice(1) || "lobby" };
let unread = 0;

$("name").value = me.name;
$("room").value = me.room;

client
  .when("connect", () => {
    state("connected");
    join();
  })
  .when("transport", (name) => {
    $("transport").textContent = name === "websocket" ? "WebSocket" : "polling";
    $("transport").dataset.transport = name;
  })
  .when("disconnect", (reason) => {
    state("lost");
    line("system", `Disconnected: ${reason}.`);
  })
  .when("connect_error", (reason) => {
    state("lost");
    $("status").title = reason;
  })
  .when("waiting", ({ delay, attempt }) => {
    $("status").textContent = `reconnecting (attempt ${attempt}, in ${(delay / 1000).toFixed(1)} s)`;
  })
  .on("message", ({ id, name, text, at }) => {
    stopped(id);
    say({ name, at, text });
  })
  .on("image", ({ id, name, type, data, at }) => {
    stopped(id);
    say({ name, at, image: new Blob([data], { type }) });
  })
  .on("typing", ({ id, name, typing: is }) => (is ? started(id, name) : stopped(id)))
  .on("users", users)
  .on("system", ({ text }) => line("system", text));

setInterval(async () => {
  if (!client.connected) return;
  const start = performance.now();
  await client.ask("ping").catch(() => {});
  $("latency").textContent = `${(performance.now() - start).toFixed(1)} ms`;
}, 2000);

async function join() {
  const { ok, users: list, error } = await client.ask("join", me);
  if (!ok) return line("system", error);
  users(list);
  location.hash = me.room;
  $("title").textContent = me.room;
  document.title = `${me.room} · chat`;
  line("system", `You are in “${me.room}” as ${me.name}.`);
}

$("join").addEventListener("submit", (event) => {
  event.preventDefault();
  const next = { name: $("name").value.trim(), room: $("room").value.trim() };
  if (!next.name || !next.room) return;
  if (next.room !== me.room) $("messages").replaceChildren();
  me = next;
  localStorage.name = me.name;
  join();
  $("text").focus();
});

let typingTimer;
function tellTyping(is) {
  clearTimeout(typingTimer);
  if (is && !tellTyping.told) client.emit("typing", true);
  if (!is && tellTyping.told) client.emit("typing", false);
  tellTyping.told = is;
  if (is) typingTimer = setTimeout(() => tellTyping(false), 3000);
}

$("text").addEventListener("input", () => tellTyping($("text").value !== ""));

$("send").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  tellTyping(false);
  const item = say({ name: me.name, at: Date.now(), text, own: true });
  acknowledged(item, client.ask("message", { text }));
});

$("picture").addEventListener("change", () => share($("picture").files[0]));
document.addEventListener("paste", ({ clipboardData }) => share(clipboardData.files[0]));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  share(event.dataTransfer.files[0]);
});

/** Shares an image, made smaller first if it is large. */
async function share(file) {
  if (!file?.type.startsWith("image/")) return;
  const image = file.size <= MAX_IMAGE ? file : await smaller(file);
  const data = await image.arrayBuffer();
  const item = say({ name: me.name, at: Date.now(), image, own: true });
  acknowledged(item, client.ask("image", { name: file.name ?? "image", type: image.type, data }));
  $("picture").value = "";
}

async function smaller(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, 1600 / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(bitmap.width * scale, bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  for (const quality of [0.85, 0.6, 0.3]) {
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality });
    if (blob.size <= MAX_IMAGE || quality === 0.3) return blob;
  }
}

async function acknowledged(item, answer) {
  const stored = await answer.catch(() => false);
  item.querySelector(".tick").textContent = stored ? "✓" : "not sent";
}

function say({ name, at, text, image, own = false }) {
  const item = line(own ? "own" : "other");
  const head = document.createElement("header");
  const who = document.createElement("b");
  who.textContent = name;
  const when = document.createElement("time");
  when.textContent = new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const tick = document.createElement("span");
  tick.className = "tick";
  head.append(who, when, tick);
  const body = image ? picture(image, name) : document.createElement("p");
  if (!image) body.textContent = text;
  item.append(head, body);
  scroll();
  if (document.hidden) document.title = `(${++unread}) ${me.room} · chat`;
  return item;
}

function picture(blob, name) {
  const image = document.createElement("img");
  image.alt = `an image from ${name}`;
  image.src = URL.createObjectURL(blob);
  image.onload = scroll;
  image.dataset.bytes = blob.size;
  return image;
}

function line(kind, text = "") {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  $("messages").append(item);
  scroll();
  return item;
}

const scroll = () => ($("messages").scrollTop = $("messages").scrollHeight);

function users(list) {
  $("count").textContent = list.length;
  $("users").replaceChildren(
    ...list.map(({ id, name }) => {
      const item = document.createElement("li");
      item.textContent = id === client.id ? `${name} (you)` : name;
      return item;
    }),
  );
}

function started(id, name) {
  typing.set(id, name);
  showTyping();
}

function stopped(id) {
  typing.delete(id);
  showTyping();
}

function showTyping() {
  const names = [...typing.values()];
  $("typing").textContent = names.length ? `${names.join(", ")} ${names.length > 1 ? "are" : "is"} typing …` : "";
}

function state(name) {
  $("status").textContent = name;
  $("status").dataset.state = name;
  $("status").title = "";
}

document.addEventListener("visibilitychange", () => {
  unread = 0;
  document.title = `${me.room} · chat`;
});
