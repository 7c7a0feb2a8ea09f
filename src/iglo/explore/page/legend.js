// The legend of a map: what each colour means. Its entries can also hide points.

import { el, button, help } from "./dom.js";
import { read, write } from "./state.js";

const LEGEND_HELP = "Click on an entry to hide or show its points. Double click, or press Shift and Enter, "
  + "to show only this one. The arrow keys go from entry to entry.";

function swatch(colour, spec = "span.swatch") {
  const node = el(spec);
  node.style.background = colour ?? "var(--quiet)";
  return node;
}

// A legend that only explains.
export function legendParts(colours, names, scale) {
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
export function filterLegend(colours, names, onChange) {
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
