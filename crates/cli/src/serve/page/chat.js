// The chat: rooms, people, typing, images, and what the connection is doing.
//
// What it and the server say to each other:
//
//   from here                                   answer (ack)
//   join     { name, room }                     { ok: true, users: [{ id, name }] } or { ok: false, error }
//   leave                                       -
//   message  { text }                           true; false when in no room
//   image    { name, type, data: binary }       true; false when in no room or not an image
//   typing   true | false                       -
//   latency                                     anything, at once
//
//   from the server, to the others in the room
//   message  { id, name, text, at }             `at`: milliseconds since 1970
//   image    { id, name, type, data, at }       `name`: the sender's
//   typing   { id, name, typing }
//   users    [{ id, name }]                     everybody in the room
//   system   { text }
//
// A socket is in one room at a time: `join` leaves the room before. Names of people and rooms have
// at most 40 characters, a message 4000. `id` is the sender's socket id. The server keeps nothing.

import { Socket } from "./client.js";

const $ = (id) => document.getElementById(id);
const path = document.querySelector('meta[name="socket-path"]').content;
const socket = new Socket(path);

/** Makes an element. Text is always set as text: nothing that anybody writes becomes markup. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** One of the drawings of this file; they are decoration. */
function drawing(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}
const TICK = "M4.5 12.5 10 18 20 6.5";
const CLOCK = "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 7.5V12l3 2";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const exactClock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

// Storage may be forbidden; nothing depends on it. It is the tab's own, so that two tabs are two people.
const remember = (key, value) => {
  try {
    sessionStorage.setItem(key, value);
  } catch {}
};
const recall = (key) => {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
};

// ----------------------------------------------------------------------------- the connection

let name = recall("name") ?? randomName();
let lostAt; // when the connection was lost
let openedAt = performance.now();
let countdown;

socket.io.on("transport", (transport) => {
  if (transport === "polling") openedAt = performance.now();
  else journal(`upgraded after ${Math.round(performance.now() - openedAt)} ms`);
  showState(transport);
});
socket.io.on("upgrade_error", (error) => journal(`stays on polling: ${error.message}`));
socket.io.on("reconnecting", ({ delay }) => countDown(delay));

socket.on("connect", () => {
  $("sessions").textContent = socket.sessions;
  $("socket-id").textContent = socket.id;
  delete document.body.dataset.offline;
  hideNotice();
  const away = lostAt && Math.max(1, Math.round((performance.now() - lostAt) / 1000));
  journal(away ? `connected again after ${away} s` : `connected over ${socket.transport}`);
  lostAt = undefined;
  enter(room);
  measure();
});

socket.on("disconnect", (reason, error) => {
  lostAt = performance.now();
  joined = false;
  journal(`disconnected: ${reason}`);
  offline();
  forgetTyping();
  const lost = reason === "io server disconnect" ? "The server has disconnected this page" : "The connection is lost";
  notice(`${lost} (${reason}). ${error?.message ?? ""}`);
});

socket.on("connect_error", (error) => {
  offline();
  notice(`No connection. ${error.message}`);
});

function offline() {
  document.body.dataset.offline = "";
  $("socket-id").textContent = "–";
  showLatency();
  showState("offline");
}

function showState(state) {
  for (const id of ["status", "connection"]) $(id).dataset.state = state;
  showStatus();
}

function showStatus(latency = $("latency").dataset.value) {
  const { state } = $("status").dataset;
  $("status-text").textContent = latency && state !== "offline" ? `${state} · ${latency}` : state;
}

function showLatency(text) {
  $("latency").textContent = text ?? "–";
  $("latency").dataset.value = text ?? "";
  showStatus(text);
}

/** What happened to the connection, the last four things. */
function journal(text) {
  const line = make("li", {}, make("time", { textContent: exactClock.format() }), make("span", { textContent: text }));
  $("journal").append(line);
  if ($("journal").children.length > 4) $("journal").firstChild.remove();
}

function notice(text) {
  $("notice-text").textContent = text.trim();
  $("countdown").textContent = "";
  $("again").textContent = "Connect";
  $("notice").hidden = false;
}

function hideNotice() {
  clearInterval(countdown);
  $("notice").hidden = true;
}

function countDown(delay) {
  const end = performance.now() + delay;
  const show = () => {
    const seconds = Math.ceil((end - performance.now()) / 1000);
    $("countdown").textContent = seconds > 0 ? `Next try in ${seconds} s.` : "Trying …";
  };
  clearInterval(countdown);
  countdown = setInterval(show, 250);
  $("again").textContent = "Try now";
  show();
}

$("again").addEventListener("click", () => {
  clearInterval(countdown);
  $("countdown").textContent = "Trying …";
  socket.connect();
});

/** Shows how long an answer of the server takes. */
async function timed(answer) {
  const start = performance.now();
  const value = await answer;
  const ms = performance.now() - start;
  showLatency(`${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`);
  return value;
}

let measuring;
async function measure() {
  clearTimeout(measuring);
  try {
    if (!document.hidden) await timed(socket.emitWithAck("latency"));
    clearTimeout(measuring);
    measuring = setTimeout(measure, 3000);
  } catch {
    // Not connected, or a server that does not answer this: until the next connection.
  }
}

// A page that is left says goodbye, and comes back when the browser shows it again.
addEventListener("pagehide", () => socket.disconnect());
addEventListener("pageshow", ({ persisted }) => persisted && socket.connect());

// --------------------------------------------------------------------------------------- rooms

const panes = new Map(); // room -> the element with its messages
let room = roomOfAddress();
let pane;
let joined = false;
let people = [];

function roomOfAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim().slice(0, 40) || "lobby";
  } catch {
    return "lobby";
  }
}

function showRoom() {
  if (!panes.has(room)) panes.set(room, make("div", { className: "pane" }, welcome()));
  pane = panes.get(room);
  $("log").replaceChildren(pane);
  $("title").textContent = `#${room}`;
  $("text").placeholder = `Message to #${room}`;
  const known = new Set(["lobby", "pictures", ...panes.keys()]);
  $("rooms").replaceChildren(...[...known].map((known) => {
    const link = make("a", { href: `#${encodeURIComponent(known)}` }, make("span", { className: "label", textContent: known }));
    if (known === room) link.ariaCurrent = "page";
    return make("li", {}, link);
  }));
  showPeople([]);
  forgetTyping();
  read();
  toEnd();
}

/** Joins a room, and leaves the one before. What waits there is sent. */
async function enter(wanted) {
  joined = false;
  typing(false);
  if (!socket.connected) return;
  try {
    const answer = await timed(socket.emitWithAck("join", { name, room: wanted }));
    if (wanted !== room) return; // somebody was quicker than the server
    if (!answer?.ok) return system(`The server does not let you in: ${answer?.error ?? "no reason given"}.`);
    joined = true;
    showPeople(answer.users);
    flush();
  } catch {
    // The connection is lost, and the next one enters again.
  }
}

addEventListener("hashchange", () => {
  const wanted = roomOfAddress();
  if (location.hash === "#text" || wanted === room) return; // "#text" is the link to the message field
  room = wanted;
  showRoom();
  enter(room);
  openMenu(false);
  $("text").focus();
});

$("new-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = $("room").value.trim().replace(/^#/, "");
  if (wanted) location.hash = encodeURIComponent(wanted);
  $("room").value = "";
});

function welcome() {
  const share = make("button", { type: "button", textContent: "Share an image" });
  share.addEventListener("click", () => $("file").click());
  const second = make("a", { href: location.href, target: "_blank", rel: "noopener", textContent: "Open a second tab" });
  return make("div", { className: "welcome" },
    make("h2", { textContent: `This is #${room}` }),
    make("p", { textContent: "Say something. To see both ends of a conversation, be a second person in another tab." }),
    make("div", { className: "actions" }, second, share),
    make("p", {}, "Your own clients connect with ", make("code", { textContent: `io("${location.origin}")` })),
  );
}

// -------------------------------------------------------------------------------------- people

socket.on("users", (users) => joined && showPeople(users));
socket.on("system", ({ text }) => system(text));

function showPeople(users) {
  people = users;
  $("count").textContent = users.length || "";
  $("people").replaceChildren(...users.map(({ id, name }) => {
    const item = make("li", {}, avatar(name), make("span", { className: "label", textContent: name }));
    if (id === socket.id) item.append(make("span", { className: "you", textContent: "you" }));
    return item;
  }));
  summarize();
}

function summarize() {
  const others = people.filter(({ id }) => id !== socket.id).map(({ name }) => name);
  const more = others.length > 3 ? [...others.slice(0, 2), `${others.length - 2} others`] : others;
  $("summary").textContent = others.length > 0 ? `You and ${list(more)}` : people.length > 0 ? "Only you so far" : "Joining …";
}

const list = (names) => new Intl.ListFormat("en").format(names);

function avatar(name, element = make("span", { className: "avatar", ariaHidden: "true" })) {
  const words = name.trim().split(/\s+/).map((word) => [...word][0] ?? "");
  element.textContent = (words.length > 1 ? words[0] + words.at(-1) : words[0]).toUpperCase();
  const hash = [...name].reduce((hash, char) => (hash * 31 + char.codePointAt(0)) >>> 0, 7);
  element.style.setProperty("--hue", hash % 360);
  return element;
}

function randomName() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  const first = pick(["Amber", "Azure", "Coral", "Copper", "Ivory", "Jade", "Olive", "Ruby", "Silver", "Violet"]);
  return `${first} ${pick(["Badger", "Falcon", "Heron", "Ibex", "Lynx", "Marten", "Otter", "Puffin", "Robin", "Tapir"])}`;
}

$("name").addEventListener("change", () => {
  const wanted = $("name").value.trim();
  if (wanted && wanted !== name) {
    name = wanted;
    remember("name", name);
    enter(room);
  }
  showName();
});
$("name").addEventListener("keydown", ({ key }) => key === "Enter" && $("text").focus());

function showName() {
  $("name").value = name;
  avatar(name, $("my-avatar"));
}

// -------------------------------------------------------------------------------------- typing

const typists = new Map(); // socket id -> { name, timer }
let typingSince; // when the others were told last; undefined: they think that nobody types
let pause;

/** Tells the others, again after a while: they forget a notice that is not repeated. */
function typing(now) {
  clearTimeout(pause);
  if (now) pause = setTimeout(typing, 3000, false);
  const told = typingSince !== undefined && (!now || performance.now() - typingSince < 2000);
  if (now === told) return;
  if (joined && (now || typingSince !== undefined)) socket.emit("typing", now);
  typingSince = now ? performance.now() : undefined;
}

socket.on("typing", ({ id, name, typing }) => {
  clearTimeout(typists.get(id)?.timer);
  typists.delete(id);
  if (typing && joined) {
    const timer = setTimeout(() => typists.delete(id) && showTyping(), 5000);
    typists.set(id, { name, timer });
  }
  showTyping();
});

function showTyping() {
  const names = [...typists.values()].map(({ name }) => name);
  const who = names.length > 3 ? "Several people" : list(names);
  $("typing").textContent = who && `${who} ${names.length === 1 ? "is" : "are"} typing …`;
}

function forgetTyping(id) {
  for (const known of id === undefined ? [...typists.keys()] : [id]) {
    clearTimeout(typists.get(known)?.timer);
    typists.delete(known);
  }
  showTyping();
}

// ------------------------------------------------------------------------------------ messages

const KEPT = 300; // messages a room; older ones are forgotten
const EMOJI = /^[\p{Extended_Pictographic}\p{Emoji_Modifier}\u200d\ufe0f]{1,8}$/u;

socket.on("message", ({ id, name, text, at }) => {
  forgetTyping(id);
  arrived(message({ id, name, at, content: bubble(text) }));
});
socket.on("image", ({ id, name, type, data, at }) => {
  forgetTyping(id);
  const content = SHOWN.includes(type) ? picture(new Blob([data], { type }), `Image from ${name}`) : bubble(`(an image that this page does not show: ${type})`);
  arrived(message({ id, name, at, content }));
});

const bubble = (text) => make("div", { className: EMOJI.test(text) ? "bubble emoji" : "bubble", textContent: text });

function picture(blob, alt) {
  const src = URL.createObjectURL(blob);
  const button = make("button", { type: "button", className: "picture" }, make("img", { src, alt }));
  button.addEventListener("click", () => {
    Object.assign($("viewed"), { src, alt });
    $("viewer").showModal();
  });
  return button;
}
$("viewer").addEventListener("click", () => $("viewer").close());

/** Makes the element of a message; those of one person in a row are drawn as one. */
function message({ id, name, at, content }) {
  const mine = id === undefined;
  const time = make("time", { dateTime: new Date(at).toISOString(), textContent: clock.format(at) });
  const who = make("p", { className: "who" }, make("b", { textContent: mine ? "You" : name }), " ", time);
  const element = make("article", { className: mine ? "message mine" : "message" }, avatar(name), make("div", { className: "body" }, who, content));
  element.dataset.sender = id ?? "me";
  element.dataset.at = at;
  return element;
}

function append(element) {
  pane.querySelector(":scope > .welcome")?.remove();
  const last = pane.lastElementChild;
  const { sender, at } = element.dataset;
  if (sender && last?.dataset.sender === sender && at - last.dataset.at < 300_000) {
    element.classList.add("more");
    last.classList.add("more-follow");
  }
  pane.append(element);
  while (pane.children.length > KEPT) {
    const src = pane.firstChild.querySelector(".picture img")?.src;
    if (src) URL.revokeObjectURL(src);
    pane.firstChild.remove();
  }
  if (atEnd) toEnd();
}

function system(text) {
  const line = make("p", { className: "system", textContent: text });
  // Who comes and goes does not end the welcome.
  const hello = pane.querySelector(":scope > .welcome");
  if (hello) pane.append(line);
  else append(line);
  if (atEnd) toEnd();
}

// -------------------------------------------------------------------------------------- unread

let atEnd = true; // whether the newest message is in view
let unread = 0;

function toEnd() {
  atEnd = true;
  $("log").scrollTop = $("log").scrollHeight;
}

function arrived(element) {
  if (document.hidden || !atEnd) {
    if (unread === 0) {
      pane.querySelector(".unread")?.remove();
      append(make("p", { className: "unread", textContent: "New" }));
    }
    unread += 1;
  }
  append(element);
  showUnread();
}

function read() {
  unread = 0;
  showUnread();
}

function showUnread() {
  document.title = `${unread > 0 ? `(${unread}) ` : ""}#${room} · sio chat`;
  $("newest").hidden = unread === 0 || atEnd;
  $("newest").textContent = `${unread} new ${unread === 1 ? "message" : "messages"} ↓`;
  const link = $("rooms").querySelector("[aria-current]");
  link?.querySelector(".badge")?.remove();
  if (unread > 0) link?.append(make("span", { className: "badge", textContent: unread, ariaLabel: `${unread} unread` }));
}

$("log").addEventListener("scroll", () => {
  const { scrollTop, clientHeight, scrollHeight } = $("log");
  atEnd = scrollHeight - scrollTop - clientHeight < 60;
  if (atEnd && !document.hidden) read();
});
// An image that is decoded late, a turned phone, an opened keyboard: the end stays in view.
const sizes = new ResizeObserver(() => atEnd && toEnd());
sizes.observe($("log"));
$("log").addEventListener("load", () => atEnd && toEnd(), true);
$("newest").addEventListener("click", () => (toEnd(), read()));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (atEnd) read();
  measure();
});

// ------------------------------------------------------------------------------------- sending

const outbox = []; // what waits for its room: { room, event, value, element }

function post(event, value, content) {
  const element = message({ name, at: Date.now(), content });
  pane.querySelector(".unread")?.remove();
  append(element);
  toEnd();
  wait({ room, event, value, element });
}

function wait(item) {
  outbox.push(item);
  mark(item, "waiting");
  flush();
}

/** Sends what waits for this room. */
function flush() {
  if (!joined) return;
  const ready = outbox.filter((item) => item.room === room);
  for (const item of ready) {
    outbox.splice(outbox.indexOf(item), 1);
    transmit(item);
  }
}

async function transmit(item) {
  try {
    const answer = socket.emitWithAck(item.event, item.value);
    mark(item, (await (item.event === "message" ? timed(answer) : answer)) ? "sent" : "failed");
  } catch {
    // The server may have it or not: a person decides about sending it twice.
    mark(item, "failed");
  }
}

function mark(item, state) {
  item.element.dataset.state = state;
  const line = make("p", { className: "state" });
  const time = clock.format(Number(item.element.dataset.at));
  if (state === "waiting") line.append(drawing(CLOCK), socket.connected ? "Sending" : "Waiting for the connection");
  if (state === "sent") line.append(time, tick());
  if (state === "failed") {
    const again = make("button", { type: "button", textContent: "Send again" });
    again.addEventListener("click", () => wait(item));
    line.append("Not confirmed by the server.", again);
  }
  item.element.querySelector(".state")?.remove();
  item.element.querySelector(".body").append(line);
  if (atEnd) toEnd();
}

function tick() {
  const mark = make("span", { role: "img", ariaLabel: "received by the server", title: "Received by the server" });
  mark.append(drawing(TICK));
  return mark;
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  typed();
  typing(false);
  post("message", { text }, bubble(text));
  $("text").focus();
});

$("text").addEventListener("keydown", (event) => {
  // An Enter that ends the composition of a character is not meant for us.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

$("text").addEventListener("input", () => {
  typed();
  typing($("text").value.trim() !== "");
});

function typed() {
  $("text").style.height = "auto";
  $("text").style.height = `${$("text").scrollHeight}px`;
  $("send").disabled = $("text").value.trim() === "";
}

// -------------------------------------------------------------------------------------- images

// No SVG: it is a document, not only an image.
const SHOWN = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"];
const LARGEST = 500_000; // bytes; servers accept messages of one megabyte, in base64 too

async function share(files) {
  for (const file of files) {
    try {
      const blob = await shrink(file);
      const value = { name: file.name, type: blob.type, data: await blob.arrayBuffer() };
      post("image", value, picture(blob, file.name || "Your image"));
    } catch {
      system(`${file.name || "This"} is not an image that the browser can read.`);
    }
  }
}

/** The file as it is if it is small enough, else a smaller picture of it. */
async function shrink(file) {
  if (file.size <= LARGEST && SHOWN.includes(file.type)) return file;
  const bitmap = await createImageBitmap(file);
  for (let side = 1800; ; side = Math.round(side * 0.75)) {
    const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
    const canvas = make("canvas", {
      width: Math.max(1, Math.round(bitmap.width * scale)),
      height: Math.max(1, Math.round(bitmap.height * scale)),
    });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.85));
    if (blob.size <= LARGEST || side < 50) return blob;
  }
}

$("attach").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  share([...$("file").files]);
  $("file").value = "";
});

document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length === 0) return;
  event.preventDefault();
  share(files);
});

const bringsFiles = ({ dataTransfer }) => dataTransfer.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!bringsFiles(event)) return;
  event.preventDefault();
  document.body.dataset.dropping = "";
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) delete document.body.dataset.dropping;
});
document.addEventListener("drop", (event) => {
  delete document.body.dataset.dropping;
  if (!bringsFiles(event)) return;
  event.preventDefault();
  share([...event.dataTransfer.files]);
});

// ---------------------------------------------------------------------------- the phone's menu

function openMenu(open) {
  const was = "menu" in document.body.dataset;
  if (open === was) return;
  document.body.toggleAttribute("data-menu", open);
  $("menu").ariaExpanded = String(open);
  $("main").inert = open;
  $(open ? "close" : "menu").focus();
}

$("menu").addEventListener("click", () => openMenu(true));
$("close").addEventListener("click", () => openMenu(false));
$("shade").addEventListener("click", () => openMenu(false));
document.addEventListener("keydown", ({ key }) => key === "Escape" && openMenu(false));
matchMedia("(min-width: 761px)").addEventListener("change", () => openMenu(false));

remember("name", name);
showName();
showRoom();
typed();
if (matchMedia("(hover: hover)").matches) $("text").focus();
