// A control that moves a code from the mean of one label toward the mean of another.

import { el, select, slider, help } from "./dom.js";
import { app } from "./state.js";

const LABEL_HELP = "The code moves along the difference of two mean codes, from the first label to the second. "
  + "With 1, it moves by the whole difference.";

// The labels of the move in a table of amounts, such as {"l:4:9": 0.5}.
function labelsOf(amounts) {
  const key = Object.keys(amounts).find((name) => name.startsWith("l:"));
  return key ? key.split(":").slice(1).map(Number) : null;
}

// `change(key, amount)` replaces the move between labels. The answer is null where there are no two labels.
export function labelControl(amounts, change) {
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
