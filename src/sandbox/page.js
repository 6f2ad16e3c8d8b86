// The sandbox's page: shows the state and follows its changes. Reads only; all text from outside
// goes in as text, never as markup.
"use strict";

const LEAST = 8; // Rows and columns shown at least.
const MOST_ROWS = 300; // Rows shown at most; the rest is counted.
const MOST_COLUMNS = 60; // As above.
const GAP = 3; // Shorter runs of empty rows or columns are shown as they are.
const CALLS = 12; // Calls in the list.

const byId = (id) => document.getElementById(id);
const sheets = new Map(); // What is on the page, by document and sheet.
let pageShape = "";
let first = true;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function letters(column) {
  let text = "";
  for (let rest = column; rest > 0; rest = Math.floor((rest - 1) / 26)) {
    text = String.fromCharCode(65 + ((rest - 1) % 26)) + text;
  }
  return text;
}

function place(cell) {
  const [, column, row] = /^([A-Z]+)(\d+)$/.exec(cell);
  let number = 0;
  for (const letter of column) number = number * 26 + letter.charCodeAt(0) - 64;
  return [number, Number(row)];
}

// The numbers to show of 1..total: the first ones and those in use with a margin; null is a gap.
function shown(used, total, most) {
  const wanted = new Set();
  for (let n = 1; n <= LEAST; n++) wanted.add(n);
  for (const n of used) for (const m of [n - 1, n, n + 1]) wanted.add(m);
  const sorted = [...wanted].filter((n) => n >= 1 && n <= total).sort((a, b) => a - b);
  const list = [];
  for (const n of sorted.slice(0, most)) {
    const last = list.length ? list[list.length - 1] : 0;
    if (n - last - 1 > GAP) list.push(null);
    else for (let m = last + 1; m < n; m++) list.push(m);
    list.push(n);
  }
  return { list, more: Math.max(0, sorted.length - most) };
}

const bytes = (n) =>
  n < 1024 ? `${n} bytes` : n < 1048576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1048576).toFixed(1)} MiB`;

function facts(image) {
  const size = image.width ? `${image.width} × ${image.height}, ` : "";
  const when = new Date(image.written_ms).toLocaleString();
  return `${image.format.toUpperCase()}, ${size}${bytes(image.length)}, revision ${image.revision}, ${when}, BLAKE3 ${image.blake3}`;
}

function source(key, cell, image) {
  const [spreadsheet, sheet] = key.split("/").map(encodeURIComponent);
  return `/_sandbox/cells/${spreadsheet}/${sheet}/${cell}/image?of=${image.file_token}`;
}

function plain(image) {
  return make("span", "plain", image.format.toUpperCase());
}

function openViewer(key, cell, image) {
  const picture = byId("viewer-image");
  picture.hidden = false;
  picture.onerror = () => { picture.hidden = true; };
  picture.src = source(key, cell, image);
  picture.alt = image.name;
  byId("viewer-name").textContent = `${cell}: ${image.name}`;
  byId("viewer-facts").textContent = facts(image);
  byId("viewer").showModal();
}

function fill(td, key, name, cell) {
  td.replaceChildren();
  if (!cell) return;
  if (cell.kind === "value") {
    td.append(make("span", "value", String(cell.value)));
    return;
  }
  const button = make("button");
  button.type = "button";
  button.title = `${name}: ${cell.name}, revision ${cell.revision}`;
  button.addEventListener("click", () => openViewer(key, name, cell));
  const picture = make("img");
  picture.alt = "";
  picture.loading = "lazy";
  picture.decoding = "async";
  // A format that the browser cannot show, or bytes that made room.
  picture.addEventListener("error", () => picture.replaceWith(plain(cell)));
  picture.src = source(key, name, cell);
  button.append(picture, make("span", "name", cell.name), make("span", "revision", `r${cell.revision}`));
  td.append(button);
}

function glow(td) {
  td.classList.remove("fresh");
  void td.offsetWidth; // Starts the animation anew.
  td.classList.add("fresh");
}

// The glow ends with its animation: a cell that is moved later does not glow again.
function freshCell() {
  const td = make("td");
  td.addEventListener("animationend", (event) => {
    if (event.target === td) td.classList.remove("fresh");
  });
  return td;
}

class SheetView {
  constructor(key) {
    this.key = key;
    this.cells = new Map(); // Cell name to its element and what it shows.
    this.shape = "";
    this.element = make("section", "sheet");
    this.heading = make("h3");
    this.title = make("span");
    this.about = make("span", "quiet");
    this.heading.append(this.title, this.about);
    this.table = make("table");
    this.scroll = make("div", "scroll");
    this.scroll.tabIndex = 0;
    this.scroll.append(this.table);
    this.frame = make("div", "frame");
    this.frame.append(this.scroll);
    this.hint = make("p", "hint");
    this.frame.append(this.hint);
    this.note = make("p", "note");
    this.element.append(this.heading, this.frame, this.note);
  }

  update(sheet, hint) {
    const names = Object.keys(sheet.cells);
    const pictures = names.filter((name) => sheet.cells[name].kind === "image").length;
    this.title.textContent = sheet.title;
    const count = pictures === 1 ? "1 picture" : `${pictures} pictures`;
    const hidden = sheet.hidden ? ", hidden" : "";
    const grid = sheet.resource_type === "sheet" ? `, revision ${sheet.revision}, ${count}` : "";
    this.about.textContent = sheet.id + grid + hidden;
    this.hint.hidden = !hint;
    this.hint.textContent = hint;
    this.scroll.setAttribute("aria-label", `Cells of ${sheet.title}`);
    if (sheet.resource_type !== "sheet") {
      this.frame.hidden = true;
      this.note.hidden = false;
      this.note.textContent = `A ${sheet.resource_type}, which has no grid.`;
      return;
    }
    this.frame.hidden = false;

    const places = names.map(place);
    const columns = shown(places.map(([column]) => column), sheet.columns, MOST_COLUMNS);
    const rows = shown(places.map(([, row]) => row), sheet.rows, MOST_ROWS);
    this.note.hidden = !rows.more && !columns.more;
    this.note.textContent = `${rows.more} further rows and ${columns.more} further columns are in use.`;
    const shape = `${columns.list}|${rows.list}`;
    if (shape !== this.shape) this.lay(columns.list, rows.list);
    this.shape = shape;

    for (const [name, known] of this.cells) {
      const cell = sheet.cells[name];
      const says = cell ? cell.file_token ?? `=${JSON.stringify(cell.value)}` : "";
      if (says === known.says) continue;
      known.says = says;
      fill(known.td, this.key, name, cell);
      if (cell && !first) glow(known.td);
    }
  }

  // Lays the table anew; cells that stay keep their element, so that pictures do not flicker.
  lay(columns, rows) {
    const before = this.cells;
    this.cells = new Map();
    const head = make("tr");
    head.append(make("th", "corner"));
    for (const column of columns) {
      head.append(column === null ? make("th", "gap", "⋯") : make("th", "", letters(column)));
    }
    const body = make("tbody");
    for (const row of rows) {
      const line = make("tr", row === null ? "gap" : "");
      line.append(make("th", "", row === null ? "⋮" : row));
      for (const column of columns) {
        if (row === null || column === null) {
          line.append(make("td", "gap"));
          continue;
        }
        const name = letters(column) + row;
        const known = before.get(name) ?? { td: freshCell(), says: "" };
        this.cells.set(name, known);
        line.append(known.td);
      }
      body.append(line);
    }
    const top = make("thead");
    top.append(head);
    this.table.replaceChildren(top, body);
  }
}

function badge(document) {
  if (document.deleted) return "deleted";
  return { view: "read only", none: "no permission" }[document.permission];
}

// Builds the page anew when documents or sheets come, go or are renamed; elements that are put in
// again would lose their scroll position and start their animations again.
function layDocuments(documents) {
  const shape = JSON.stringify(documents.map((d) => [d.token, d.title, badge(d), d.sheets.map((s) => s.id)]));
  if (shape === pageShape) return;
  pageShape = shape;
  const before = new Map(sheets);
  sheets.clear();
  const sections = documents.map((spreadsheet) => {
    const section = make("section", "document");
    const heading = make("h2", "", spreadsheet.title);
    if (spreadsheet.title !== spreadsheet.token) heading.append(make("code", "quiet", spreadsheet.token));
    if (badge(spreadsheet)) heading.append(make("span", "badge", badge(spreadsheet)));
    section.append(heading);
    for (const sheet of spreadsheet.sheets) {
      const key = `${spreadsheet.token}/${sheet.id}`;
      const view = before.get(key) ?? new SheetView(key);
      sheets.set(key, view);
      section.append(view.element);
    }
    return section;
  });
  if (sections.length === 0) sections.push(make("p", "note", "There are no documents yet."));
  byId("documents").replaceChildren(...sections);
}

function show(state) {
  const documents = Object.values(state.documents);
  layDocuments(documents);
  const cells = documents.flatMap((d) => d.sheets).flatMap((s) => Object.values(s.cells));
  let hint = cells.length === 0 ? state.hint : "";
  for (const spreadsheet of documents) {
    for (const sheet of spreadsheet.sheets) {
      sheets.get(`${spreadsheet.token}/${sheet.id}`).update(sheet, hint);
      if (sheet.resource_type === "sheet") hint = "";
    }
  }

  const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
  const failures = sum(state.answers_by_code) - (state.answers_by_code[0] ?? 0) + state.cuts;
  const put = (id, number) => { byId(id).textContent = number.toLocaleString(); };
  put("pictures", cells.filter((cell) => cell.kind === "image").length);
  put("calls", sum(state.calls_by_endpoint));
  put("failures", failures);
  put("overlaps", state.overlaps);
  byId("failures-box").classList.toggle("bad", failures > 0);
  byId("overlaps-box").classList.toggle("bad", state.overlaps > 0);
  byId("overlaps-box").hidden = state.overlaps === 0;

  byId("log").replaceChildren(
    ...[...state.calls].reverse().map((call) => {
      const good = call.code === 0 || (call.code === null && call.status === 200);
      const end = call.code ?? call.status ?? call.outcome;
      const took = `${call.ended_ms - call.started_ms} ms`;
      const what = [end, call.endpoint, call.spreadsheet, call.range, took].filter((x) => x !== null && x !== undefined);
      return make("li", good ? "" : "bad", what.join("  "));
    }),
  );
  first = false;
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
      const answer = await fetch(`/_sandbox/state?calls=${CALLS}`);
      if (answer.ok) show(await answer.json());
    }
  } catch {
    // The event stream notices as well, and its return starts the next refresh.
  } finally {
    busy = false;
  }
}

function live(text, className) {
  byId("live").textContent = text;
  byId("live").className = `live ${className}`;
}

const events = new EventSource("/_sandbox/events");
events.onopen = () => live("live", "on");
events.onerror = () => live("not connected", "off");
events.onmessage = refresh;
