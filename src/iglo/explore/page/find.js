// A field that finds training images by name, by label or by number.

import { el, field } from "./dom.js";
import { app } from "./state.js";
import { isRecorded } from "./api.js";
import { picture } from "./sheets.js";
import { labelText, thumbOf } from "./points.js";

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
export function findField(points, choose) {
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
