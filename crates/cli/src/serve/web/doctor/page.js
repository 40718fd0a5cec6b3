// The page: a form, a line for each check, what was found, and the report to copy.
import { examine } from "./checks.js";

const $ = (selector) => document.querySelector(selector);
const main = $("main");
const all = await (await fetch(new URL("texts.json", import.meta.url))).json();
const language = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in all) ?? "en";
const { words, checks, findings } = all[language];

document.documentElement.lang = language;
document.title = words.heading;
for (const element of document.querySelectorAll("[data-word]")) element.textContent = words[element.dataset.word];
$("#url").value = location.origin;
$("#path").value = $("meta[name=socket-path]").content;

/** A text with its facts. */
const filled = (text, facts) => text.replace(/\{(\w+)\}/g, (place, name) => facts[name] ?? place);
const detailOf = ({ detail }) => (typeof detail === "object" ? filled(words[detail.word], detail) : (detail ?? ""));

const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

/** A finding in words. */
function told({ key, facts, status, evidence }) {
  const { id, ...text } = findings[key];
  const [title, meaning, fix] = [text.title, text.meaning, text.fix].map((part) => filled(part, facts));
  return { id, status, title, meaning, fix, evidence };
}

function show(outcome) {
  const row = $(`#check-${outcome.id}`);
  row.dataset.status = outcome.status;
  row.querySelector(".mark").textContent = [words[outcome.status], detailOf(outcome)].filter(Boolean).join(": ");
  for (const finding of outcome.findings.map(told)) {
    const article = make("article", "", { "data-status": finding.status, "data-id": finding.id });
    article.append(make("h2", `${finding.id} ${finding.title}`), make("p", finding.meaning));
    if (finding.evidence.length) article.append(make("pre", finding.evidence.join("\n")));
    const fix = make("p", "");
    fix.append(make("b", `${words.fix}: `), finding.fix);
    article.append(fix);
    $("#findings").append(article);
  }
}

/** One line on the whole. */
function summary(outcomes) {
  const has = (status) => outcomes.some((outcome) => outcome.status === status);
  const titles = outcomes.flatMap((outcome) => outcome.findings.map(told)).map(({ id, title }) => `${id} ${title}`);
  if (titles.length) return titles.join("; ");
  return has("inconclusive") ? words.unclear : words.healthy;
}

function markdown(base, path, outcomes) {
  const fence = "```";
  const code = (lines) => `${fence}\n${lines.join("\n").replaceAll(fence, "'''")}\n${fence}\n\n`;
  const found = outcomes.flatMap((outcome) => outcome.findings.map(told));
  const parts = found.map(
    ({ id, title, meaning, fix, evidence }) => `## ${id} ${title}\n\n${meaning}\n\n${evidence.length ? code(evidence) : ""}**${words.fix}:** ${fix}\n\n`,
  );
  const cell = (text) => text.replaceAll("|", "\\|");
  const rows = outcomes.map((outcome) => `| ${outcome.id} ${checks.find(({ id }) => id === outcome.id).name} | ${words[outcome.status]} | ${cell(detailOf(outcome))} |\n`);
  return (
    `# sio doctor: ${base}\n\n${words.pageOf} ${location.origin}, ${words.path} \`${path}\`, ${new Date().toISOString()}\n${navigator.userAgent}\n\n` +
    `${parts.join("")}| ${words.check} | | |\n|---|---|---|\n${rows.join("")}`
  );
}

/** Where the server is: its origin, and the path with a slash at both ends. */
function address() {
  const url = new URL($("#url").value);
  if (!["http:", "https:"].includes(url.protocol)) throw new TypeError("no address of HTTP");
  const path = `/${$("#path").value.trim().replace(/^\/+|\/+$/g, "")}/`;
  return [url.origin, path === "//" ? "/" : path];
}

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  let base, path;
  try {
    [base, path] = address();
  } catch {
    $("#status").textContent = words.badUrl;
    return;
  }
  const button = $("form button");
  button.disabled = true;
  main.dataset.state = "running";
  main.setAttribute("aria-busy", "true");
  $("#status").textContent = words.running;
  $("#findings").replaceChildren();
  $("#result").hidden = true;
  $("#copied").textContent = "";
  $("#checks").replaceChildren(
    ...checks.map(({ id, name }) => {
      const row = make("li", "", { id: `check-${id}` });
      row.append(make("b", id), make("span", name), make("span", "…", { class: "mark" }));
      return row;
    }),
  );
  const outcomes = [];
  try {
    await examine(base, path, (outcome) => {
      outcomes.push(outcome);
      show(outcome);
    });
    $("#status").textContent = summary(outcomes);
  } finally {
    const order = ({ id }) => checks.findIndex((check) => check.id === id);
    outcomes.sort((a, b) => order(a) - order(b));
    $("#report").value = markdown(base, path, outcomes);
    $("#result").hidden = false;
    button.disabled = false;
    main.removeAttribute("aria-busy");
    main.dataset.state = "done";
  }
});

$("#copy").addEventListener("click", async () => {
  const report = $("#report");
  report.select();
  try {
    await navigator.clipboard.writeText(report.value);
    $("#copied").textContent = words.copied;
  } catch {
    // Pages of http:// have no clipboard.
    $("#copied").textContent = words.selected;
  }
});
main.dataset.state = "ready";
