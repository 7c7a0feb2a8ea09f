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
export function el(spec, attributes = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return fill(node, attributes, children);
}

export function svgEl(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

// A small grey text that explains.
export function note(text) {
  return el("p.quiet.small", {}, text);
}

export function figure(image, caption) {
  return el("figure", {}, image, el("figcaption", {}, caption));
}

export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

function uniqueId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

// Replace what is in a node, and give the keyboard focus to the control that was at the same position.
export function refill(node, ...children) {
  const controls = () => [...node.querySelectorAll("button, select, input, a")];
  const position = controls().indexOf(document.activeElement);
  node.replaceChildren(...children);
  if (position >= 0) controls().at(Math.min(position, controls().length - 1))?.focus({ preventScroll: true });
}

// A text that explains a control. It appears on hover and on keyboard focus, and Escape hides it.
export function help(about, text) {
  const id = uniqueId("tip");
  const tip = el("span.tip", { id, role: "tooltip" }, text);
  const mark = el("button.help", { type: "button", "aria-label": `About ${about}`, "aria-describedby": id }, "?");
  const holder = el("span.help-holder", {}, mark, tip);
  holder.addEventListener("keydown", (event) => event.key === "Escape" && holder.classList.add("closed"));
  mark.addEventListener("blur", () => holder.classList.remove("closed"));
  holder.addEventListener("pointerenter", () => holder.classList.remove("closed"));
  return holder;
}

export function field(title, control, tip = null) {
  control.id ||= uniqueId("field");
  return el("div.field", {}, el("div.field-title", {}, el("label", { for: control.id }, title), tip), control);
}

// options: [[value, text], …] or plain values.
export function select(options, value, onchange, attributes = {}) {
  const items = options.map((one) => [one].flat()).map(([key, text = key]) => el("option", { value: key }, text));
  const node = el("select", { onchange: () => onchange(node.value), ...attributes }, items);
  node.value = value;
  return node;
}

// A slider with its value beside it. `node` holds both, `set` moves it without an event.
export function slider({ title, min, max, step, value, format = String, oninput, onchange = () => {}, tip = null }) {
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

export function startWork() {
  pending += 1;
  if (!progressTimer) {
    progressTimer = setTimeout(() => (document.getElementById("progress").hidden = pending === 0), 180);
  }
}

export function endWork() {
  pending -= 1;
  if (pending > 0) return;
  clearTimeout(progressTimer);
  progressTimer = 0;
  document.getElementById("progress").hidden = true;
}

export function clearNotice() {
  document.getElementById("notice").replaceChildren();
}

// Show one sentence in the live region.
export function notice(text, kind = "news") {
  const node = document.getElementById("notice");
  clearTimeout(noticeTimer);
  const close = button("×", () => node.replaceChildren(), { "aria-label": "Close this message" });
  node.replaceChildren(el(`p.${kind}`, {}, el("span", {}, text), close));
  noticeTimer = setTimeout(() => node.replaceChildren(), kind === "error" ? 12000 : 3500);
}

// Run `work`; mark `node` as busy; show an error as a sentence. An aborted request is silent.
export async function guarded(node, work) {
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

export function calmMotion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
