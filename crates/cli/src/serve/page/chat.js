// The chat of `sio serve`, an ordinary Socket.IO application.
//
// Client to server:
//   join     { name, room }        answered with { ok, users: [{ id, name }], error? }
//   message  { text }              answered with true or false
//   image    { name, type, data }  `data` is binary; answered with true or false
//   typing   true | false
//   leave
// Server to the others in the room:
//   message  { id, name, text, at }
//   image    { id, name, type, data, at }   `name` is the author's
//   typing   { id, name, typing }
//   users    [{ id, name }]
//   system   { text }
//
// A socket is in one room at a time. Joining another room leaves the first.

import { Socket } from "./client.js";

const MAX_IMAGE = 500_000;   // bytes that are sent
const MAX_SIDE = 1600;       // pixels of a picture that is scaled down
const MAX_ENTRIES = 300;     // kept for each room
const TYPING_PAUSE = 2500;   // after the last key
const TYPING_EXPIRY = 6000;  // a notice that is never taken back
// What a browser shows without running anything in it.
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);

const $ = (id) => document.getElementById(id);
const socket = new Socket();

// Per tab, so that two tabs are two people and a reload is the same one.
const me = { name: sessionStorage.getItem("name") ?? "", room: roomOfAddress() };
const rooms = new Map(); // name -> { log: <ol>, author, unread, session of the last join }
let seated = false;      // the server has us in `me.room`
let wanted = false;      // the form was sent: take the seat again after a reconnection
let users = [];
let sessions = 0;

// ---- Connection ---------------------------------------------------------------------------

function showState(state, title, detail = "") {
  document.body.dataset.state = state;
  $("state-title").textContent = title;
  $("state-detail").textContent = detail;
  const online = state === "online";
  $("send").disabled = !online || !seated;
  $("attach").disabled = !online || !seated;
}

function showTransport(name) {
  $("polling").dataset.step = name === "polling" ? "now" : name === "websocket" ? "done" : "";
  $("websocket").dataset.step = name === "websocket" ? "now" : "";
  $("transport").setAttribute("aria-label", name ? `Transport: ${name}` : "Transport: none");
  $("transport").dataset.transport = name ?? "";
}

function showRoundTrip(milliseconds) {
  $("round-trip").textContent = milliseconds < 10
    ? `${milliseconds.toFixed(1)} ms`
    : `${Math.round(milliseconds)} ms`;
}

// A request whose round trip is shown.
async function request(name, data) {
  const start = performance.now();
  const answer = await socket.request(name, data);
  showRoundTrip(performance.now() - start);
  return answer;
}

socket.on("transport", (name, elapsed) => {
  showTransport(name);
  $("upgrade").textContent = name === "websocket" ? `${Math.round(elapsed)} ms` : "–";
});

socket.on("upgrade_error", () => {
  $("upgrade").textContent = "not possible";
});

socket.on("connect", () => {
  sessions += 1;
  $("sessions").textContent = sessions;
  $("session-id").textContent = socket.id;
  showState("online", "Connected");
  if (wanted) join(me.room);
});

socket.on("disconnect", (reason) => {
  seated = false;
  showUsers([]);
  clearTypists();
  showTransport(null);
  $("session-id").textContent = "–";
  $("round-trip").textContent = "–";
  $("upgrade").textContent = "–";
  showState("offline", "Disconnected", reason);
  if (wanted) note(me.room, `The connection was lost: ${reason}`);
});

socket.on("connect_error", (error) => {
  showTransport(null);
  showState("offline", "Not connected", error.message);
});

let countdown = 0;
socket.on("reconnecting", ({ attempt, delay, reason }) => {
  const until = performance.now() + delay;
  clearInterval(countdown);
  const show = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    const next = left > 0 ? `attempt ${attempt} in ${left} s` : `attempt ${attempt}`;
    if (socket.connected || left < -1) clearInterval(countdown);
    else showState("waiting", "Reconnecting", `${reason}, ${next}`);
  };
  show();
  countdown = setInterval(show, 250);
});

// A page that goes away says so; one that comes back from the browser's cache connects again.
addEventListener("pagehide", () => socket.disconnect());
addEventListener("pageshow", (event) => event.persisted && socket.connect());

// ---- Rooms and people ---------------------------------------------------------------------

function roomOfAddress() {
  try {
    return clean(decodeURIComponent(location.hash.slice(1))) || "lobby";
  } catch {
    return "lobby";
  }
}

// As the server does it, so that both have the same name for a room.
function clean(text) {
  return [...text.trim().replace(/\p{Cc}/gu, "")].slice(0, 40).join("");
}

async function join(name) {
  const room = openRoom(name);
  me.room = name;
  seated = false;
  clearTypists();
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  $("room-name").textContent = name;
  $("log").replaceChildren(room.log);
  room.unread = 0;
  showRooms();
  showTitle();
  toBottom();
  if (!socket.connected) return;
  try {
    const answer = await request("join", { name: me.name, room: name });
    if (me.room !== name) return; // meanwhile another room was chosen
    if (!answer?.ok) throw new Error(answer?.error ?? "the server did not say why");
    seated = true;
    const back = sessions > room.session && room.session > 0;
    room.session = sessions;
    note(name, back ? "You are back" : `You joined ${name}`);
    showUsers(answer.users);
    showState("online", "Connected");
    // A phone would cover the page with its keyboard; who is back has the focus somewhere.
    if (!back && matchMedia("(pointer: fine)").matches) $("text").focus();
  } catch (error) {
    note(name, `You could not join: ${error.message}`);
  }
}

function openRoom(name) {
  let room = rooms.get(name);
  if (!room) {
    const log = element("ol", { className: "entries" });
    room = { log, author: null, unread: 0, session: 0 };
    rooms.set(name, room);
  }
  return room;
}

function showRooms() {
  const items = [...rooms.keys()].map((name) => {
    const button = element("button", { type: "button", className: "room" }, element("span", {}, name));
    if (name === me.room) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => {
      closePanel();
      if (name !== me.room) join(name);
    });
    return element("li", {}, button);
  });
  $("rooms").replaceChildren(...items);
}

function showUsers(list) {
  users = list;
  const items = users.map(({ id, name }) => {
    const own = id === socket.id;
    const item = element("li", {}, avatar(id, name), element("span", { className: "who" }, name));
    if (own) item.append(element("span", { className: "you" }, "you"));
    return item;
  });
  $("users").replaceChildren(...items);
  $("count").textContent = users.length;
  $("panel-count").textContent = users.length;
  $("alone").hidden = !seated || users.length > 1;
}

function avatar(id, name) {
  const initials = name.split(/\s+/).slice(0, 2).map((word) => [...word][0] ?? "").join("");
  const mark = element("span", { className: "avatar", ariaHidden: "true" }, initials.toUpperCase());
  mark.style.setProperty("--hue", hue(name));
  return mark;
}

function hue(text) {
  let hash = 7;
  for (const char of text) hash = (hash * 31 + char.codePointAt(0)) % 360;
  return hash;
}

socket.on("users", (list) => {
  showUsers(list);
  for (const id of typists.keys()) if (!users.some((user) => user.id === id)) setTyping({ id, typing: false });
});
socket.on("system", ({ text }) => note(me.room, text));

// ---- The log ------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function note(name, text) {
  const room = openRoom(name);
  room.author = null;
  append(room, element("li", { className: "note" }, text));
}

// Adds what somebody said, under the name of the author unless the last entry was theirs too.
function say({ id, name, at }, content, own = false) {
  const room = openRoom(me.room);
  const first = room.author !== id;
  room.author = id;
  const entry = element("li", { className: own ? "entry own" : "entry" });
  if (first) {
    entry.classList.add("first");
    entry.append(avatar(id, name), element("span", { className: "author" }, own ? "You" : name));
  }
  const time = new Date(at);
  const stamp = element("time", { dateTime: time.toISOString() },
    time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  const bubble = element("div", { className: "bubble" }, content, stamp);
  if (own) bubble.append(element("span", { className: "tick", ariaLabel: "being sent" }));
  entry.append(bubble);
  if (!own) countUnread(room);
  append(room, entry, own);
  return entry;
}

function append(room, item, follow = false) {
  const stay = !follow && !atBottom();
  room.log.append(item);
  while (room.log.children.length > MAX_ENTRIES) {
    const old = room.log.firstElementChild;
    for (const picture of old.querySelectorAll("img")) URL.revokeObjectURL(picture.src);
    old.remove();
  }
  if (!stay) toBottom();
}

// Words with the addresses in them made links.
function prose(text) {
  const parts = text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]])/);
  const nodes = parts.map((part, index) => (index % 2 === 0
    ? part
    : element("a", { href: part, target: "_blank", rel: "noopener noreferrer" }, part)));
  return element("p", {}, ...nodes);
}

function picture(from, { type, data }) {
  if (!PICTURES.has(type) || !(data instanceof ArrayBuffer || ArrayBuffer.isView(data))) {
    return element("p", {}, `A picture of a kind that is not shown here (${type})`);
  }
  const address = URL.createObjectURL(new Blob([data], { type }));
  const image = element("img", { src: address, alt: `A picture from ${from}` });
  image.dataset.bytes = data.byteLength;
  const stay = atBottom();
  image.addEventListener("load", () => stay && toBottom());
  const link = element("a", { href: address, target: "_blank", rel: "noopener", className: "picture" }, image);
  const caption = element("figcaption", {}, `${type.slice(6)}, ${size(data.byteLength)}`);
  return element("figure", {}, link, caption);
}

function size(bytes) {
  return bytes < 1000 ? `${bytes} B` : `${Math.round(bytes / 1000)} kB`;
}

function atBottom() {
  const log = $("log");
  return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
}

function toBottom() {
  $("log").scrollTop = $("log").scrollHeight;
}

socket.on("message", (message) => {
  setTyping({ id: message.id, typing: false });
  say(message, prose(message.text));
});
socket.on("image", (image) => say(image, picture(image.name, image)));

// ---- Unread -------------------------------------------------------------------------------

function countUnread(room) {
  if (!document.hidden && document.hasFocus() && atBottom()) return;
  if (room.unread === 0) {
    room.log.querySelector(".unread")?.remove();
    append(room, element("li", { className: "unread" }, "New"));
  }
  room.unread += 1;
  showTitle();
}

function showTitle() {
  const unread = rooms.get(me.room)?.unread ?? 0;
  document.title = unread > 0 ? `(${unread}) ${me.room}` : `${me.room} · sio chat`;
  $("jump").hidden = unread === 0;
  $("jump").textContent = unread === 1 ? "1 new message" : `${unread} new messages`;
}

function readAll() {
  const room = rooms.get(me.room);
  if (!room || room.unread === 0 || document.hidden || !document.hasFocus() || !atBottom()) return;
  room.unread = 0;
  showTitle();
}

// Who was at the bottom stays there when the log gets lower, as by a phone's keyboard.
let following = true;
$("log").addEventListener("scroll", () => {
  following = atBottom();
  readAll();
});
new ResizeObserver(() => following && toBottom()).observe($("log"));
$("jump").addEventListener("click", () => {
  toBottom();
  readAll();
  $("text").focus();
});
addEventListener("focus", readAll);
document.addEventListener("visibilitychange", readAll);

// ---- Typing -------------------------------------------------------------------------------

const typists = new Map(); // id -> { name, timer }
let typing = false;
let typingTimer = 0;

function setTyping({ id, name, typing }) {
  clearTimeout(typists.get(id)?.timer);
  typists.delete(id);
  if (typing) {
    const timer = setTimeout(() => setTyping({ id, typing: false }), TYPING_EXPIRY);
    typists.set(id, { name, timer });
  }
  const names = [...typists.values()].map((typist) => typist.name);
  $("typing").textContent = names.length === 0 ? ""
    : names.length === 1 ? `${names[0]} is typing`
    : names.length === 2 ? `${names[0]} and ${names[1]} are typing`
    : `${names.length} people are typing`;
}

function clearTypists() {
  typing = false;
  for (const id of typists.keys()) setTyping({ id, typing: false });
}

function tellTyping(now) {
  clearTimeout(typingTimer);
  if (now) typingTimer = setTimeout(() => tellTyping(false), TYPING_PAUSE);
  if (now === typing || !seated) return;
  typing = now;
  socket.emit("typing", now);
}

socket.on("typing", setTyping);

// ---- Sending ------------------------------------------------------------------------------

async function deliver(entry, name, data) {
  const tick = entry.querySelector(".tick");
  try {
    if (!(await request(name, data))) throw new Error("the server did not take it");
    tick.textContent = "✓";
    tick.ariaLabel = tick.title = "received by the server";
  } catch (error) {
    entry.classList.add("failed");
    tick.textContent = "not sent";
    tick.ariaLabel = tick.title = `not sent: ${error.message}`;
  }
}

function send() {
  const text = $("text").value.trim();
  if (text === "" || !seated) return;
  $("text").value = "";
  fit();
  tellTyping(false);
  const entry = say({ id: socket.id, name: me.name, at: Date.now() }, prose(text), true);
  deliver(entry, "message", { text });
}

async function sendImage(file) {
  if (!seated) return;
  const room = me.room;
  let image;
  try {
    image = await shrink(file);
  } catch {
    note(room, `${file.name || "The file"} is not a picture that this browser can read`);
    return;
  }
  if (!seated || me.room !== room) return;
  const entry = say({ id: socket.id, name: me.name, at: Date.now() }, picture("you", image), true);
  deliver(entry, "image", image);
}

// Leaves a small picture as it is, to the byte, and draws a large one again until it is small.
async function shrink(file) {
  const name = file.name || "picture";
  if (file.size < MAX_IMAGE && PICTURES.has(file.type)) {
    return { name, type: file.type, data: new Uint8Array(await file.arrayBuffer()) };
  }
  const bitmap = await createImageBitmap(file);
  let scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  for (let quality = 0.85; ; quality = Math.max(0.5, quality - 0.1), scale *= 0.8) {
    const canvas = element("canvas", {
      width: Math.max(1, Math.round(bitmap.width * scale)),
      height: Math.max(1, Math.round(bitmap.height * scale)),
    });
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff"; // JPEG has no transparency
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
    if (!blob) throw new Error("the picture cannot be drawn");
    if (blob.size < MAX_IMAGE) {
      bitmap.close();
      const data = new Uint8Array(await blob.arrayBuffer());
      return { name: name.replace(/\.[^.]*$/, "") + ".jpg", type: blob.type, data };
    }
  }
}

function fit() {
  const text = $("text");
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight, 160)}px`;
}

function sendFiles(files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/"));
  for (const file of pictures) sendImage(file);
  return pictures.length > 0;
}

$("text").addEventListener("input", () => {
  fit();
  tellTyping($("text").value.trim() !== "");
});
$("text").addEventListener("blur", () => tellTyping(false));
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
  $("text").focus();
});
$("attach").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  sendFiles($("file").files);
  $("file").value = "";
});
addEventListener("paste", (event) => {
  if (sendFiles(event.clipboardData?.files ?? [])) event.preventDefault();
});

// A drag enters and leaves every element it passes; the depth tells when it has left the page.
let depth = 0;
const dragsFiles = (event) => seated && event.dataTransfer?.types.includes("Files");
function showDrop(by) {
  depth = Math.max(0, depth + by);
  $("drop").hidden = depth === 0;
}
addEventListener("dragenter", (event) => dragsFiles(event) && showDrop(1));
addEventListener("dragleave", (event) => dragsFiles(event) && showDrop(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  showDrop(-depth);
  sendFiles(event.dataTransfer?.files ?? []);
});

// ---- The forms and the side panel ---------------------------------------------------------

function suggestName() {
  const first = ["Quiet", "Brave", "Amber", "Swift", "Gentle", "Bright", "Clever", "Merry"];
  const second = ["Otter", "Heron", "Fox", "Wren", "Badger", "Lynx", "Finch", "Hare"];
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  return `${pick(first)} ${pick(second)}`;
}

function enter() {
  wanted = true;
  sessionStorage.setItem("name", me.name);
  $("welcome").hidden = true;
  $("app").inert = false;
  join(me.room);
}

function closePanel() {
  document.body.classList.remove("panel-open");
  $("panel-toggle").setAttribute("aria-expanded", "false");
}

$("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  me.name = clean($("name").value);
  me.room = clean($("room").value) || "lobby";
  if (me.name === "") return $("name").focus();
  enter();
});

$("new-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = clean($("new-room-name").value);
  $("new-room-name").value = "";
  if (name === "") return;
  closePanel();
  if (name !== me.room) join(name);
});

$("leave").addEventListener("click", () => {
  socket.emit("leave");
  sessionStorage.removeItem("name");
  wanted = seated = false;
  clearTypists();
  showUsers([]);
  closePanel();
  welcome();
});

$("panel-toggle").addEventListener("click", () => {
  const open = document.body.classList.toggle("panel-open");
  $("panel-toggle").setAttribute("aria-expanded", String(open));
});
$("veil").addEventListener("click", closePanel);
addEventListener("keydown", (event) => event.key === "Escape" && closePanel());
addEventListener("hashchange", () => {
  const room = roomOfAddress();
  if (room === me.room) return;
  if (wanted) join(room);
  else $("room").value = room;
});
// Another person in another window, in the same room.
$("second").addEventListener("click", () => {
  $("second").href = location.href;
});

function welcome() {
  $("app").inert = true;
  $("welcome").hidden = false;
  $("name").value = me.name || suggestName();
  $("room").value = me.room;
  $("name").select();
}

showState("waiting", "Connecting");
showTransport(null);
if (me.name) enter();
else welcome();
socket.connect();
