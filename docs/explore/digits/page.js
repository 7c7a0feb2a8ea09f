(() => {
"use strict";
// Elements, notices and small controls. Text always goes through text nodes, never through HTML.

let pending = 0;
let progressTimer = 0;
let noticeTimer = 0;
let lastId = 0;

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// el("div.card.wide", {id: "x", onclick: f}, "text", otherElement)
function el(spec, attributes = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return fill(node, attributes, children);
}

function svgEl(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

// A small grey text that explains.
function note(text) {
  return el("p.quiet.small", {}, text);
}

function figure(image, caption) {
  return el("figure", {}, image, el("figcaption", {}, caption));
}

function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

function uniqueId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

// Replace what is in a node, and give the keyboard focus to the control that was at the same position.
function refill(node, ...children) {
  const controls = () => [...node.querySelectorAll("button, select, input, a")];
  const position = controls().indexOf(document.activeElement);
  node.replaceChildren(...children);
  if (position >= 0) controls().at(Math.min(position, controls().length - 1))?.focus({ preventScroll: true });
}

// A text that explains a control. It appears on hover and on keyboard focus, and Escape hides it.
function help(about, text) {
  const id = uniqueId("tip");
  const tip = el("span.tip", { id, role: "tooltip" }, text);
  const mark = el("button.help", { type: "button", "aria-label": `About ${about}`, "aria-describedby": id }, "?");
  const holder = el("span.help-holder", {}, mark, tip);
  holder.addEventListener("keydown", (event) => event.key === "Escape" && holder.classList.add("closed"));
  mark.addEventListener("blur", () => holder.classList.remove("closed"));
  holder.addEventListener("pointerenter", () => holder.classList.remove("closed"));
  return holder;
}

function field(title, control, tip = null) {
  control.id ||= uniqueId("field");
  return el("div.field", {}, el("div.field-title", {}, el("label", { for: control.id }, title), tip), control);
}

// options: [[value, text], …] or plain values.
function select(options, value, onchange, attributes = {}) {
  const items = options.map((one) => [one].flat()).map(([key, text = key]) => el("option", { value: key }, text));
  const node = el("select", { onchange: () => onchange(node.value), ...attributes }, items);
  node.value = value;
  return node;
}

// A slider with its value beside it. `node` holds both, `set` moves it without an event.
function slider({ title, min, max, step, value, format = String, oninput, onchange = () => {}, tip = null }) {
  const output = el("output.value", {}, format(value));
  const input = el("input", { type: "range", min, max, step, value });
  const say = () => {
    output.textContent = format(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => (say(), oninput(Number(input.value))));
  input.addEventListener("change", () => onchange(Number(input.value)));
  const node = field(title, input, el("span.field-end", {}, tip, output));
  const set = (number) => ((input.value = number), say());
  say();
  return { node, input, set };
}

function startWork() {
  pending += 1;
  if (!progressTimer) {
    progressTimer = setTimeout(() => (document.getElementById("progress").hidden = pending === 0), 180);
  }
}

function endWork() {
  pending -= 1;
  if (pending > 0) return;
  clearTimeout(progressTimer);
  progressTimer = 0;
  document.getElementById("progress").hidden = true;
}

function clearNotice() {
  document.getElementById("notice").replaceChildren();
}

// Show one sentence in the live region.
function notice(text, kind = "news") {
  const node = document.getElementById("notice");
  clearTimeout(noticeTimer);
  const close = button("×", () => node.replaceChildren(), { "aria-label": "Close this message" });
  node.replaceChildren(el(`p.${kind}`, {}, el("span", {}, text), close));
  noticeTimer = setTimeout(() => node.replaceChildren(), kind === "error" ? 12000 : 3500);
}

// Run `work`; mark `node` as busy; show an error as a sentence. An aborted request is silent.
async function guarded(node, work) {
  const turn = (Number(node.dataset.turn) || 0) + 1;
  node.dataset.turn = turn;
  node.setAttribute("aria-busy", "true");
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") notice(error.message, "error");
    return null;
  } finally {
    if (Number(node.dataset.turn) === turn) node.removeAttribute("aria-busy");
  }
}

function calmMotion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// All state of the page is in the part of the address after "#". So a view can be bookmarked and shared.

const DEFAULTS = {
  tab: "map", layout: "pca", view: "0,0,1", seed: "0", psi: "1", toward: "mean", closed: "0", frame: "0",
};

// What all modules share: the answer of api/model.
const app = { model: null };

let values = new URLSearchParams(location.hash.slice(1));
let timer = 0;

function read(key) {
  const value = values.get(key);
  return value === null ? DEFAULTS[key] ?? "" : value;
}

function readAll(key) {
  return values.getAll(key);
}

function readNumber(key, fallback) {
  const text = read(key);
  const value = Number(text);
  return text !== "" && Number.isFinite(value) ? value : fallback;
}

// A colon and a tilde are allowed after "#". They keep the addresses of codes readable.
function hashText() {
  const text = values.toString().replaceAll("%3A", ":").replaceAll("%7E", "~").replaceAll("%2C", ",");
  return text ? `#${text}` : location.pathname + location.search;
}

function replaceNow() {
  clearTimeout(timer);
  timer = 0;
  history.replaceState(null, "", hashText());
}

// Change values. A list gives several values to one key. `push` makes a new entry for the Back button.
function write(changes, push = false) {
  if (push && timer) replaceNow();
  for (const [key, value] of Object.entries(changes)) {
    values.delete(key);
    if (Array.isArray(value)) value.forEach((one) => values.append(key, one));
    else if (value !== null && String(value) !== DEFAULTS[key]) values.set(key, String(value));
  }
  if (push) {
    history.pushState(null, "", hashText());
  } else if (!timer) {
    timer = setTimeout(replaceNow, 200);
  }
}

// Call `listener` when the user goes back or forward, or edits the address.
function onNavigation(listener) {
  addEventListener("popstate", () => {
    clearTimeout(timer);
    timer = 0;
    values = new URLSearchParams(location.hash.slice(1));
    listener();
  });
  addEventListener("pagehide", () => timer && replaceNow());
}

// Requests to the server, or to the table of recorded answers where there is no server.


const answers = new Map();
const channels = new Map();
const KEPT_ANSWERS = 120;

// One way to write a request. The recorded table has the same text as its keys.
function address(path, params = {}) {
  const search = new URLSearchParams();
  for (const key of Object.keys(params).sort()) {
    for (const value of [params[key]].flat()) {
      if (value !== null && value !== undefined) search.append(key, String(value));
    }
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

function isRecorded() {
  return Boolean(window.recorded);
}

function isAbort(error) {
  return error.name === "AbortError";
}

function fromRecord(url) {
  const answer = window.recorded[url];
  if (answer === undefined) {
    throw new Error("This page has no server, and this picture was not recorded. Run `iglo explore` to see it.");
  }
  return answer;
}

async function checked(response) {
  if (response.ok) return response;
  let sentence = `The server answered with status ${response.status}.`;
  try {
    sentence = (await response.json()).error || sentence;
  } catch {
    // The answer has no sentence, so the status is shown.
  }
  throw new Error(sentence);
}

async function send(url, options) {
  try {
    return await checked(await fetch(url, options));
  } catch (error) {
    if (error instanceof TypeError) throw new Error("The server does not answer. Is `iglo explore` still running?");
    throw error;
  }
}

function newestOf(channel) {
  if (!channel) return new AbortController();
  channels.get(channel)?.abort();
  const controller = new AbortController();
  channels.set(channel, controller);
  return controller;
}

function keep(url, answer) {
  answers.delete(url);
  answers.set(url, answer);
  if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value);
  return answer;
}

// Ask for JSON. A new request on a channel stops the earlier one on the same channel.
async function get(path, params = {}, channel = null) {
  const url = address(path, params);
  const controller = newestOf(channel);
  if (isRecorded()) return fromRecord(url);
  if (answers.has(url)) return keep(url, answers.get(url));
  startWork();
  try {
    const response = await send(url, { signal: controller.signal });
    const answer = await response.json();
    return answer.ready === false ? answer : keep(url, answer);
  } finally {
    endWork();
  }
}

async function post(path, body, channel) {
  const controller = newestOf(channel);
  startWork();
  try {
    const response = await send(path, { method: "POST", body, signal: controller.signal });
    return await response.json();
  } finally {
    endWork();
  }
}

// Post, and call `onLine` with each line of JSON of the answer as it arrives.
async function postStream(url, body, onLine, signal) {
  const response = await send(url, { method: "POST", body, signal });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += decoder.decode(value ?? new Uint8Array(), { stream: !done });
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of done ? [...lines, rest] : lines) {
      if (line.trim()) onLine(JSON.parse(line));
    }
    if (done) return;
  }
}

// While one call runs, only the newest of the calls that wait is kept. Useful for pointers and sliders.
function onlyNewest(work) {
  let running = false;
  let waiting = null;
  return async function run(argument) {
    if (running) {
      waiting = [argument];
      return;
    }
    running = true;
    try {
      await work(argument);
    } finally {
      running = false;
      const next = waiting;
      waiting = null;
      if (next) run(next[0]);
    }
  };
}

// The list of tabs. A tab is {id, title, build(panel), enter()}; it is built when it is first opened.


const registered = [];
let current = null;

function addTabs(tabs) {
  const list = document.getElementById("tabs");
  const panels = document.getElementById("panels");
  for (const tab of tabs) {
    const handle = el("button.tab", {
      type: "button", role: "tab", id: `tab-${tab.id}`, "aria-controls": `panel-${tab.id}`,
      onclick: () => openTab(tab.id),
    }, tab.title);
    const panel = el("section.panel", {
      id: `panel-${tab.id}`, role: "tabpanel", "aria-labelledby": `tab-${tab.id}`, hidden: true,
    });
    registered.push({ ...tab, handle, panel, built: false });
    list.append(handle);
    panels.append(panel);
  }
  list.addEventListener("keydown", moveWithKeys);
}

function moveWithKeys(event) {
  const here = registered.indexOf(current);
  const last = registered.length - 1;
  const targets = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: last };
  if (!(event.key in targets)) return;
  event.preventDefault();
  const next = registered[(targets[event.key] + registered.length) % registered.length];
  openTab(next.id);
  next.handle.focus();
}

function openTab(id, changes = {}) {
  write({ ...changes, tab: id }, read("tab") !== id);
  showTab();
}

// Show the tab that the address names.
function showTab() {
  const next = registered.find((tab) => tab.id === read("tab")) ?? registered[0];
  if (current !== next) {
    current?.leave?.();
    clearNotice();
  }
  current = next;
  for (const tab of registered) {
    const open = tab === next;
    tab.handle.setAttribute("aria-selected", String(open));
    tab.handle.tabIndex = open ? 0 : -1;
    tab.panel.hidden = !open;
  }
  next.handle.scrollIntoView({ block: "nearest", inline: "center" });
  document.title = `${next.title} · ${document.getElementById("model-name").textContent} · iglo`;
  if (!next.built) next.build(next.panel);
  next.built = true;
  next.enter();
}

// Show what the address says again, if this tab is the open one.
function refreshTab(...ids) {
  if (current && ids.includes(current.id)) current.enter();
}

// Pictures that are cells of a sheet: one image file with many small images, row by row.


const loaded = new Map();
const KEPT_SHEETS = 80;

// The image of an address, decoded and ready to draw.
function loadImage(url) {
  if (loaded.has(url)) return loaded.get(url);
  const image = new Image();
  image.src = url;
  const ready = image.decode().then(() => image);
  ready.catch(() => loaded.delete(url));
  loaded.set(url, ready);
  if (loaded.size > KEPT_SHEETS) loaded.delete(loaded.keys().next().value);
  return ready;
}

function cellOf(sheet, index) {
  return [(index % sheet.columns) * sheet.side, Math.floor(index / sheet.columns) * sheet.side];
}

// Draw a cell of a sheet on a canvas of the cell's own size; the style sheet enlarges it.
async function drawCell(canvas, sheet, index) {
  const token = {};
  canvas.token = token;
  const image = await loadImage(sheet.url);
  if (canvas.token !== token) return;
  const [x, y] = cellOf(sheet, index);
  if (canvas.width !== sheet.side) canvas.width = canvas.height = sheet.side;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, sheet.side, sheet.side);
  context.drawImage(image, x, y, sheet.side, sheet.side, 0, 0, sheet.side, sheet.side);
  canvas.classList.add("drawn");
}

function picture({ sheet, index = 0, label, size = 64 }) {
  const canvas = el("canvas.picture", { role: "img", "aria-label": label, width: 8, height: 8 });
  canvas.style.setProperty("--size", `${size}px`);
  if (sheet) {
    canvas.classList.toggle("smooth", sheet.side > size);
    drawCell(canvas, sheet, index).catch(() => canvas.classList.add("missing"));
  }
  return canvas;
}

// An image that can be picked: it is a button, and a click opens it beside the page.
function tile({ ref, sheet, index = 0, label, caption = null, size = 64 }) {
  const pick = () => document.dispatchEvent(new CustomEvent("pick", { detail: { ref, sheet, index } }));
  const node = el("button.tile", { type: "button", "aria-label": label, onclick: pick, "data-ref": ref, title: label });
  const drawn = picture({ sheet, index, label: "", size });
  drawn.setAttribute("aria-hidden", "true");
  node.append(drawn);
  if (caption) node.append(el("bdi.caption", {}, caption));
  if (ref === read("pick")) node.setAttribute("aria-current", "true");
  return node;
}

// Mark the tiles of the picked code.
function markPicked(ref) {
  for (const node of document.querySelectorAll(".tile[data-ref]")) {
    if (node.dataset.ref === ref) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
  }
}

// The points of the map: their thumbnails, and the colours that they get.


const RAMP_STEPS = 12;
let pointsPromise = null;

// The answer of api/points, and a table from the row of a training image to its point.
function loadPoints() {
  pointsPromise ??= get("api/points").then((points) => ({
    ...points, psnr: points.psnr ?? points.row.map(() => null), ofRow: new Map(points.row.map((row, i) => [row, i])),
  }));
  pointsPromise.catch(() => (pointsPromise = null));
  return pointsPromise;
}

function thumbKinds() {
  const kinds = [["renders", "Reconstructions"], ["none", "Dots only"]];
  return app.model.has.images ? [["images", "Training images"], ...kinds] : kinds;
}

// The cell of the thumbnail of point i, as a sheet and an index.
function thumbOf(kind, i) {
  const { side, columns, per_sheet } = app.model.sheets;
  const sheet = { url: `sheets/${kind}/${Math.floor(i / per_sheet)}.png`, side, columns };
  const recordedUrl = window.recorded?.[sheet.url];
  if (recordedUrl) sheet.url = typeof recordedUrl === "string" ? recordedUrl : recordedUrl.url;
  return { sheet, index: i % per_sheet };
}

const readyThumbs = new Map();

// The image of a thumbnail if it is loaded; otherwise null, and `onReady` is called when it is.
function thumbImage(kind, i, onReady) {
  const { sheet, index } = thumbOf(kind, i);
  const known = readyThumbs.get(sheet.url);
  if (known) return known === "loading" ? null : { image: known, sheet, index };
  readyThumbs.set(sheet.url, "loading");
  loadImage(sheet.url).then(
    (image) => (readyThumbs.set(sheet.url, image), onReady()),
    () => readyThumbs.delete(sheet.url),
  );
  return null;
}

function labelText(points, i) {
  const label = points.label[i];
  return app.model.labels[label] ?? "";
}

function colourKinds(points) {
  const kinds = [];
  if (app.model.labels.length) kinds.push(["label", "Label"]);
  if (app.model.subsets > 1) kinds.push(["subset", "Subset, in the order of learning"]);
  if (points.psnr.some((value) => value !== null)) kinds.push(["error", "Training error"]);
  kinds.push(["plain", "One colour"]);
  return kinds;
}

function isDark() {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// Different hues for things without an order. Neighbours in the list also differ in lightness.
function hues(count) {
  const base = isDark() ? 0.74 : 0.62;
  return Array.from({ length: count }, (_, k) => {
    const light = base + (k % 2 ? 0.07 : -0.05);
    return `oklch(${light} 0.16 ${Math.round(25 + (360 * k) / count)})`;
  });
}

// From dark blue over green to yellow, for things with an order.
function ramp(count) {
  const [from, to] = isDark() ? [0.5, 0.9] : [0.36, 0.82];
  return Array.from({ length: count }, (_, k) => {
    const t = count > 1 ? k / (count - 1) : 0.5;
    return `oklch(${(from + (to - from) * t).toFixed(3)} ${(0.13 + 0.03 * t).toFixed(3)} ${Math.round(290 - 200 * t)})`;
  });
}

function errorGroups(points) {
  const known = points.psnr.filter((value) => value !== null).sort((a, b) => a - b);
  const at = (share) => known[Math.round(share * (known.length - 1))];
  const [low, high] = [at(0.02), at(0.98)];
  const width = high - low || 1;
  const group = points.psnr.map((value) => {
    if (value === null) return -1;
    return Math.max(0, Math.min(RAMP_STEPS - 1, Math.floor(((high - value) / width) * RAMP_STEPS)));
  });
  const scale = [`${high.toFixed(1)} dB (small error)`, `${low.toFixed(1)} dB (large error)`];
  return { group, colours: ramp(RAMP_STEPS), scale };
}

// Points without a group get one of their own, in the colour of dots without one.
function withOthers(group, colours, names, other) {
  if (!group.includes(-1)) return { group, colours, names };
  return { group: group.map((k) => (k < 0 ? names.length : k)), colours, names: [...names, other] };
}

// For each point a group, for each group a colour, and what the legend says.
function colouring(points, kind) {
  if (kind === "label") {
    return withOthers(points.label, hues(app.model.labels.length), app.model.labels, "No label");
  }
  if (kind === "subset") {
    const names = Array.from({ length: app.model.subsets }, (_, k) => `Subset ${k + 1}`);
    return withOthers(points.subset.map((subset) => subset - 1), ramp(app.model.subsets), names, "No subset");
  }
  if (kind === "error") return errorGroups(points);
  const colour = isDark() ? "oklch(0.75 0.1 250)" : "oklch(0.55 0.13 250)";
  return { group: points.row.map(() => 0), colours: [colour], names: [] };
}

// The addresses of codes, in words and with changes.


const SIGNIFICANT = 4;

function trainingRef(row) {
  return `t:${row}`;
}

function placeRef(layout, x, y) {
  return `m:${layout}:${Number(x.toFixed(SIGNIFICANT))}:${Number(y.toFixed(SIGNIFICANT))}`;
}

// The row of a training image, or null if the address is something else.
function trainingRow(ref) {
  const match = /^t:(\d+)$/.exec(ref);
  return match ? Number(match[1]) : null;
}

// The place on a map that an address names, or null.
function placeOf(ref) {
  const match = /^m:([a-z]+):(-?[\d.]+):(-?[\d.]+)$/.exec(ref);
  return match ? { layout: match[1], x: Number(match[2]), y: Number(match[3]) } : null;
}

// Amounts: a table from a move to its size, such as {"d:0": 1.5, "l:4:9": 0.5}. The answer: ["d:0:1.5", "l:4:9:0.5"].
function changesOf(amounts) {
  const moved = Object.entries(amounts).map(([move, amount]) => [move, Number(amount.toFixed(3))]);
  return moved.filter(([, amount]) => amount).map(([move, amount]) => `${move}:${amount}`);
}

// The reverse of changesOf. Texts that are no moves are left out.
function amountsOf(changes) {
  const found = changes.map((change) => /^(d:\d+|l:\d+:\d+):(-?[\d.]+)$/.exec(change)).filter(Boolean);
  return Object.fromEntries(found.map(([, move, amount]) => [move, Number(amount)]));
}

function amountText(value) {
  return `${value > 0 ? "+" : ""}${value.toFixed(1)}`;
}

function describeStart(start) {
  const parts = start.split(":");
  if (parts[0] === "t") return `Training image ${parts[1]}`;
  if (parts[0] === "s") return describeSample(parts);
  if (parts[0] === "m") return `Place ${parts[2]}, ${parts[3]} on the map`;
  return "A code";
}

function describeSample([, prior, seed, index, psi, toward]) {
  const truncation = psi ? `, truncation ${psi} toward the ${toward} code` : "";
  return `Sample ${index} of ${priorLabel(prior)}, seed ${seed}${truncation}`;
}

function describeChange(change) {
  const [kind, index, amount, share] = change.split(":");
  if (kind === "l") return `${share} of the way from ${app.model.labels[index]} to ${app.model.labels[amount]}`;
  if (kind === "d") return `direction ${Number(index) + 1}: ${amountText(Number(amount))} std`;
  return `class ${app.model.classes[Number(index)] ?? index}`;
}

function describe(ref) {
  const [start, ...changes] = ref.split("~");
  return [describeStart(start), ...changes.map(describeChange)].join(", ");
}

function priorLabel(name) {
  return app.model.priors.find((prior) => prior.name === name)?.label ?? name;
}

// A letter for each stop of a path: A, B, C, …
function letter(index) {
  return index < 26 ? String.fromCharCode(65 + index) : String(index + 1);
}

// The stops of a path: A, B and more. They are in the address of the page, so they outlive a reload.


function stops() {
  return readAll("stop");
}

function setStops(list) {
  write({ stop: list, frame: 0 });
  document.dispatchEvent(new CustomEvent("stops"));
}

function useAs(position, ref) {
  const list = stops();
  const at = Math.min(position, list.length);
  list[at] = ref;
  setStops(list);
  notice(`This image is ${letter(at)} in Interpolate.`);
}

function addStop(ref) {
  const list = stops();
  if (list.length >= app.model.limits.stops) {
    notice(`A path has at most ${app.model.limits.stops} stops.`, "error");
    return;
  }
  setStops([...list, ref]);
  notice(`This image is stop ${letter(list.length)} in Interpolate.`);
}

// The panel beside each tab: the picked image, what the user can do with it, and its nearest training images.


const COPY = 0.5;
const NEARER = 0.8;
const FAR = 1.3;
const HINTS = [
  "Click any image to see it here, with its nearest training images.",
  "Click between the points of the map to decode that place.",
  "With the keyboard: press Enter on the map.",
];

// One sentence on whether an image looks like a copy of its nearest training image.
function copySentence(near, ref) {
  const [nearest] = near.neighbours;
  if (!nearest) return "";
  const ratio = nearest.distance / near.typical;
  const [distance, typical] = [nearest.distance, near.typical].map((value) => value.toFixed(3));
  const between = `Training images have a median distance of ${typical} to the nearest other one.`;
  const say = (words) => `${words} Distance ${distance}. ${between}`;
  if (trainingRow(ref) === nearest.row) return say("This is the reconstruction of a training image.");
  if (ratio < COPY) return say("This looks like a copy of a training image.");
  if (ratio < NEARER) return say("This is nearer to a training image than training images usually are.");
  if (ratio < FAR) return say("This is not a copy: training images are about as far from each other.");
  return say("This is not a copy: it is farther from training images than they are from each other.");
}

function nearList(near) {
  const items = near.neighbours.map((one, index) => el("li", {},
    tile({
      ref: trainingRef(one.row), sheet: near.sheet, index, size: 72,
      label: `Nearest training image ${index + 1}: ${one.name}, distance ${one.distance.toFixed(3)}`,
    }),
    el("span.number", {}, one.distance.toFixed(3)),
    one.label && el("bdi.quiet.small", {}, String(one.label))));
  return el("ol.near", {}, items);
}

function actions(ref) {
  const list = [];
  const recorded = app.model.recorded;
  if (!recorded) {
    list.push(button("Use as A", () => useAs(0, ref)), button("Use as B", () => useAs(1, ref)));
    list.push(button("Add stop", () => addStop(ref)));
  }
  const base = !recorded || recorded.rows.includes(trainingRow(ref));
  if (base) list.push(button("Directions", () => openTab("directions", { base: ref, move: null })));
  if (base && app.model.classes.length) list.push(button("All classes", () => openTab("classes", { content: ref })));
  return el("div.actions", { role: "group", "aria-label": "Use this image" }, list);
}

// The training image itself, its name and its label. The map may have no point of it.
async function drawTraining(row, holder) {
  const points = await loadPoints();
  const i = points.ofRow.get(row);
  const answer = isRecorded() ? null : await get("api/training", { row });
  if (app.model.has.images) {
    const source = answer ? { sheet: answer, index: 0 } : thumbOf("images", i);
    const original = picture({ ...source, label: `Training image ${row}`, size: 128 });
    holder.pictures.prepend(figure(original, "Image"));
  }
  const label = answer ? answer.labels[0] : labelText(points, i);
  const psnr = points.psnr[i] ?? null;
  holder.facts.replaceChildren(el("bdi", {}, answer ? answer.names[0] : points.name[i]),
    label ? el("span", {}, " · label ", el("bdi", {}, label)) : "", psnr === null ? "" : ` · ${psnr.toFixed(1)} dB`);
}

async function drawNear(ref, holder) {
  try {
    const near = await get("api/near", { ref }, "near");
    holder.near.replaceChildren(el("h3", {}, "Nearest training images"), nearList(near),
      el("p.small", {}, copySentence(near, ref)));
  } catch (error) {
    if (error.name === "AbortError") return;
    const sentence = isRecorded() ? "The nearest training images were not recorded." : error.message;
    holder.near.replaceChildren(note(sentence));
  }
}

function emptyPanel(panel) {
  panel.classList.remove("open");
  panel.replaceChildren(el("div.hint", {}, HINTS.map(note)));
  drawBasket(panel);
}

// Where the picture of a code is. Without a server a place has the picture of the nearest place of a grid.
async function pictureOf(ref) {
  if (!isRecorded()) return { sheet: await get("api/decode", { ref }, "picked"), index: 0 };
  const place = placeOf(ref);
  if (place) {
    const { grid } = app.model.recorded;
    const step = (value) => Math.max(0, Math.min(grid - 1, Math.floor(((value + 1) / 2) * grid)));
    const sheet = await get("api/grid", { layout: place.layout });
    return { sheet, index: (grid - 1 - step(place.y)) * grid + step(place.x) };
  }
  const i = (await loadPoints()).ofRow.get(trainingRow(ref));
  if (i !== undefined) return thumbOf("renders", i);
  const [kind, prior, seed, index] = ref.split(":");
  if (kind === "s") {
    const { count, psis, toward } = app.model.recorded;
    return { sheet: await get("api/samples", { prior, seed, count, psi: psis[0], toward }), index: Number(index) };
  }
  return { sheet: await get("api/decode", { ref }), index: 0 };
}

// Show a code. `source` is a sheet that has its picture already; without it the server decodes it.
async function inspect(ref, source = null) {
  const panel = document.getElementById("inspector");
  write({ pick: ref || null });
  markPicked(ref);
  if (!ref) return emptyPanel(panel);
  const row = trainingRow(ref);
  const hadFocus = panel.contains(document.activeElement);
  const title = el("h2", { tabindex: -1 }, describe(ref));
  const holder = { pictures: el("div.pictures"), facts: el("p.small.quiet"), near: el("div.near-holder") };
  panel.classList.add("open");
  panel.replaceChildren(
    el("div.inspector-head", {}, title,
      button("×", () => inspect(""), { class: "close", "aria-label": "Close the picked image" })),
    holder.pictures, holder.facts, actions(ref), holder.near);
  drawBasket(panel);
  document.getElementById("spoken").textContent = `Picked: ${describe(ref)}`;
  if (hadFocus) title.focus();
  await guarded(panel, async () => {
    const decoded = source ?? await pictureOf(ref);
    if (read("pick") !== ref) return;
    const image = picture({ ...decoded, label: describe(ref), size: 128 });
    holder.pictures.append(figure(image, row === null ? "Decoded" : "Reconstruction"));
    if (row !== null) await drawTraining(row, holder);
    await drawNear(ref, holder);
  });
}

// The stops that are chosen so far, with a way to Interpolate.
async function drawBasket(panel) {
  panel.querySelector(".basket")?.remove();
  const refs = stops();
  if (!refs.length || isRecorded()) return;
  const list = el("ol.stops-small");
  const box = el("div.basket", {}, el("h3", {}, "Stops of the path"), list,
    el("div.actions", {}, button("Open Interpolate", () => openTab("interpolate"))));
  panel.append(box);
  try {
    const sheet = await get("api/decode", { ref: refs });
    const image = (ref, index) => picture({ sheet, index, label: `${letter(index)}: ${describe(ref)}`, size: 36 });
    const items = refs.map((ref, index) => el("li", {}, image(ref, index), el("span.small", {}, letter(index))));
    list.replaceChildren(...items);
  } catch (error) {
    notice(error.message, "error");
  }
}

function startInspector() {
  document.addEventListener("pick", (event) => {
    const { ref, sheet, index } = event.detail;
    inspect(ref, sheet ? { sheet, index } : null);
  });
  document.addEventListener("stops", () => {
    drawBasket(document.getElementById("inspector"));
    refreshTab("interpolate");
  });
  inspect(read("pick"));
}

// Fast look-ups among the points of a map: which is nearest, which are in view, which get a thumbnail.

const CELLS = 64;

function cellNumber(value) {
  return Math.max(0, Math.min(CELLS - 1, Math.floor(((value + 1) / 2) * CELLS)));
}

class PointIndex {
  constructor(x, y) {
    this.x = x;
    this.y = y;
    this.cells = Array.from({ length: CELLS * CELLS }, () => []);
    for (let i = 0; i < x.length; i++) this.cells[cellNumber(y[i]) * CELLS + cellNumber(x[i])].push(i);
    this.levels = new Map();
  }

  inBox(left, right, low, high) {
    const found = [];
    for (let row = cellNumber(low); row <= cellNumber(high); row++) {
      for (let column = cellNumber(left); column <= cellNumber(right); column++) {
        for (const i of this.cells[row * CELLS + column]) found.push(i);
      }
    }
    return found;
  }

  // The nearest point within `radius`, or -1. `allowed` may leave points out.
  nearest(x, y, radius, allowed = null) {
    let best = -1;
    let bestDistance = radius * radius;
    for (const i of this.inBox(x - radius, x + radius, y - radius, y + radius)) {
      const distance = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
      if (distance <= bestDistance && (!allowed || allowed(i))) {
        best = i;
        bestDistance = distance;
      }
    }
    return best;
  }

  // For each point, whether it has a thumbnail at this level. Thumbnails have at least the distance `spaceOf(level)`.
  // A point that has a thumbnail keeps it at all finer levels. `allowed` may leave points out.
  withThumbs(level, spaceOf, firstLevel, allowed = null) {
    if (this.levels.has(level)) return this.levels.get(level);
    const coarser = level > firstLevel ? this.withThumbs(level - 1, spaceOf, firstLevel, allowed) : null;
    const space = spaceOf(level);
    const chosen = new Uint8Array(this.x.length);
    const taken = new Map();
    const place = (i, force) => {
      const column = Math.floor(this.x[i] / space);
      const row = Math.floor(this.y[i] / space);
      if (!force && this.isCrowded(taken, i, column, row, space)) return;
      chosen[i] = 1;
      const key = `${column},${row}`;
      if (taken.has(key)) taken.get(key).push(i);
      else taken.set(key, [i]);
    };
    if (coarser) coarser.forEach((has, i) => has && place(i, true));
    for (let i = 0; i < chosen.length; i++) if (!chosen[i] && (!allowed || allowed(i))) place(i, false);
    this.levels.set(level, chosen);
    return chosen;
  }

  isCrowded(taken, i, column, row, space) {
    for (let dr = -1; dr <= 1; dr++) {
      for (let dc = -1; dc <= 1; dc++) {
        for (const j of taken.get(`${column + dc},${row + dr}`) ?? []) {
          if (Math.max(Math.abs(this.x[i] - this.x[j]), Math.abs(this.y[i] - this.y[j])) < space) return true;
        }
      }
    }
    return false;
  }
}

// What is drawn on a map in the colours of the theme: dots, the ring around the picked place, the cross-hair.

function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A dot of one colour with a thin border, drawn once and then copied.
function dotSprite(colour, radius, ratio, border) {
  const sprite = document.createElement("canvas");
  const size = Math.ceil((radius + 1) * 2 * ratio);
  sprite.width = sprite.height = size;
  const context = sprite.getContext("2d");
  context.beginPath();
  context.arc(size / 2, size / 2, radius * ratio, 0, Math.PI * 2);
  context.fillStyle = colour;
  context.fill();
  if (radius > 2.5) {
    context.strokeStyle = border;
    context.lineWidth = ratio * 0.75;
    context.stroke();
  }
  return sprite;
}

// A line of the colour of the ink with a border of the colour of the paper.
function strokeTwice(context, wide, narrow, trace) {
  for (const [width, colour] of [[wide, "--paper"], [narrow, "--ink"]]) {
    context.lineWidth = width;
    context.strokeStyle = cssColour(colour);
    context.beginPath();
    trace();
    context.stroke();
  }
}

function drawRing(context, x, y) {
  strokeTwice(context, 5, 2, () => context.arc(x, y, 9, 0, Math.PI * 2));
}

function drawCross(context, x, y) {
  strokeTwice(context, 4, 1.5, () => {
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * 5, y + dy * 5);
      context.lineTo(x + dx * 16, y + dy * 16);
    }
  });
}

// Draws the map on a canvas: shade, points, thumbnails, marks. It knows nothing of the server.


const FIRST_THUMB_ZOOM = 2;
const MARGIN = 0.94;
const MAX_ZOOM = 60;

class MapCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.view = { x: 0, y: 0, zoom: 1 };
    this.index = this.group = this.visible = this.thumb = null;
    this.colours = [];
    this.marks = [];
    this.crosshair = false;
    this.pending = 0;
    this.sprites = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.restyle());
  }

  restyle() {
    this.sprites.clear();
    this.shadePicture = null;
    this.draw();
  }

  resize() {
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.index?.levels.clear();
    this.draw();
  }

  setPoints(x, y, shade) {
    this.index = new PointIndex(x, y);
    this.shade = shade;
    this.shadePicture = null;
    this.draw();
  }

  setColours(group, colours) {
    this.group = group;
    this.colours = colours;
    this.sprites.clear();
    this.draw();
  }

  // `visible` says of a point whether it is shown. Null: all points are.
  setVisible(visible) {
    this.visible = visible;
    this.index?.levels.clear();
    this.draw();
  }

  get scale() {
    return (this.view.zoom * Math.min(this.width, this.height) * MARGIN) / 2;
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.view.x) * this.scale, this.height / 2 - (y - this.view.y) * this.scale];
  }

  toMap(sx, sy) {
    return [this.view.x + (sx - this.width / 2) / this.scale, this.view.y - (sy - this.height / 2) / this.scale];
  }

  // Several changes in one frame are drawn once. A move alone keeps the layer of dots.
  draw(onlyMoved = false) {
    if (!onlyMoved) this.layer = null;
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0;
      if (this.width) this.paint();
    });
  }

  paint() {
    const context = this.canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = cssColour("--back");
    context.fillRect(0, 0, this.width, this.height);
    if (!this.index) return;
    this.paintShade(context);
    this.paintDots(context);
    this.paintThumbs(context);
    this.paintMarks(context);
  }

  // The points in view, and in a margin around it.
  inView(margin) {
    const [left, high] = this.toMap(-margin, -margin);
    const [right, low] = this.toMap(this.width + margin, this.height + margin);
    const found = this.index.inBox(left, right, low, high);
    return this.visible ? found.filter(this.visible) : found;
  }

  // The shade is a grey picture. Here it becomes a mix of two colours of the theme.
  mixShade() {
    const { image } = this.shade;
    const mixed = document.createElement("canvas");
    mixed.width = image.naturalWidth;
    mixed.height = image.naturalHeight;
    const context = mixed.getContext("2d");
    const last = cssColour("--map-is-dark") === "1" ? "lighter" : "difference";
    context.drawImage(image, 0, 0);
    for (const [operation, colour] of [["multiply", "--map-step"], [last, "--map-near"]]) {
      context.globalCompositeOperation = operation;
      context.fillStyle = cssColour(colour);
      context.fillRect(0, 0, mixed.width, mixed.height);
    }
    return mixed;
  }

  paintShade(context) {
    if (!this.shade) return;
    this.shadePicture ??= this.mixShade();
    const [x, y] = this.toScreen(-1, 1);
    context.imageSmoothingEnabled = true;
    context.drawImage(this.shadePicture, x, y, 2 * this.scale, 2 * this.scale);
    context.strokeStyle = cssColour("--line");
    context.strokeRect(x, y, 2 * this.scale, 2 * this.scale);
  }

  dotRadius() {
    const crowd = this.index.x.length > 4000 ? 1.7 : 2.6;
    return Math.min(crowd * (0.8 + 0.35 * Math.log2(this.view.zoom + 1)), 5);
  }

  spriteOf(group, radius) {
    if (this.spriteRadius !== radius) this.sprites.clear();
    this.spriteRadius = radius;
    let sprite = this.sprites.get(group);
    if (!sprite) {
      const colour = this.colours[group] ?? cssColour("--quiet");
      sprite = dotSprite(colour, radius, this.ratio, cssColour("--map-dot-border"));
      this.sprites.set(group, sprite);
    }
    return sprite;
  }

  thumbSide() {
    return Math.max(26, Math.min(72, 26 + 11 * Math.log2(this.view.zoom / FIRST_THUMB_ZOOM)));
  }

  // Which points have a thumbnail at this zoom.
  thumbChoice() {
    if (!this.thumb || this.view.zoom < FIRST_THUMB_ZOOM) return null;
    const level = Math.floor(2 * Math.log2(this.view.zoom));
    const halfSide = (Math.min(this.width, this.height) * MARGIN) / 2;
    const first = Math.floor(2 * Math.log2(FIRST_THUMB_ZOOM));
    const space = (step) => 34 / (2 ** (step / 2) * halfSide) * (1 + 0.22 * (step - first) / 2);
    return this.index.withThumbs(level, space, first, this.visible);
  }

  // All dots in view and around it on a canvas of their own, so that a pan only copies it.
  drawLayer() {
    const { index, group, ratio } = this;
    const canvas = (this.layerCanvas ??= document.createElement("canvas"));
    const margin = Math.round(Math.min(this.width, this.height) / 4);
    canvas.width = (this.width + 2 * margin) * ratio;
    canvas.height = (this.height + 2 * margin) * ratio;
    const context = canvas.getContext("2d");
    const radius = this.dotRadius();
    const chosen = this.thumbChoice();
    const scale = this.scale * ratio;
    const originX = canvas.width / 2 - this.view.x * scale;
    const originY = canvas.height / 2 + this.view.y * scale;
    for (const i of this.inView(margin)) {
      if (chosen?.[i]) continue;
      const sprite = this.spriteOf(group ? group[i] : 0, radius);
      const half = sprite.width / 2;
      const x = Math.round(originX + index.x[i] * scale - half);
      context.drawImage(sprite, x, Math.round(originY - index.y[i] * scale - half));
    }
    return { canvas, margin, ...this.view };
  }

  paintDots(context) {
    const move = (from) => [(from.x - this.view.x) * this.scale, (this.view.y - from.y) * this.scale];
    const isFar = (from) => move(from).some((distance) => Math.abs(distance) > from.margin);
    if (!this.layer || this.layer.zoom !== this.view.zoom || isFar(this.layer)) this.layer = this.drawLayer();
    const [dx, dy] = move(this.layer).map((distance) => Math.round((distance - this.layer.margin) * this.ratio));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.layer.canvas, dx, dy);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
  }

  paintThumbs(context) {
    const chosen = this.thumbChoice();
    if (!chosen) return;
    const side = this.thumbSide();
    for (const i of this.inView(side)) {
      if (!chosen[i]) continue;
      const [x, y] = this.toScreen(this.index.x[i], this.index.y[i]);
      const left = Math.round(x - side / 2);
      const top = Math.round(y - side / 2);
      const cell = this.thumb(i);
      context.fillStyle = this.colours[this.group?.[i] ?? 0] ?? cssColour("--quiet");
      context.fillRect(left - 1.5, top - 1.5, side + 3, side + 3);
      if (!cell) continue;
      context.imageSmoothingEnabled = cell.side > side;
      context.drawImage(cell.image, cell.x, cell.y, cell.side, cell.side, left, top, side, side);
    }
  }

  paintMarks(context) {
    for (const { x, y } of this.marks) drawRing(context, ...this.toScreen(x, y));
    if (this.crosshair) drawCross(context, this.width / 2, this.height / 2);
  }

  // The point under a place on the screen, or -1. A thumbnail is as large as it looks.
  hit(sx, sy) {
    if (!this.index) return -1;
    const [x, y] = this.toMap(sx, sy);
    const allowed = this.visible ?? (() => true);
    const chosen = this.thumbChoice();
    if (chosen) {
      const half = this.thumbSide() / 2 / this.scale;
      const inside = (i) => Math.max(Math.abs(this.index.x[i] - x), Math.abs(this.index.y[i] - y)) <= half;
      const found = this.index.nearest(x, y, half * 1.5, (i) => chosen[i] && allowed(i) && inside(i));
      if (found >= 0) return found;
    }
    return this.index.nearest(x, y, Math.max(this.dotRadius(), 4) / this.scale, allowed);
  }

  limitView() {
    this.view.zoom = Math.max(0.8, Math.min(MAX_ZOOM, this.view.zoom));
    this.view.x = Math.max(-1.1, Math.min(1.1, this.view.x));
    this.view.y = Math.max(-1.1, Math.min(1.1, this.view.y));
  }

  panBy(dx, dy) {
    this.view.x -= dx / this.scale;
    this.view.y += dy / this.scale;
    this.limitView();
    this.draw(true);
  }

  showAll() {
    this.view = { x: 0, y: 0, zoom: 1 };
    this.draw();
  }

  // Put a place in the middle, near enough to see thumbnails.
  showPlace(x, y) {
    this.view = { x, y, zoom: Math.max(this.view.zoom, FIRST_THUMB_ZOOM) };
    this.draw();
  }

  // Zoom so that the place at (sx, sy) stays where it is.
  zoomAt(factor, sx = this.width / 2, sy = this.height / 2) {
    const [x, y] = this.toMap(sx, sy);
    this.view.zoom *= factor;
    this.limitView();
    const [newX, newY] = this.toMap(sx, sy);
    this.view.x += x - newX;
    this.view.y += y - newY;
    this.limitView();
    this.draw();
  }
}

// Pointer, wheel and keyboard on a map. Drag pans, two fingers or the wheel zoom, a click picks.

const CLICK_DISTANCE = 5;
const KEY_PAN = 60;

// `on` has pick(x, y), hover([x, y] or null) and view(), which is called after each change of the view.
function watchMap(map, on) {
  watchPointers(map, on);
  watchWheel(map, on);
  watchKeys(map, on);
}

function placeOn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function showCrosshair(map, shown) {
  map.crosshair = shown;
  map.draw(true);
}

function watchPointers(map, on) {
  const { canvas } = map;
  const pointers = new Map();
  let moved = 0;
  let gap = 0;

  const pinch = () => {
    const [[ax, ay], [bx, by]] = pointers.values();
    const newGap = Math.hypot(ax - bx, ay - by);
    if (gap) map.zoomAt(newGap / gap, (ax + bx) / 2, (ay + by) / 2);
    gap = newGap;
    on.view();
  };

  const drag = (event, x, y) => {
    const [oldX, oldY] = pointers.get(event.pointerId);
    pointers.set(event.pointerId, [x, y]);
    moved += Math.hypot(x - oldX, y - oldY);
    if (pointers.size === 2) return pinch();
    if (moved <= CLICK_DISTANCE) return;
    map.panBy(x - oldX, y - oldY);
    canvas.classList.add("dragging");
    on.hover(null);
    on.view();
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (pointers.size === 0) moved = 0;
    gap = 0;
    pointers.set(event.pointerId, placeOn(canvas, event));
    canvas.setPointerCapture(event.pointerId);
    showCrosshair(map, false);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = placeOn(canvas, event);
    if (pointers.has(event.pointerId)) drag(event, x, y);
    else if (event.pointerType === "mouse") on.hover([x, y]);
  });
  const release = (event) => {
    const known = pointers.delete(event.pointerId);
    gap = 0;
    canvas.classList.remove("dragging");
    const isClick = known && event.type === "pointerup" && pointers.size === 0 && moved <= CLICK_DISTANCE;
    if (isClick) on.pick(...placeOn(canvas, event));
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => on.hover(null));
}

function watchWheel(map, on) {
  map.canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
    map.zoomAt(Math.exp(-Math.max(-200, Math.min(200, pixels)) / 400), ...placeOn(map.canvas, event));
    on.hover(null);
    on.view();
  }, { passive: false });
}

function watchKeys(map, on) {
  const { canvas } = map;
  const actions = {
    ArrowLeft: () => map.panBy(KEY_PAN, 0),
    ArrowRight: () => map.panBy(-KEY_PAN, 0),
    ArrowUp: () => map.panBy(0, KEY_PAN),
    ArrowDown: () => map.panBy(0, -KEY_PAN),
    "+": () => map.zoomAt(1.4),
    "=": () => map.zoomAt(1.4),
    "-": () => map.zoomAt(1 / 1.4),
    0: () => map.showAll(),
    Enter: () => on.pick(map.width / 2, map.height / 2),
  };
  canvas.addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
    on.hover(null);
    on.view();
    showCrosshair(map, true);
  });
  canvas.addEventListener("focus", () => showCrosshair(map, canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => showCrosshair(map, false));
}

// The small card beside the pointer on the map.


const CARD_PICTURE = 72;

function makeHoverCard(host, map) {
  const card = el("div.hover-card", { hidden: true, "aria-hidden": "true" });
  host.append(card);
  let turn = 0;

  const decode = onlyNewest(async ({ ref, mine }) => {
    if (mine !== turn) return;
    try {
      const sheet = await get("api/decode", { ref });
      if (mine === turn) show(el("div.pair", {}, picture({ sheet, label: "", size: CARD_PICTURE })), ["Decoded here"]);
    } catch {
      card.hidden = true;
    }
  });

  const show = (images, lines) => {
    card.replaceChildren(images, ...lines.filter(Boolean).map((line) => el("bdi.line", {}, line)));
    card.hidden = false;
  };

  const move = (x, y) => {
    const toLeft = x > map.width - 190;
    const above = y > map.height - 150;
    card.style.transform = `translate(${x + (toLeft ? -14 : 14)}px, ${y + (above ? -14 : 14)}px)`
      + ` translate(${toLeft ? "-100%" : "0"}, ${above ? "-100%" : "0"})`;
  };

  const showPoint = (points, i) => {
    const kinds = app.model.has.images ? ["images", "renders"] : ["renders"];
    const images = kinds.map((kind) => picture({ ...thumbOf(kind, i), label: "", size: CARD_PICTURE }));
    const psnr = points.psnr[i];
    const numbers = psnr === null ? "" : `Reconstruction: ${psnr.toFixed(1)} dB`;
    const label = labelText(points, i);
    show(el("div.pair", {}, images), [points.name[i], label && `Label: ${label}`, numbers]);
  };

  let shown = -2;
  return function hover(place, points, layout) {
    turn += 1;
    if (!place) {
      card.hidden = true;
      shown = -2;
      return;
    }
    const i = map.hit(...place);
    map.canvas.classList.toggle("on-point", i >= 0);
    move(...place);
    if (i >= 0) {
      if (i !== shown) showPoint(points, i);
    } else {
      const [x, y] = map.toMap(...place);
      const inside = Math.max(Math.abs(x), Math.abs(y)) <= 1;
      if (!inside || isRecorded()) card.hidden = true;
      else decode({ ref: placeRef(layout, x, y), mine: turn });
    }
    shown = i;
  };
}

// The legend of a map: what each colour means. Its entries can also hide points.


const LEGEND_HELP = "Click on an entry to hide or show its points. Double click, or press Shift and Enter, "
  + "to show only this one. The arrow keys go from entry to entry.";

function swatch(colour, spec = "span.swatch") {
  const node = el(spec);
  node.style.background = colour ?? "var(--quiet)";
  return node;
}

// A legend that only explains.
function legendParts(colours, names, scale) {
  if (scale) {
    const ends = scale.map((end) => el("span", {}, end));
    return [el("div.scale", {}, colours.map((colour) => swatch(colour, "span"))), el("div.scale-ends.small", {}, ends)];
  }
  return [el("ul", {}, names.map((name, k) => el("li.small", {}, swatch(colours[k]), el("bdi", {}, name))))];
}

// The numbers of the entries that the address hides.
function hiddenInAddress(count) {
  return new Set(read("hide").split(",").filter(Boolean).map(Number).filter((k) => k >= 0 && k < count));
}

// The arrows go from entry to entry, so one press of Tab is enough to pass the legend.
function moveInLegend(event, entries) {
  const here = entries.indexOf(event.target);
  const targets = {
    ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: entries.length - 1,
  };
  if (here < 0 || !(event.key in targets)) return;
  event.preventDefault();
  entries.forEach((entry) => (entry.tabIndex = -1));
  const next = entries.at(targets[event.key] % entries.length);
  next.tabIndex = 0;
  next.focus();
}

// A legend whose entries hide and show their points. `onChange` gets the set of hidden entries, also at once.
// `parts` are for the page; `reveal(k)` shows entry k.
function filterLegend(colours, names, onChange) {
  const hidden = hiddenInAddress(names.length);
  const entries = names.map((name, k) => el("button.entry.small", {
    type: "button", tabindex: k ? -1 : 0, onclick: (event) => (event.shiftKey ? only(k) : toggle(k)),
    ondblclick: () => only(k),
  }, swatch(colours[k]), el("bdi", {}, name)));
  const all = button("All", () => {
    hidden.clear();
    change();
    entries.find((entry) => entry.tabIndex === 0).focus();
  }, { class: "all", "aria-label": "Show all entries" });
  const toggle = (k) => {
    if (!hidden.delete(k)) hidden.add(k);
    change();
  };
  const only = (k) => {
    names.forEach((_, other) => (other === k ? hidden.delete(k) : hidden.add(other)));
    change();
  };
  const change = () => {
    write({ hide: [...hidden].sort((a, b) => a - b).join(",") || null });
    show();
  };
  const show = () => {
    entries.forEach((entry, k) => entry.setAttribute("aria-pressed", String(!hidden.has(k))));
    all.hidden = hidden.size === 0;
    onChange(hidden);
  };
  const list = el("div.entries", {
    role: "toolbar", "aria-label": "Legend", onkeydown: (event) => moveInLegend(event, entries),
  }, entries);
  const end = el("span.field-end", {}, all, help("the legend", LEGEND_HELP));
  show();
  return { parts: [el("div.field-title", {}, "Legend", end), list], reveal: (k) => hidden.has(k) && toggle(k) };
}

// A field that finds training images by name, by label or by number.


const MOST_FOUND = 8;

// How well a point fits the text: 0 is best, and -1 means that it does not fit.
function fit(points, i, text) {
  if (String(points.row[i]) === text) return 0;
  if (labelText(points, i).toLowerCase() === text) return 1;
  const at = points.name[i].toLowerCase().indexOf(text);
  return at < 0 ? -1 : Math.min(at, 1) + 2;
}

// The rows of the best points. An image that is not on the map is found by its number.
function findRows(points, words) {
  const text = words.trim().toLowerCase();
  if (!text) return [];
  const ranks = Array.from({ length: 4 }, () => []);
  for (let i = 0; i < points.row.length; i++) {
    const rank = fit(points, i, text);
    if (rank >= 0 && ranks[rank].length < MOST_FOUND) ranks[rank].push(points.row[i]);
  }
  const row = /^\d+$/.test(text) ? Number(text) : -1;
  const elsewhere = row >= 0 && row < app.model.count && !points.ofRow.has(row) && !isRecorded();
  return [...(elsewhere ? [row] : []), ...ranks.flat()].slice(0, MOST_FOUND);
}

function foundItem(points, row, k, choose) {
  const i = points.ofRow.get(row);
  const words = i === undefined ? "Not on the map" : points.name[i];
  const label = i === undefined ? "" : labelText(points, i);
  const kind = app.model.has.images ? "images" : "renders";
  const image = i === undefined ? null : picture({ ...thumbOf(kind, i), label: "", size: 28 });
  image?.setAttribute("aria-hidden", "true");
  const facts = el("span.quiet", {}, `Image ${row}`, label && " · label ", label && el("bdi", {}, label));
  const stay = (event) => event.preventDefault(); // the field keeps the focus
  return el("li.small", { id: `found-${k}`, role: "option", "aria-selected": "false", onpointerdown: stay,
    onclick: () => choose(row) }, image, el("span.found-words", {}, el("bdi", { title: words }, words), facts));
}

// `choose(row)` is called with the training image that the user takes.
function findField(points, choose) {
  const list = el("ul.found", { id: "found", role: "listbox", "aria-label": "Images found", hidden: true });
  const input = el("input", {
    type: "search", role: "combobox", autocomplete: "off", spellcheck: "false", placeholder: "name, label, number",
    "aria-controls": "found", "aria-expanded": "false", "aria-autocomplete": "list",
  });
  let rows = [];
  let marked = 0;

  const mark = (k) => {
    marked = (k + rows.length) % rows.length;
    [...list.children].forEach((item, other) => item.setAttribute("aria-selected", String(other === marked)));
    input.setAttribute("aria-activedescendant", `found-${marked}`);
    list.children[marked].scrollIntoView({ block: "nearest" });
  };
  const close = () => {
    rows = [];
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const take = (row) => {
    close();
    choose(row);
  };
  const search = () => {
    close();
    rows = findRows(points, input.value);
    if (!input.value.trim()) return;
    list.replaceChildren(...rows.map((row, k) => foundItem(points, row, k, take)));
    if (!rows.length) list.append(el("li.small.quiet", { role: "option", "aria-disabled": "true" }, "Nothing found."));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    if (rows.length) mark(0);
  };
  const actions = {
    ArrowDown: () => (rows.length ? mark(marked + 1) : search()),
    ArrowUp: () => rows.length && mark(marked - 1),
    Enter: () => rows.length && take(rows[marked]),
    Escape: () => (list.hidden ? (input.value = "") : close()),
  };
  input.addEventListener("input", search);
  input.addEventListener("focus", () => input.select());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
  const node = field("Find an image", input);
  node.classList.add("find");
  node.append(list);
  return node;
}

// The tab "Map": the codes of the training images in two dimensions.


const LAYOUT_TITLES = { pca: "Linear (PCA)", neighbours: "Neighbours (t-SNE)" };
const SHADE_HELP = "A strong shade means that the code of this place is far from every training code. "
  + "Nothing was learned in such a hole, so images from there are often bad.";
const ui = {};

const mapTab = {
  id: "map",
  title: "Map",
  build(panel) {
    ui.canvas = el("canvas.map", {
      tabindex: 0, role: "application", "aria-roledescription": "map",
      "aria-label": "Map of the codes. Arrows pan, plus and minus zoom, 0 shows all, Enter decodes at the cross-hair.",
    });
    ui.map = new MapCanvas(ui.canvas);
    window.igloMap = ui.map; // for tests and for the console of the browser
    ui.wait = el("p.map-wait.quiet", {}, "Loading the map …");
    ui.host = el("div.map-host", {}, ui.canvas, ui.wait, zoomButtons());
    ui.hover = makeHoverCard(ui.host, ui.map);
    ui.legend = el("div.legend");
    ui.explained = el("p.quiet.small.explained");
    ui.controls = el("div.rail", {});
    panel.classList.add("map-panel");
    panel.append(ui.controls, el("div.stage", {}, ui.host, el("p.quiet.small.keys", {},
      "Drag to move. Scroll or pinch to zoom. Click between the points to decode that place. "
      + "Keys: arrows move, + and − zoom, 0 shows all, Enter picks the centre.")));
    watchMap(ui.map, {
      pick,
      hover: (place) => ui.points && ui.hover(place, ui.points, read("layout")),
      view: () => write({ view: viewText(ui.map.view) }),
    });
    document.addEventListener("pick", (event) => markRef(event.detail.ref));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  },
  enter() {
    const [x, y, zoom] = read("view").split(",").map(Number);
    if ([x, y, zoom].every(Number.isFinite) && zoom > 0) Object.assign(ui.map.view, { x, y, zoom });
    ui.map.limitView();
    ui.map.draw();
    show();
  },
};

// Every layout has its own places, so the view starts again.
function changeLayout(layout) {
  write({ layout, view: null });
  ui.map.showAll();
  guarded(ui.host, showLayout);
}

// A new colouring has a new legend, so all points are shown again.
function changeColour(colour) {
  write({ colour, hide: null });
  recolour();
}

function layoutOptions() {
  return app.model.layouts.map((name) => [name, LAYOUT_TITLES[name] ?? name]);
}

function viewText(view) {
  return [view.x, view.y, view.zoom].map((value) => Number(value.toFixed(3))).join(",");
}

function zoomButtons() {
  const zoom = (sign, title, action) => button(sign, () => {
    action();
    write({ view: viewText(ui.map.view) });
  }, { "aria-label": title, title });
  return el("div.map-buttons", { role: "group", "aria-label": "Zoom" },
    zoom("+", "Zoom in", () => ui.map.zoomAt(1.6)),
    zoom("−", "Zoom out", () => ui.map.zoomAt(1 / 1.6)),
    zoom("⤢", "Show the whole map", () => ui.map.showAll()));
}

async function show() {
  await guarded(ui.host, async () => {
    ui.points = await loadPoints();
    drawControls();
    await showLayout();
  });
}

function drawControls() {
  const kinds = colourKinds(ui.points);
  const colour = kinds.some(([kind]) => kind === read("colour")) ? read("colour") : kinds[0][0];
  const thumbs = thumbKinds().some(([kind]) => kind === read("thumbs")) ? read("thumbs") : thumbKinds()[0][0];
  const change = (key, then) => (value) => (write({ [key]: value }), then());
  refill(ui.controls,
    field("Layout", select(layoutOptions(), read("layout"), changeLayout)),
    ui.explained,
    field("Colour", select(kinds, colour, changeColour)),
    field("When zoomed in, show", select(thumbKinds(), thumbs, change("thumbs", setThumbs))),
    findField(ui.points, goToRow),
    ui.legend,
    el("p.small.quiet.shade-note", {}, el("span.swatch.shade"), " Background: far from every training code ",
      help("the background", SHADE_HELP)));
  recolour(colour);
  setThumbs(thumbs);
}

function setThumbs(kind) {
  const chosen = kind ?? (read("thumbs") || thumbKinds()[0][0]);
  ui.map.thumb = chosen === "none" ? null : (i) => {
    const found = thumbImage(chosen, i, () => ui.map.draw());
    if (!found) return null;
    const [x, y] = cellOf(found.sheet, found.index);
    return { image: found.image, x, y, side: found.sheet.side };
  };
  ui.map.draw();
}

function recolour(kind) {
  if (!ui.points) return;
  const chosen = typeof kind === "string" ? kind : read("colour") || colourKinds(ui.points)[0][0];
  const { group, colours, names, scale } = colouring(ui.points, chosen);
  ui.map.setColours(group, colours);
  ui.map.setVisible(null);
  ui.filter = scale || names.length < 2 ? null : filterLegend(colours, names, (hidden) => {
    ui.map.setVisible(hidden.size ? (i) => !hidden.has(group[i]) : null);
  });
  ui.legend.replaceChildren(...(ui.filter?.parts ?? legendParts(colours, names, scale)));
}

// Show a training image that was found: in the middle of the map if it has a point, and beside it.
function goToRow(row) {
  const i = ui.points.ofRow.get(row);
  if (i === undefined || !ui.layout) {
    inspect(trainingRef(row));
    return;
  }
  ui.filter?.reveal(ui.map.group[i]);
  ui.map.showPlace(ui.layout.x[i], ui.layout.y[i]);
  write({ view: viewText(ui.map.view) });
  pickPoint(i);
  // In a narrow window the picked image covers the lower half.
  ui.canvas.scrollIntoView({ block: matchMedia("(max-width: 800px)").matches ? "start" : "nearest" });
}

// The points of another layout go at once: their places would be decoded with the new one.
function hideLayout() {
  ui.layout = ui.shown = null;
  ui.map.setPoints([], [], null);
  ui.explained.textContent = "";
  ui.wait.textContent = "Loading the map …";
  ui.wait.hidden = false;
}

async function showLayout() {
  const layout = read("layout");
  if (ui.shown !== layout) hideLayout();
  const answer = await get("api/map", { layout }, "map");
  if (read("layout") !== layout) return;
  ui.wait.hidden = answer.ready;
  if (!answer.ready) {
    ui.wait.textContent = answer.sentence;
    setTimeout(() => read("layout") === layout && read("tab") === "map" && guarded(ui.host, showLayout), 1000);
    return;
  }
  ui.layout = answer;
  ui.shown = layout;
  const image = await loadImage(answer.shade.url);
  ui.map.setPoints(answer.x, answer.y, { image });
  const explained = answer.explained?.slice(0, 2).map((share) => `${(100 * share).toFixed(0)} %`);
  ui.explained.textContent = explained
    ? `The axes explain ${explained.join(" and ")} of the variance.`
    : "Near codes are near on the map. Long distances mean little.";
  markRef(read("pick"));
}

function markRef(ref) {
  ui.map.marks = [];
  const place = placeOf(ref);
  if (place && place.layout === read("layout")) ui.map.marks = [place];
  const i = ui.points?.ofRow.get(trainingRow(ref));
  if (i !== undefined && ui.layout) ui.map.marks = [{ x: ui.layout.x[i], y: ui.layout.y[i] }];
  ui.map.draw();
}

function pickPoint(i) {
  const ref = trainingRef(ui.points.row[i]);
  markRef(ref);
  return inspect(ref, app.model.sheets.side === app.model.image_size ? thumbOf("renders", i) : null);
}

function pick(sx, sy) {
  if (!ui.points || !ui.layout) return;
  const i = ui.map.hit(sx, sy);
  if (i >= 0) return pickPoint(i);
  const [x, y] = ui.map.toMap(sx, sy);
  if (Math.max(Math.abs(x), Math.abs(y)) > 1) return notice("This place is outside the map.");
  const ref = placeRef(read("layout"), x, y);
  markRef(ref);
  return inspect(ref);
}

// The tab "Samples": new images, drawn by a prior.


const samplesUi = {};
const MAX_SEED = 9999;
const TRUNCATION = "Truncation pulls each code toward a centre. "
  + "With 1, codes stay as the prior draws them. With 0, every code is at the centre. "
  + "Values between 0 and 1 often give better images with less variety.";

function chosenPrior() {
  const { priors } = app.model;
  const named = priors.find((prior) => prior.name === read("prior"));
  return named ?? priors.find((prior) => prior.chosen) ?? priors[0];
}

const samplesTab = {
  id: "samples",
  title: "Samples",
  build(panel) {
    samplesUi.controls = el("div.rail");
    samplesUi.grid = el("div.tiles", { role: "group", "aria-label": "Samples" });
    panel.append(samplesUi.controls, el("div.stage", {}, samplesUi.grid,
      note("Click on a sample to see its nearest training images. They show whether it is a copy.")));
  },
  enter() {
    buildSampleControls();
    drawSamples();
  },
};

function priorOption(prior) {
  return [prior.name, `${prior.chosen ? "✓ " : ""}${prior.label}`];
}

function distanceText(prior) {
  const distance = prior.kernel_distance ?? null;
  const words = distance === null ? ""
    : `Kernel distance to validation images: ${distance.toFixed(3)}. Lower is better.`;
  return prior.chosen ? `✓ Chosen for this model. ${words}` : words;
}

function seedControl(seeds, change) {
  if (seeds) return field("Seed", select(seeds, read("seed"), (seed) => change({ seed })));
  const input = el("input", {
    type: "number", min: 0, max: MAX_SEED, step: 1, value: read("seed"),
    onchange: () => change({ seed: Math.max(0, Math.min(MAX_SEED, Math.round(Number(input.value) || 0))) }),
  });
  const fresh = button("New seed", () => {
    input.value = Math.floor(Math.random() * (MAX_SEED + 1));
    change({ seed: input.value });
  });
  const holder = field("Seed", input);
  holder.append(fresh);
  holder.classList.add("with-button");
  return holder;
}

function truncationControl(change) {
  const recorded = app.model.recorded;
  const tip = help("truncation", TRUNCATION);
  if (recorded) {
    return [field("Truncation", select(recorded.psis, read("psi"), (psi) => change({ psi })), tip)];
  }
  const psi = slider({
    title: "Truncation", min: 0, max: 1, step: 0.05, value: readNumber("psi", 1), tip,
    format: (value) => value.toFixed(2), oninput: (value) => change({ psi: value }),
  });
  const centres = [["mean", "the mean of the codes"], ["nearest", "the nearest training code"]];
  return [psi.node, field("Pull toward", select(centres, read("toward"), (toward) => change({ toward })))];
}

function buildSampleControls() {
  const recorded = app.model.recorded;
  const words = note(distanceText(chosenPrior()));
  const change = (values) => {
    write(values);
    words.textContent = distanceText(chosenPrior());
    drawSamples();
  };
  const counts = [8, 16, 32, 64, 128].filter((count) => count <= app.model.limits.samples);
  refill(samplesUi.controls,
    field("Prior", select(app.model.priors.map(priorOption), chosenPrior().name, (prior) => change({ prior }))),
    words,
    seedControl(recorded?.seeds, change),
    ...truncationControl(change),
    recorded ? "" : field("Images", select(counts, sampleCount(), (count) => change({ count }))));
}

function sampleCount() {
  return app.model.recorded?.count ?? Math.min(readNumber("count", 32), app.model.limits.samples);
}

function drawSamples() {
  const { grid } = samplesUi;
  return guarded(grid, async () => {
    const params = {
      prior: chosenPrior().name, seed: readNumber("seed", 0), count: sampleCount(), psi: readNumber("psi", 1),
      toward: isRecorded() ? app.model.recorded.toward : read("toward"),
    };
    const sheet = await get("api/samples", params, "samples");
    const tiles = sheet.refs.map((ref, index) => tile({ ref, sheet, index, label: describe(ref), size: 88 }));
    grid.replaceChildren(...tiles);
  });
}

// A small line chart as SVG, with axes, boundaries and a marker.


const HEIGHT = 180;
const PAD = { left: 46, right: 12, top: 18, bottom: 34 };

// Ticks at 1, 2 and 5 times each power of ten, or only at the powers if these are too many.
// Low and high are logarithms.
function logTicks(low, high) {
  const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, k) => Math.floor(low) + k);
  const within = (factors) => powers.flatMap((power) => factors.map((factor) => factor * 10 ** power))
    .filter((value) => Math.log10(value) >= low && Math.log10(value) <= high)
    .map((value) => Number(value.toPrecision(1)));
  const fine = within([1, 2, 5]);
  return fine.length > 6 ? within([1]) : fine;
}

// About four round numbers between low and high.
function ticksOf(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) {
    ticks.push(Number(value.toPrecision(8)));
  }
  return ticks;
}

function tickText(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`;
  return String(value);
}

function rangeOf(values, fromZero) {
  const low = fromZero ? 0 : Math.min(...values);
  const high = Math.max(...values);
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

// points: [[x, y], …]. boundaries: [{x, label}]; with `breaks`, a new curve starts at each.
// options: fromZero, logY, dots, breaks. The answer has `node`, and `mark(x)` moves the marker.
function lineChart({ points, xTitle, yTitle, summary, boundaries = [], ...options }) {
  const { fromZero = true, logY = false, dots = false, breaks = false } = options;
  const node = el("div.chart", { role: "img", "aria-label": summary });
  const toY = (value) => (logY ? Math.log10(Math.max(value, 1e-12)) : value);
  const [x0, x1] = rangeOf(points.map(([x]) => x), false);
  const [y0, y1] = rangeOf(points.map(([, y]) => toY(y)), fromZero && !logY);
  let marked = null;
  let place = null;

  const draw = () => {
    const width = Math.max(node.clientWidth, 200);
    const sx = (x) => PAD.left + ((x - x0) / (x1 - x0)) * (width - PAD.left - PAD.right);
    const sy = (y) => HEIGHT - PAD.bottom - ((toY(y) - y0) / (y1 - y0)) * (HEIGHT - PAD.top - PAD.bottom);
    const svg = svgEl("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    for (const tick of logY ? logTicks(y0, y1) : ticksOf(y0, y1)) {
      const y = sy(tick);
      svg.append(svgEl("line", { class: "grid", x1: PAD.left, x2: width - PAD.right, y1: y, y2: y }),
        svgEl("text", { x: PAD.left - 6, y: y + 4, "text-anchor": "end" }, tickText(tick)));
    }
    for (const tick of ticksOf(x0, x1)) {
      svg.append(svgEl("text", { x: sx(tick), y: HEIGHT - PAD.bottom + 15, "text-anchor": "middle" }, tickText(tick)));
    }
    boundaries.forEach(({ x, label }, k) => {
      const end = boundaries[k + 1]?.x ?? x1;
      svg.append(svgEl("line", { class: "boundary", x1: sx(x), x2: sx(x), y1: PAD.top - 6, y2: HEIGHT - PAD.bottom }));
      const fits = sx(end) - sx(x) > label.length * 6.6 + 10;
      if (fits) svg.append(svgEl("text", { x: sx(x) + 4, y: PAD.top - 4 }, label));
    });
    const isStart = (k) => k === 0 || boundaries.some(({ x }) => points[k - 1][0] <= x && x < points[k][0]);
    const command = (k) => (breaks && isStart(k) ? "M" : "L");
    const path = points.map(([x, y], k) => `${k ? command(k) : "M"}${sx(x).toFixed(1)} ${sy(y).toFixed(1)}`).join("");
    svg.append(svgEl("path", { class: "curve", d: path }));
    if (dots) for (const [x, y] of points) svg.append(svgEl("circle", { class: "dot", cx: sx(x), cy: sy(y), r: 2.5 }));
    const marker = svgEl("line", { class: "marker", y1: PAD.top - 6, y2: HEIGHT - PAD.bottom });
    svg.append(marker,
      svgEl("text", { class: "title", x: width - PAD.right, y: HEIGHT - 4, "text-anchor": "end" }, xTitle));
    place = () => {
      marker.setAttribute("visibility", marked === null ? "hidden" : "visible");
      const x = sx(Math.max(x0, Math.min(x1, marked ?? x0)));
      marker.setAttribute("x1", x);
      marker.setAttribute("x2", x);
    };
    place();
    node.replaceChildren(el("p.small.quiet", {}, yTitle), svg);
  };

  new ResizeObserver(() => node.clientWidth && draw()).observe(node);
  return { node, mark: (x) => ((marked = x), place?.()) };
}

// A slider over frames with a play button. It plays slower for people who prefer less motion.


function ofCount(frame, count) {
  return `${frame + 1} of ${count}`;
}

// `show(frame)` draws a frame. `setCount` says how many there are.
function makePlayer({ title, show, perSecond = 10, format = ofCount }) {
  let timer = 0;
  let count = 1;
  let frame = 0;
  const control = slider({
    title, min: 0, max: 0, step: 1, value: 0, format: (value) => format(value, count),
    oninput: (value) => (stop(), go(value)),
  });
  const play = button("▶", () => (timer ? stop() : start()), { class: "play", "aria-label": "Play" });
  const node = el("div.player", {}, play, control.node);

  const go = (next) => {
    frame = Math.max(0, Math.min(count - 1, next));
    control.set(frame);
    show(frame);
  };
  const label = () => {
    play.textContent = timer ? "❚❚" : "▶";
    play.setAttribute("aria-label", timer ? "Pause" : "Play");
  };
  const start = () => {
    const next = () => (node.offsetParent ? go((frame + 1) % count) : stop());
    timer = setInterval(next, 1000 / (calmMotion() ? Math.min(2, perSecond) : perSecond));
    label();
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    label();
  };
  const setCount = (newCount, at) => {
    count = newCount;
    control.input.max = count - 1;
    play.disabled = control.input.disabled = count < 2;
    go(at);
  };
  return { node, go, stop, setCount };
}

// The tab "Interpolate": a path of images from A to B, and over more stops.


const WAY_TITLES = { circle: "Great circle", line: "Straight line", graph: "Graph of near codes" };
const pathUi = {};

const interpolateTab = {
  id: "interpolate",
  title: "Interpolate",
  build(panel) {
    pathUi.controls = el("div.rail");
    pathUi.stops = el("ol.stops");
    pathUi.frame = picture({ label: "The current frame", size: 224 });
    pathUi.player = makePlayer({ title: "Frame", show: showFrame });
    pathUi.film = el("div.film", { role: "group", "aria-label": "All frames" });
    pathUi.curve = el("div.curve-holder");
    pathUi.body = el("div.path-body", {}, el("div.now", {}, pathUi.frame, pathUi.player.node), pathUi.curve);
    panel.append(pathUi.controls, el("div.stage", {}, pathUi.stops, pathUi.body, pathUi.film));
  },
  leave: () => pathUi.player.stop(),
  enter() {
    guarded(pathUi.body, async () => {
      pathUi.refs = await currentStops();
      buildPathControls();
      await drawPath();
    });
  },
};

// The stops in the address, or two training images so that there is something to see.
async function currentStops() {
  if (isRecorded()) {
    const { pairs } = app.model.recorded;
    return pairs.find((pair) => pair.join() === stops().join()) ?? pairs[0];
  }
  const chosen = stops();
  if (chosen.length > 1) return chosen;
  const points = await loadPoints();
  const other = points.label.findIndex((label, i) => i > 0 && label !== points.label[0]);
  const defaults = [points.row[0], points.row[other > 0 ? other : points.row.length - 1]].map(trainingRef);
  return [...chosen, ...defaults].slice(0, 2);
}

function waysNow() {
  return app.model.recorded?.ways ?? app.model.ways;
}

function pathParams() {
  const way = waysNow().includes(read("way")) ? read("way") : waysNow()[0];
  const steps = app.model.recorded?.steps ?? Math.min(readNumber("steps", 16), app.model.limits.steps);
  return { stop: pathUi.refs, way, steps, closed: isRecorded() ? 0 : readNumber("closed", 0) };
}

function buildPathControls() {
  const change = (key) => (value) => (write({ [key]: value, frame: 0 }), interpolateTab.enter());
  const { way, steps, closed } = pathParams();
  const ways = waysNow().map((name) => [name, WAY_TITLES[name] ?? name]);
  const controls = [field("Way", select(ways, way, change("way")))];
  if (isRecorded()) {
    const pairs = app.model.recorded.pairs.map((pair, k) => [k, pair.map(describe).join(" → ")]);
    const here = app.model.recorded.pairs.indexOf(pathUi.refs);
    controls.unshift(field("Pair", select(pairs, here, (k) => setStops(app.model.recorded.pairs[k]))));
  } else {
    const counts = [8, 16, 32, 60].filter((count) => count <= app.model.limits.steps);
    controls.push(field("Steps from stop to stop", select([...new Set([...counts, steps])], steps, change("steps"))));
    const onchange = () => change("closed")(loop.checked ? 1 : 0);
    const loop = el("input", { type: "checkbox", id: "closed", checked: closed === 1, onchange });
    controls.push(el("p.check", {}, loop, el("label", { for: "closed" }, "Return to A at the end")));
    controls.push(el("div.actions", {},
      button("Add a random image", addRandom),
      button("Clear", () => setStops([])),
      el("a.button", { href: address("api/path.png", pathParams()), download: "path.png" }, "PNG strip"),
      el("a.button", { href: address("api/path.gif", pathParams()), download: "path.gif" }, "GIF")));
    controls.push(note("To choose stops, pick images on the map, in Samples, or in Your image."));
  }
  refill(pathUi.controls, ...controls);
}

async function addRandom() {
  const points = await loadPoints();
  if (stops().length < 2) setStops(pathUi.refs);
  addStop(trainingRef(points.row[Math.floor(Math.random() * points.row.length)]));
}

function moveStop(from, to) {
  const list = [...pathUi.refs];
  list.splice(to, 0, ...list.splice(from, 1));
  setStops(list);
}

function stopItem(ref, position, sheet, index) {
  const name = letter(position);
  const count = pathUi.refs.length;
  const small = (text, label, onclick, disabled) =>
    button(text, onclick, { class: "mini", "aria-label": label, disabled });
  const tools = isRecorded() ? [] : el("div.mini-row", {},
    small("←", `Move ${name} to the left`, () => moveStop(position, position - 1), position === 0),
    small("→", `Move ${name} to the right`, () => moveStop(position, position + 1), position === count - 1),
    small("×", `Remove ${name}`, () => setStops(pathUi.refs.filter((_, k) => k !== position)), count < 3));
  return el("li.stop", {}, el("span.letter", {}, name),
    tile({ ref, sheet, index, label: `${name}: ${describe(ref)}`, caption: describe(ref), size: 72 }), tools);
}

async function drawPath() {
  const path = await get("api/path", pathParams(), "path");
  pathUi.path = path;
  const items = pathUi.refs.map((ref, k) => stopItem(ref, k, path, path.stops[k] ?? 0));
  refill(pathUi.stops, ...items);
  pathUi.film.replaceChildren(...path.refs.map((ref, index) => {
    const node = tile({ ref, sheet: path, index, label: `Frame ${index + 1}`, size: 48 });
    node.addEventListener("focus", () => node.matches(":focus-visible") && pathUi.player.go(index));
    node.addEventListener("click", () => pathUi.player.go(index));
    return node;
  }));
  drawStepCurve(path);
  pathUi.player.setCount(path.refs.length, Math.min(readNumber("frame", 0), path.refs.length - 1));
}

function drawStepCurve(path) {
  const sizes = path.step_sizes;
  if (sizes.length < 2) return pathUi.curve.replaceChildren();
  const low = Math.min(...sizes);
  const high = Math.max(...sizes);
  const boundary = (frame, k) => ({ x: frame + 1, label: letter(k % pathUi.refs.length) });
  pathUi.chart = lineChart({
    points: sizes.map((size, k) => [k + 1.5, size]), xTitle: "frame", dots: sizes.length < 40,
    yTitle: `Size of each step: ${path.unit ?? app.model.step_distance}`,
    summary: `Sizes of the ${sizes.length} steps: from ${low.toPrecision(2)} to ${high.toPrecision(2)}.`,
    boundaries: path.stops.length > 2 || path.stops.at(-1) < path.refs.length - 1 ? path.stops.map(boundary) : [],
  });
  pathUi.curve.replaceChildren(pathUi.chart.node);
}

function showFrame(frame) {
  const { path } = pathUi;
  if (!path) return;
  write({ frame });
  pathUi.frame.classList.toggle("smooth", path.side > 224);
  pathUi.frame.setAttribute("aria-label", `Frame ${frame + 1} of ${path.refs.length}`);
  drawCell(pathUi.frame, path, frame).catch((error) => notice(error.message, "error"));
  pathUi.chart?.mark(frame + 1);
  [...pathUi.film.children].forEach((node, k) => node.classList.toggle("now", k === frame));
  const current = pathUi.film.children[frame];
  if (current) pathUi.film.scrollTo({ left: current.offsetLeft - pathUi.film.clientWidth / 2 });
}

// A control that moves a code from the mean of one label toward the mean of another.


const LABEL_HELP = "The code moves along the difference of two mean codes, from the first label to the second. "
  + "With 1, it moves by the whole difference.";

// The labels of the move in a table of amounts, such as {"l:4:9": 0.5}.
function labelsOf(amounts) {
  const key = Object.keys(amounts).find((name) => name.startsWith("l:"));
  return key ? key.split(":").slice(1).map(Number) : null;
}

// `change(key, amount)` replaces the move between labels. The answer is null where there are no two labels.
function labelControl(amounts, change) {
  const { labels } = app.model;
  if (labels.length < 2 || app.model.recorded) return null;
  let [start, end] = labelsOf(amounts) ?? [0, 1];
  const send = () => change(`l:${start}:${end}`, Number(share.input.value));
  const share = slider({
    title: "Share of the way", min: -1, max: 2, step: 0.05, value: amounts[`l:${start}:${end}`] ?? 0,
    format: (value) => value.toFixed(2), oninput: send,
  });
  const options = labels.map((label, k) => [k, label]);
  const from = select(options, start, (value) => ((start = Number(value)), send()), { "aria-label": "From label" });
  const to = select(options, end, (value) => ((end = Number(value)), send()), { "aria-label": "To label" });
  const pair = el("div.label-pair", {}, from, el("span", { "aria-hidden": "true" }, "→"), to);
  const title = el("div.field-title", {}, "From label to label", help("moves between labels", LABEL_HELP));
  const node = el("div.saved", {}, title, pair, share.node);
  return { node, set: (table) => share.set(table[`l:${start}:${end}`] ?? 0) };
}

// Directions that the user saved, in the storage of the browser. Each belongs to one training of one model,
// because after another training the same direction changes something else.


const KEY = "iglo.directions";

function readStore() {
  try {
    const store = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(store) ? store : [];
  } catch {
    return [];
  }
}

function writeStore(list) {
  try {
    localStorage.setItem(KEY, JSON.stringify(list));
    return true;
  } catch {
    notice("This browser does not let the page store anything, so the direction is not saved.", "error");
    return false;
  }
}

function isOf(one, name) {
  return one.model === app.model.digest && one.name === name;
}

function savedDirections() {
  return readStore().filter((one) => one.model === app.model.digest);
}

function saveDirection(name, amounts) {
  const others = readStore().filter((one) => !isOf(one, name));
  return writeStore([...others, { model: app.model.digest, name, amounts: { ...amounts } }]);
}

function deleteDirection(name) {
  return writeStore(readStore().filter((one) => !isOf(one, name)));
}

function scaled(amounts, strength) {
  return Object.fromEntries(Object.entries(amounts).map(([move, amount]) => [move, amount * strength]));
}

// The tab "Directions": move a code along the principal directions of the codes, and from label to label.


const FIRST_SHOWN = 8;
const INTRODUCTION = "Each slider moves the code along a principal direction. "
  + "The unit is the standard deviation of all codes. "
  + "Below it are the share of the variance, and the value of the image before the move.";
const moveUi = { amounts: {}, sliders: new Map() };

const directionsTab = {
  id: "directions",
  title: "Directions",
  build(panel) {
    moveUi.base = el("div.now-pair");
    moveUi.controls = el("div.rail");
    moveUi.list = el("div.directions");
    panel.classList.add("directions-panel");
    panel.append(moveUi.controls, el("div.stage", {}, note(INTRODUCTION), moveUi.list));
    moveUi.decode = onlyNewest((ref) => guarded(moveUi.base, () => drawMoved(ref)));
  },
  enter() {
    guarded(moveUi.list, async () => {
      const points = await loadPoints();
      const rows = app.model.recorded?.rows;
      let base = read("base") || trainingRef(rows?.[0] ?? points.row[0]);
      if (rows && !rows.includes(trainingRow(base))) base = trainingRef(rows[0]);
      moveUi.ref = base;
      moveUi.amounts = amountsOf(read("move").split(","));
      await drawDirections();
    });
  },
};

function movedRef() {
  return [moveUi.ref, ...changesOf(moveUi.amounts)].join("~");
}

async function drawDirections() {
  const answer = await get("api/directions", { ref: moveUi.ref }, "directions");
  if (!answer.strips) return refill(moveUi.list, el("p.empty", {}, "There are too few codes for directions."));
  moveUi.answer = answer;
  const zero = answer.amounts.indexOf(0);
  moveUi.before = { sheet: answer.strips, index: zero };
  moveUi.after = picture({ ...moveUi.before, label: "After the moves", size: 128 });
  const first = tile({ ref: moveUi.ref, ...moveUi.before, label: describe(moveUi.ref), size: 128 });
  moveUi.base.replaceChildren(figure(first, "Before"), figure(moveUi.after, "After"));
  buildMoveControls();
  moveUi.sliders.clear();
  const rows = answer.directions.map((direction, k) => directionRow(direction, k));
  const all = readNumber("all", 0) === 1 || rows.length <= FIRST_SHOWN;
  const more = all ? null : button(`Show all ${rows.length} directions`, () => (write({ all: 1 }), drawDirections()));
  refill(moveUi.list, ...rows.slice(0, all ? rows.length : FIRST_SHOWN), ...(more ? [more] : []));
  showAmounts();
}

function directionRow(direction, k) {
  const { answer } = moveUi;
  const count = answer.amounts.length;
  const name = `Direction ${direction.index + 1}`;
  const move = `d:${direction.index}`;
  const control = slider({
    title: name, min: -3, max: 3, step: isRecorded() ? 1 : 0.1, value: 0, format: amountText,
    oninput: (value) => setAmount(move, value),
  });
  moveUi.sliders.set(move, control);
  const strip = answer.amounts.map((amount, j) => {
    const label = `${name} at ${amountText(amount)} standard deviations`;
    const node = tile({ ref: answer.refs[k][j], sheet: answer.strips, index: k * count + j, label, size: 64 });
    node.addEventListener("click", () => setAmount(move, amount));
    return node;
  });
  const facts = `${(100 * direction.share).toFixed(1)} % of variance · value ${amountText(direction.value)}`;
  const group = el("div.strip", { role: "group", "aria-label": `Strip of ${name}` }, strip);
  return el("div.direction", {}, control.node, note(facts), group);
}

// Without a server only one direction at a time has pictures.
function setAmount(move, amount) {
  if (isRecorded()) moveUi.amounts = {};
  moveUi.amounts[move] = amount;
  showAmounts();
}

// Only one move between labels at a time.
function setLabelMove(move, amount) {
  const others = Object.entries(moveUi.amounts).filter(([key]) => !key.startsWith("l:"));
  moveUi.amounts = { ...Object.fromEntries(others), [move]: amount };
  showAmounts();
}

function showAmounts() {
  for (const [move, control] of moveUi.sliders) control.set(moveUi.amounts[move] ?? 0);
  moveUi.labels?.set(moveUi.amounts);
  write({ base: moveUi.ref, move: changesOf(moveUi.amounts).join(",") || null });
  moveUi.decode(movedRef());
}

async function drawMoved(ref) {
  let source = moveUi.before;
  if (isRecorded()) {
    const [[move, amount] = ["d:0", 0]] = Object.entries(moveUi.amounts);
    const { directions, strips, amounts } = moveUi.answer;
    const row = directions.findIndex((direction) => `d:${direction.index}` === move);
    source = { sheet: strips, index: row * amounts.length + amounts.indexOf(amount) };
  } else if (ref !== moveUi.ref) {
    source = { sheet: await get("api/decode", { ref }), index: 0 };
  }
  moveUi.after.setAttribute("aria-label", `After: ${describe(ref)}`);
  await drawCell(moveUi.after, source.sheet, source.index);
}

function changeBase(ref) {
  write({ base: ref });
  directionsTab.enter();
}

async function randomBase() {
  const points = await loadPoints();
  const rows = app.model.recorded?.rows ?? points.row;
  changeBase(trainingRef(rows[Math.floor(Math.random() * rows.length)]));
}

function buildMoveControls() {
  const reset = () => ((moveUi.amounts = {}), showAmounts());
  const pick = () => document.dispatchEvent(new CustomEvent("pick", { detail: { ref: movedRef() } }));
  const buttons = [button("Reset", reset), button("Another image", randomBase)];
  if (!isRecorded()) buttons.push(button("Use the moved image", pick));
  moveUi.labels = labelControl(moveUi.amounts, setLabelMove);
  refill(moveUi.controls, moveUi.base, el("div.actions", {}, buttons), moveUi.labels?.node ?? "",
    ...(isRecorded() ? [] : savedControls()));
}

function savedControls() {
  const name = el("input", { type: "text", maxlength: 40, placeholder: "for example: thicker" });
  const save = () => {
    if (!name.value.trim() || !Object.values(moveUi.amounts).some(Boolean)) {
      return notice("Move a slider and write a name first.", "error");
    }
    if (saveDirection(name.value.trim(), moveUi.amounts)) buildMoveControls();
  };
  const form = field("Save this direction under a name", name);
  form.append(button("Save", save));
  form.classList.add("with-button");
  const saved = savedDirections();
  return saved.length ? [form, applyControl(saved)] : [form];
}

function applyControl(saved) {
  let chosen = saved[saved.length - 1];
  const apply = (size) => {
    moveUi.amounts = scaled(chosen.amounts, size);
    showAmounts();
  };
  const range = { min: -2, max: 2, step: 0.1, value: 0 };
  const strength = slider({ title: "Strength", ...range, format: amountText, oninput: apply });
  const list = select(saved.map((one) => one.name), chosen.name, (name) => {
    chosen = saved.find((one) => one.name === name);
    apply(Number(strength.input.value));
  });
  const remove = button("Delete", () => (deleteDirection(chosen.name), buildMoveControls()));
  return el("div.saved", {}, field("Saved direction", list), strength.node, el("div.actions", {}, remove));
}

// The tab "Your image": find the code of an image that the user brings.


const PICTURES = {
  image: "Your image, as the model takes it", reconstruction: "Reconstruction", difference: "Difference",
};
const STEP_CHOICES = [50, 100, 200, 500];
const mine = { file: null, ref: null, running: null };

const imageTab = {
  id: "image",
  title: "Your image",
  build(panel) {
    if (isRecorded()) {
      panel.append(el("div.stage", {}, el("p.empty", {},
        "This page has no server, so it cannot find the code of an image. Run ",
        el("code", {}, "iglo explore"), " to try your own images.")));
      return;
    }
    const onchange = () => input.files[0] && upload(input.files[0]);
    const input = el("input.visually-hidden", { type: "file", accept: "image/*", id: "file", onchange });
    mine.drop = el("label.drop", { for: "file" }, el("strong", {}, "Drop an image here"),
      el("span.quiet.small", {}, "or click to choose a file, or paste one. The server of this page does not keep it."));
    mine.result = el("div.result");
    panel.append(el("div.stage", {}, input, mine.drop, mine.result));
  },
  enter() {},
  leave: () => mine.running?.abort(),
};

// A file that is dropped or pasted anywhere on the page opens this tab.
function watchDrops() {
  const take = (files) => {
    if (!files?.length) return;
    openTab("image");
    if (!isRecorded()) upload(files[0]);
  };
  const over = (shown) => (event) => {
    event.preventDefault();
    mine.drop?.classList.toggle("over", shown);
  };
  addEventListener("dragover", over(true));
  addEventListener("dragleave", over(false));
  addEventListener("drop", (event) => (over(false)(event), take(event.dataTransfer.files)));
  addEventListener("paste", (event) => take(event.clipboardData?.files));
}

async function upload(file) {
  const limit = app.model.limits.upload_bytes;
  if (file.size > limit) {
    const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    return notice(`The file has ${megabytes(file.size)}; at most ${megabytes(limit)} are allowed.`, "error");
  }
  mine.running?.abort();
  await guarded(mine.result, async () => {
    const answer = await post("api/upload", file, "upload");
    mine.file = file;
    mine.ref = answer.ref;
    showResult(file.name, answer);
  });
}

function threePictures(answer) {
  return Object.entries(PICTURES).map(([key, title]) => {
    mine[key] = picture({ sheet: answer[key], label: title, size: 160 });
    return el("figure", {}, mine[key], el("figcaption", {}, title));
  });
}

function showResult(name, answer) {
  mine.psnr = el("span");
  const title = el("bdi", {}, name || "Pasted image");
  mine.found = el("p.result-facts", {}, title, ": the reconstruction reaches ", mine.psnr, ".");
  mine.near = el("div.near-holder", {}, el("h3", {}, "Nearest training images"), nearList(answer.near),
    el("p.small", {}, copySentence(answer.near, answer.ref)));
  mine.result.replaceChildren(
    el("div.pictures.wide", {}, threePictures(answer)), mine.found,
    ...answer.notes.map(note),
    optimiser(), continueButtons(), mine.near);
  mine.psnr.textContent = `${answer.psnr.toFixed(1)} dB with the encoder's code`;
}

function continueButtons() {
  const pick = () => document.dispatchEvent(new CustomEvent("pick", { detail: { ref: mine.ref } }));
  const path = () => (useAs(0, mine.ref), openTab("interpolate"));
  return el("div.actions", { role: "group", "aria-label": "Continue with this code" },
    button("Continue in Interpolate", path),
    button("Continue in Directions", () => openTab("directions", { base: mine.ref, move: null })),
    button("Use as B", () => useAs(1, mine.ref)),
    button("Add stop", () => addStop(mine.ref)),
    button("Nearest images", pick));
}

function optimiser() {
  const steps = select(STEP_CHOICES.map((count) => [count, `${count} steps`]), 100, () => {});
  const bar = el("progress", { value: 0, max: 1, "aria-label": "Progress of the optimisation", hidden: true });
  const words = el("p.small.quiet", { "aria-live": "off" });
  const start = () => (mine.running ? mine.running.abort() : optimise({ steps: steps.value, go, bar, words }));
  const go = button("Optimise", start, { class: "primary" });
  const holder = field("Improve the code by gradient descent", steps);
  holder.append(go);
  holder.classList.add("with-button");
  return el("div.optimiser", {}, holder, bar, words);
}

async function optimise({ steps, go, bar, words }) {
  const controller = new AbortController();
  mine.running = controller;
  go.textContent = "Stop";
  bar.hidden = false;
  let last = null;
  const onLine = (line) => {
    if (line.error) throw new Error(line.error);
    last = line;
    mine.ref = line.ref ?? mine.ref;
    bar.value = line.step / line.steps;
    words.textContent = `Step ${line.step} of ${line.steps}: ${line.psnr.toFixed(1)} dB`;
    for (const key of ["reconstruction", "difference"]) {
      if (line[key]) drawCell(mine[key], line[key], 0);
    }
  };
  try {
    await postStream(`api/invert?steps=${steps}`, mine.file, onLine, controller.signal);
    notice("The optimisation is done.");
  } catch (error) {
    if (isAbort(error)) notice("Stopped. The code of the last step is kept.");
    else notice(error.message, "error");
  } finally {
    if (mine.running === controller) mine.running = null;
    go.textContent = "Optimise";
    bar.hidden = true;
    if (last) mine.psnr.textContent = `${last.psnr.toFixed(1)} dB after ${last.step} steps of optimisation`;
  }
}


// The tab "Class and content": the content of each image, drawn in every class.


const FIRST_ROWS = 5;
const gridUi = {};

const classesTab = {
  id: "classes",
  title: "Class and content",
  build(panel) {
    gridUi.one = el("div.one-content");
    gridUi.table = el("div.table-holder", { tabindex: 0, role: "region", "aria-label": "Conversion grid" });
    gridUi.add = el("div.actions");
    panel.append(el("div.stage", {},
      el("h2", {}, "One content, all classes"), gridUi.one,
      el("h2", {}, "Conversion grid"),
      note("Each row has the content of one image. Each column has one class."),
      gridUi.table, gridUi.add));
  },
  enter() {
    guarded(gridUi.table, async () => {
      gridUi.points = await loadPoints();
      await drawOne();
      await drawGrid();
    });
  },
};

function recordedRefs() {
  return app.model.recorded?.rows.map(trainingRef) ?? null;
}

// The rows of the grid: those in the address, or the first image of some classes.
function gridRefs() {
  const fixed = recordedRefs();
  if (fixed) return fixed;
  const chosen = readAll("row");
  if (chosen.length) return chosen;
  const seen = new Set();
  const { row, label } = gridUi.points;
  const firsts = row.filter((_, i) => !seen.has(label[i]) && seen.add(label[i]));
  return firsts.slice(0, FIRST_ROWS).map(trainingRef);
}

async function drawOne() {
  const fixed = recordedRefs();
  const wanted = read("content");
  const ref = fixed ? (fixed.includes(wanted) ? wanted : fixed[0]) : wanted || gridRefs()[0];
  const sheet = await get("api/conversions", { ref }, "content");
  const cells = sheet.classes.map((name, k) => tile({
    ref: sheet.refs[0][k], sheet, index: k, size: 96, caption: name, label: `${describe(ref)} as ${name}`,
  }));
  const more = button("Another image", () => (write({ content: randomRef() }), classesTab.enter()));
  const add = button("Add to the grid", () => (write({ row: [...gridRefs(), ref] }), classesTab.enter()));
  const buttons = el("div.actions", {}, more, fixed ? "" : add);
  refill(gridUi.one, el("p", {}, describe(ref)), el("div.tiles", {}, cells), buttons);
}

function randomRef() {
  const rows = app.model.recorded?.rows ?? gridUi.points.row;
  return trainingRef(rows[Math.floor(Math.random() * rows.length)]);
}

async function drawGrid() {
  const refs = gridRefs();
  const sheet = await get("api/conversions", { ref: refs }, "conversions");
  const columns = sheet.classes.length;
  const own = recordedRefs() ? null : await get("api/decode", { ref: refs }, "grid-own");
  const heading = (content) => el("th", { scope: "col" }, content);
  const head = el("tr", {}, heading("Content of"), sheet.classes.map((name) => heading(el("bdi", {}, name))));
  const first = (ref, r) => (own ? tile({ ref, sheet: own, index: r, label: describe(ref), size: 56 }) : describe(ref));
  const body = refs.map((ref, r) => el("tr", {},
    el("th", { scope: "row" }, first(ref, r), removeButton(refs, r)),
    sheet.classes.map((name, k) => el("td", {}, tile({
      ref: sheet.refs[r][k], sheet, index: r * columns + k, label: `${describe(ref)} as ${name}`, size: 56,
    })))));
  refill(gridUi.table, el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
  const limit = app.model.limits.refs;
  const change = (list) => (write({ row: list }), classesTab.enter());
  refill(gridUi.add, ...(recordedRefs() ? [] : [
    button("Add a random image", () => change([...refs, randomRef()]), { disabled: refs.length >= limit }),
    button("Start again", () => change([])),
  ]));
}

function removeButton(refs, r) {
  if (recordedRefs() || refs.length < 2) return "";
  const remove = () => (write({ row: refs.filter((_, k) => k !== r) }), classesTab.enter());
  return button("×", remove, { class: "mini", "aria-label": `Remove row ${r + 1}` });
}

// The tab "How it learned": the same images through all stages, the curves, and the subsets on the map.


const FILM_CELL = 32;
const past = {};

const historyTab = {
  id: "history",
  title: "How it learned",
  build(panel) {
    past.stage = el("div.stage.history");
    panel.append(past.stage);
    guarded(past.stage, async () => {
      past.data = await get("api/history");
      past.points = await loadPoints();
      buildFilm();
      buildCurves();
      if (app.model.subsets > 1) await buildSubsetMap();
      past.ready = true;
      restore();
    });
  },
  enter: () => past.ready && restore(),
  leave() {
    past.player?.stop();
    past.subsets?.stop();
  },
};

function restore() {
  past.player.setCount(past.data.frames.length, readNumber("moment", past.data.frames.length - 1));
  past.subsets?.setCount(app.model.subsets, readNumber("subsets", app.model.subsets) - 1);
}

function stageTitle(name) {
  return past.data.stages.find((stage) => stage.name === name)?.title ?? name;
}

// The training images themselves. A click picks the code of an image.
function originalTiles(sheet) {
  const cell = (row, index) => tile({ ref: trainingRef(row), sheet, index, label: `Training image ${row}`, size: 64 });
  return past.data.rows.map(cell);
}

function buildFilm() {
  const { film, originals, rows, frames } = past.data;
  past.now = rows.map((row) => picture({ label: `Reconstruction of training image ${row}`, size: 64 }));
  past.words = el("p.moment");
  past.player = makePlayer({ title: "Moment", show: showMoment, perSecond: 5 });
  past.strip = el("canvas.strip-canvas", {
    role: "img", "aria-label": `Film: ${rows.length} images at ${frames.length} moments, from left to right.`,
    onclick: (event) => past.player.go(Math.floor((event.offsetX / past.strip.clientWidth) * frames.length)),
  });
  past.mark = el("div.strip-mark", { "aria-hidden": "true" });
  past.film = el("div.film-holder", { tabindex: 0, role: "region", "aria-label": "Film strip" },
    el("div.film-inner", {}, past.strip, past.mark));
  const line = (title, list) => el("div.row-of-images", {}, note(title), el("div.images", {}, list));
  past.stage.append(el("h2", {}, "The same images at every moment"), past.words, past.player.node,
    originals ? line("Training images", originalTiles(originals)) : "",
    line("At this moment", past.now), past.film);
  drawStrip(film, frames.length, rows.length);
}

// The film of the server has a row for each moment. Here time goes to the right.
async function drawStrip(film, moments, count) {
  const image = await loadImage(film.url);
  const side = Math.min(film.side, 64);
  past.strip.width = moments * side;
  past.strip.height = count * side;
  past.strip.style.width = `${moments * FILM_CELL}px`;
  const context = past.strip.getContext("2d");
  for (let i = 0; i < moments * count; i++) {
    const [x, y] = cellOf(film, i);
    context.drawImage(image, x, y, film.side, film.side, Math.floor(i / count) * side, (i % count) * side, side, side);
  }
}

function showMoment(moment) {
  const { frames, film, rows } = past.data;
  const frame = frames[moment];
  write({ moment: moment === frames.length - 1 ? null : moment });
  past.now.forEach((canvas, k) => drawCell(canvas, film, moment * rows.length + k));
  const psnr = frame.psnr === null ? "" : `, ${frame.psnr.toFixed(1)} dB on these images`;
  const where = `Stage: ${stageTitle(frame.stage)}, epoch ${frame.epoch}`;
  past.words.textContent = `${where}: ${frame.learned} images learned${psnr}`;
  past.mark.style.left = `${moment * FILM_CELL}px`;
  past.film.scrollTo({ left: moment * FILM_CELL - past.film.clientWidth / 2 });
  past.charts?.forEach((chart) => chart.mark(past.seenAt[moment]));
}

// The number of images seen at each frame: that of the curve at the same stage and epoch, or at the last epoch before.
function seenAtFrames() {
  const { frames, curves } = past.data;
  let seen = curves[0]?.images_seen ?? 0;
  return frames.map((frame) => {
    const same = curves.filter((point) => point.stage === frame.stage && point.epoch <= frame.epoch);
    seen = Math.max(seen, same.at(-1)?.images_seen ?? seen);
    return seen;
  });
}

function buildCurves() {
  const { curves, frames } = past.data;
  past.seenAt = seenAtFrames();
  past.charts = [];
  if (curves.length > 1) past.charts.push(lossChart(curves));
  const known = frames.map((frame, k) => [past.seenAt[k], frame.psnr]).filter(([, psnr]) => psnr !== null);
  if (known.length > 1) {
    past.charts.push(lineChart({
      points: known, xTitle: "images seen", yTitle: "PSNR of these images (dB)", boundaries: stageStarts(),
      fromZero: false, dots: true,
      summary: `PSNR from ${known[0][1].toFixed(1)} to ${known.at(-1)[1].toFixed(1)} dB.`,
    }));
  }
  past.stage.append(el("h2", {}, "Loss and PSNR"), el("div.charts", {}, past.charts.map((chart) => chart.node)));
}

function stageStarts() {
  const starts = [];
  let stage = null;
  let before = past.data.curves[0]?.images_seen ?? 0;
  for (const point of past.data.curves) {
    if (point.stage !== stage) starts.push({ x: before, label: stageTitle(point.stage) });
    stage = point.stage;
    before = point.images_seen;
  }
  return starts;
}

function lossChart(curves) {
  return lineChart({
    points: curves.map((point) => [point.images_seen, point.loss]), boundaries: stageStarts(),
    xTitle: "images seen", yTitle: "Loss of each stage (logarithmic)", logY: true, breaks: true,
    summary: `Loss from ${curves[0].loss.toPrecision(3)} to ${curves.at(-1).loss.toPrecision(3)}.`,
  });
}

async function buildSubsetMap() {
  const canvas = el("canvas.map.small-map", { role: "img", "aria-label": "Map of the subsets" });
  past.map = new MapCanvas(canvas);
  const { group, colours, names } = colouring(past.points, "subset");
  past.subsetNames = el("p.moment");
  const format = (k) => (k ? `1 to ${k + 1}` : "1");
  past.subsets = makePlayer({ title: "Subsets", show: showSubsets, perSecond: 1.2, format });
  past.stage.append(el("h2", {}, "Subset after subset"),
    note("The generator learns the images of one subset, then adds the next. Colours show the subsets."),
    field("Layout", select(layoutOptions(), "pca", setSubsetLayout)), past.subsetNames, past.subsets.node,
    el("div.map-host.small-host", {}, canvas), el("div.legend", {}, legendParts(colours, names)));
  past.map.setColours(group, colours);
  await setSubsetLayout("pca");
}

async function setSubsetLayout(layout) {
  const answer = await get("api/map", { layout }, "subset-map");
  if (!answer.ready) {
    past.subsetNames.textContent = answer.sentence;
    setTimeout(() => setSubsetLayout(layout), 1000);
    return;
  }
  past.map.setPoints(answer.x, answer.y, { image: await loadImage(answer.shade.url) });
}

function showSubsets(last) {
  write({ subsets: last + 1 === app.model.subsets ? null : last + 1 });
  past.map.setVisible((i) => past.points.subset[i] <= last + 1);
  const rounds = past.data.rounds ?? [];
  const count = rounds.filter((round) => round.subset <= last + 1).reduce((sum, round) => sum + round.count, 0);
  const words = last ? `Subsets 1 to ${last + 1}` : "Subset 1";
  past.subsetNames.textContent = count ? `${words}: ${count} images` : words;
}

// The start of the page.


const CONSTRAINTS = { sphere: "on a sphere", ball: "in a ball", none: "without a limit" };

function facts(model) {
  const size = `${model.image_size}×${model.image_size}${model.channels === 1 ? " grey" : ""}`;
  const parts = [`${model.count.toLocaleString("en")} training images`, size,
    `codes of ${model.dimension} numbers ${CONSTRAINTS[model.constraint] ?? ""}`];
  if (model.shown < model.count) parts.push(`the map shows ${model.shown.toLocaleString("en")}`);
  if (model.recorded) parts.push("recorded, without a server");
  return parts.join(" · ");
}

async function startPage() {
  const panels = document.getElementById("panels");
  panels.append(el("p.quiet.loading", {}, "Loading the model …"));
  try {
    app.model = await get("api/model");
  } catch (error) {
    panels.replaceChildren();
    notice(error.message, "error");
    panels.append(el("p.quiet.loading", {}, error.message));
    return;
  }
  panels.replaceChildren();
  document.getElementById("model-name").textContent = app.model.name;
  document.getElementById("model-facts").textContent = facts(app.model);
  const tabs = [mapTab, samplesTab, interpolateTab, directionsTab, imageTab];
  if (app.model.kind === "class_content") tabs.push(classesTab);
  if (app.model.has.history) tabs.push(historyTab);
  addTabs(tabs);
  startInspector();
  watchDrops();
  showTab();
  onNavigation(() => {
    showTab();
    inspect(read("pick"));
  });
}

startPage();
})();
