// The status page: shows the view and follows its changes. Reads only; all text from outside goes in as
// text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const cards = new Map(); // Cards on the page by mapping and slot: a card that stays keeps its picture.
let words = WORDS[preferred()];
let shown = null; // The view on the page.
let ahead = 0; // The daemon's clock minus the browser's, in milliseconds.

function preferred() {
  const chosen = localStorage.getItem("language") ?? navigator.language;
  return chosen.toLowerCase().startsWith("zh") ? "zh" : "en";
}

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const say = (text, ...values) => values.reduce((rest, value) => rest.replace("{}", () => value), text);
const count = (forms, n) => say(n === 1 ? forms[0] : forms[1], n.toLocaleString(words.lang));
const now = () => Date.now() + ahead;

function when(ms) {
  const date = new Date(ms);
  const today = new Date(now()).toDateString() === date.toDateString();
  const style = today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  const time = make("time", "", date.toLocaleString(words.lang, style));
  time.dateTime = date.toISOString();
  return time;
}

function clock(ms) {
  const seconds = Math.ceil(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours >= 48) return Math.floor(hours / 24).toLocaleString(words.lang, { style: "unit", unit: "day", unitDisplay: "long" });
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

// An element that counts down to a time; told again every second by `tick`.
function countdown(until, running, over) {
  const element = make("span", "countdown");
  Object.assign(element.dataset, { until, running, over });
  tell(element);
  return element;
}

function tell(element) {
  const left = Number(element.dataset.until) - now();
  element.textContent = left > 0 ? say(element.dataset.running, clock(left)) : element.dataset.over;
}

// Puts children in place without taking out those that stay, so that pictures and focus stay as well.
function place(parent, children) {
  children.forEach((child, n) => {
    if (parent.children[n] !== child) parent.insertBefore(child, parent.children[n] ?? null);
  });
  while (parent.children.length > children.length) parent.lastChild.remove();
}

function showCounts(view) {
  const { totals, calls } = view.status;
  const refused = view.status.mappings.reduce((sum, mapping) => sum + mapping.rejected + mapping.held, 0);
  const items = [
    ["written", words.written, totals.written],
    ["waiting", words.waiting, totals.queued + totals.stale],
    ["parked", words.parked, totals.parked],
    ["refused", words.refused, refused],
  ];
  if (calls) items.push(["today", words.callsToday, calls.today], ["month", words.callsMonth, calls.this_month]);
  if (calls?.budget) items.push(["used", say(words.ofBudget, calls.budget.toLocaleString(words.lang)), calls.used]);
  const bad = (name, number) => number && (name === "parked" || name === "refused" || (name === "used" && number >= 0.8 * calls.budget));
  byId("counts").replaceChildren(...items.map(([name, label, number]) => {
    const item = make("div", bad(name, number) ? "bad" : "",
      make("dt", "", label), make("dd", "", number.toLocaleString(words.lang)));
    item.dataset.count = name;
    return item;
  }));
}

// The one of two closed gates that opens last: a document's is tried no earlier than the app's.
const last = (one, other) => !one || (other && other.until > one.until) ? other : one;

function gate(title, closed) {
  return make("div", closed.passing ? "gate passing" : "gate",
    make("strong", "", title), make("p", "", closed.reason),
    make("p", "quiet", countdown(closed.until, words.nextTry, words.tryNow), " · ", say(words.since, when(closed.since).textContent)));
}

// How the month's calls hold up what is sent.
function pace(calls) {
  const left = () => Math.max(0, calls.budget - calls.used).toLocaleString(words.lang);
  if (calls?.pace.state === "spread") return make("p", "note", say(words.spread, clock(calls.pace.every_seconds * 1000), left(), when(calls.until).textContent));
  if (calls?.pace.state !== "used_up") return null;
  return make("div", "gate passing", make("strong", "", words.appGate), make("p", "", say(words.usedUp, calls.budget.toLocaleString(words.lang))),
    make("p", "quiet", countdown(calls.pace.until, words.again, words.turn)));
}

const laneOf = (view, mapping) => view.status.lanes.find((lane) => lane.spreadsheet === view.feeds[mapping]);

function showGates(view) {
  const gates = [pace(view.status.calls)].filter(Boolean);
  if (view.status.running && !view.status.running.ready) gates.push(make("p", "note", words.comparing));
  if (view.status.degraded) gates.push(make("p", "note", view.status.degraded));
  if (view.status.gate && view.status.calls?.pace.state !== "used_up") gates.push(gate(words.appGate, view.status.gate));
  for (const lane of view.status.lanes) {
    const names = Object.keys(view.feeds).filter((name) => view.feeds[name] === lane.spreadsheet);
    const title = say(words.laneGate, `${names.join(", ")} (${lane.spreadsheet.replace("…", "…\u2060")})`);
    if (lane.gate) gates.push(gate(title, { ...lane.gate, until: last(lane.gate, view.status.gate).until }));
    else if (lane.state.state === "sending") gates.push(make("p", "note sending", say(words.sending, `${lane.state.file} → ${lane.state.slot}`)));
  }
  byId("gates").replaceChildren(...gates);
}

const source = (cell) => `/api/pictures/${cell.hash}`;

function instead(cell) {
  if (cell.picture === "format") return say(words.format, cell.format);
  if (cell.picture === "large") return words.large;
  return words.changed;
}

function fill(card, cell) {
  card.replaceChildren();
  delete card.dataset.failed;
  const frame = make("div", "frame");
  if (cell.picture === "here") {
    const picture = make("img");
    Object.assign(picture, { alt: "", loading: "lazy", decoding: "async", src: source(cell) });
    picture.addEventListener("error", () => {
      picture.replaceWith(make("span", "plain", words.unknownFormat));
      card.dataset.failed = "";
    });
    const button = make("button", "", picture);
    button.type = "button";
    button.setAttribute("aria-label", `${cell.cell}: ${cell.file}`);
    button.addEventListener("click", () => open(cell));
    frame.append(button);
  } else {
    frame.append(make("span", "plain", instead(cell)));
  }
  const file = make("span", "file", cell.file);
  file.title = cell.file;
  const revision = cell.revision === null ? null : make("span", "revision", say(words.revision, cell.revision));
  card.append(frame, make("div", "facts", make("strong", "", cell.cell), revision, file, when(cell.at)));
}

// `away`: its folder is waited for. A picture that could not be had is asked for again when that is over.
function card(cell, away) {
  const key = `${cell.mapping}\n${cell.slot}`;
  const says = JSON.stringify([cell, words.lang]);
  let known = cards.get(key);
  if (!known) {
    known = { element: make("li", "card"), says: "", hash: cell.hash, at: cell.at };
    known.element.addEventListener("animationend", (event) => {
      if (event.target === known.element) known.element.classList.remove("fresh");
    });
    if (shown) known.element.classList.add("fresh");
    cards.set(key, known);
  }
  known.element.dataset.cell = cell.cell;
  const back = known.away && !away && "failed" in known.element.dataset;
  if (says !== known.says || back) fill(known.element, cell);
  if (cell.at !== known.at) {
    known.element.classList.remove("fresh");
    void known.element.offsetWidth; // Starts the animation anew.
    known.element.classList.add("fresh");
  }
  Object.assign(known, { says, away, at: cell.at, seen: true });
  return known.element;
}

function open(cell) {
  byId("viewer-image").src = source(cell);
  byId("viewer-name").textContent = `${cell.mapping} · ${cell.cell}: ${cell.file}`;
  const facts = [cell.format, cell.revision === null ? "" : say(words.revision, cell.revision), new Date(cell.at).toLocaleString(words.lang), `BLAKE3 ${cell.hash}`];
  byId("viewer-facts").textContent = facts.filter(Boolean).join(" · ");
  byId("viewer").showModal();
}

function showMappings(view) {
  for (const known of cards.values()) known.seen = false;
  const before = new Map([...byId("mappings").children].map((section) => [section.dataset.mapping, section]));
  const sections = view.status.mappings.map((mapping) => {
    const section = before.get(mapping.name) ?? make("section", "mapping", make("header"), make("p", "note"), make("ul", "cells"));
    section.dataset.mapping = mapping.name;
    const [head, note, list] = section.children;
    const state = mapping.folder ? mapping.state && words.folder[mapping.state.state] : words.unconfigured;
    const missing = ["missing", "stuck"].includes(mapping.state?.state);
    const badge = make("span", missing || !mapping.folder ? "badge bad" : "badge", state);
    badge.title = [mapping.state?.why, mapping.state?.unseen].filter(Boolean).join("; ");
    const numbers = Object.keys(words.counts).filter((name) => mapping[name]).map((name) => `${mapping[name].toLocaleString(words.lang)} ${words.counts[name]}`);
    head.replaceChildren(
      make("h2", "", mapping.name), badge,
      make("span", "quiet", [count(words.images, mapping.images), ...numbers].join(" · ")),
      make("code", "quiet", mapping.folder), make("code", "quiet", view.feeds[mapping.name] ?? ""));
    const cells = view.cells.filter((cell) => cell.mapping === mapping.name);
    place(list, cells.map((cell) => card(cell, missing)));
    note.hidden = cells.length > 0 && !missing;
    // Nothing more is to be dropped where pictures wait already, nor where nobody looks any more.
    const idle = mapping.images > 0 || !mapping.folder;
    note.textContent = missing ? say(words.missing, mapping.state.why) : idle ? words.none : say(words.empty, mapping.folder);
    return section;
  });
  place(byId("mappings"), sections);
  for (const [key, known] of cards) if (!known.seen) cards.delete(key);
}

function list(title, items, more, line) {
  if (items.length === 0) return null;
  return make("section", "list",
    make("h2", "", `${title} `, make("span", "quiet", (items.length + more).toLocaleString(words.lang))),
    make("ol", "", ...items.map(line)),
    more ? make("p", "note", say(words.more, more.toLocaleString(words.lang))) : null);
}

const where = (item) => make("div", "where", make("strong", "", item.file), make("span", "quiet", [item.mapping, item.slot].filter(Boolean).join(" · ")));

function showLists(view) {
  const sum = (name) => view.status.mappings.reduce((total, mapping) => total + mapping[name], 0);
  const { parked, refused } = view.status;
  byId("lists").replaceChildren(...[
    list(words.parkedTitle, parked, view.status.totals.parked - parked.length, (job) => {
      const told = [job.code === null ? "" : say(words.code, job.code), job.log_id ? say(words.logid, job.log_id) : "", job.attempts ? count(words.attempts, job.attempts) : "", say(words.since, when(job.since).textContent), words.release[job.until]];
      return make("li", "bad", where(job), make("p", "", job.reason), make("p", "quiet", told.filter(Boolean).join(" · ")));
    }),
    list(words.refusedTitle, refused, sum("rejected") + sum("held") - refused.length, (file) =>
      make("li", "", where(file), make("p", "", file.reason), make("p", "quiet", words[file.verdict], " · ", say(words.since, when(file.since).textContent)))),
    list(words.waitingTitle, view.waiting, view.more_waiting, (job) => {
      const closed = last(view.status.gate, laneOf(view, job.mapping)?.gate);
      const turn = closed ? countdown(closed.until, words.nextTry, words.tryNow) : countdown(job.due, words.due, words.turn);
      return make("li", "", where(job), make("p", "quiet", job.due === null ? words.looked : turn, " · ",
        job.attempts ? `${count(words.attempts, job.attempts)} · ` : "", say(words.since, when(job.since).textContent)));
    }),
    view.more_cells ? make("p", "note", say(words.moreCells, view.more_cells.toLocaleString(words.lang))) : null,
  ].filter(Boolean));
}

function show(view) {
  showCounts(view);
  showGates(view);
  showMappings(view);
  showLists(view);
  const daemon = view.status.running;
  byId("about").textContent = daemon ? say(words.about, daemon.version, when(daemon.since).textContent, daemon.pid) : "";
  shown = view;
}

let state = "connecting";

function live(next) {
  state = next;
  byId("live").textContent = words[state];
  byId("live").className = `live ${state}`;
}

function speak() {
  document.documentElement.lang = words.lang;
  byId("language").textContent = words.language;
  byId("close").setAttribute("aria-label", words.close);
  live(state);
  if (shown) show(shown);
}

let busy = false;
let stale = false;

// One request at a time; changes meanwhile ask for one more.
async function refresh() {
  stale = true;
  if (busy) return;
  busy = true;
  try {
    while (stale) {
      stale = false;
      const answer = await fetch("/api/view");
      const told = Date.parse(answer.headers.get("date"));
      // To the second: less than that is no difference.
      if (Math.abs(told - Date.now()) > 2000) ahead = told - Date.now();
      if (answer.ok) show(await answer.json());
    }
  } catch {
    // The event stream notices as well, and its return starts the next refresh.
  } finally {
    busy = false;
  }
}

byId("language").addEventListener("click", () => {
  const next = words === WORDS.en ? "zh" : "en";
  localStorage.setItem("language", next);
  words = WORDS[next];
  speak();
});

setInterval(() => document.querySelectorAll(".countdown").forEach(tell), 1000);
speak();

const PAUSE = [1000, 30_000]; // Between two attempts to follow, at first and at most, in milliseconds.
let pause = PAUSE[0];

function follow() {
  const events = new EventSource("/api/events");
  events.onopen = () => {
    pause = PAUSE[0];
    live("live");
  };
  events.onerror = () => {
    live("lost");
    // A lost connection is made anew by the browser; an answer that is an error, as a proxy's, ends it for good.
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(follow, pause);
    pause = Math.min(2 * pause, PAUSE[1]);
  };
  events.addEventListener("view", refresh);
}

// Not left to the first event: a proxy may keep it back.
refresh();
follow();
