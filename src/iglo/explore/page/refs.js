// The addresses of codes, in words and with changes.

import { app } from "./state.js";

const SIGNIFICANT = 4;

export function trainingRef(row) {
  return `t:${row}`;
}

export function placeRef(layout, x, y) {
  return `m:${layout}:${Number(x.toFixed(SIGNIFICANT))}:${Number(y.toFixed(SIGNIFICANT))}`;
}

// The row of a training image, or null if the address is something else.
export function trainingRow(ref) {
  const match = /^t:(\d+)$/.exec(ref);
  return match ? Number(match[1]) : null;
}

// The place on a map that an address names, or null.
export function placeOf(ref) {
  const match = /^m:([a-z]+):(-?[\d.]+):(-?[\d.]+)$/.exec(ref);
  return match ? { layout: match[1], x: Number(match[2]), y: Number(match[3]) } : null;
}

// Amounts: a table from a move to its size, such as {"d:0": 1.5, "l:4:9": 0.5}. The answer: ["d:0:1.5", "l:4:9:0.5"].
export function changesOf(amounts) {
  const moved = Object.entries(amounts).map(([move, amount]) => [move, Number(amount.toFixed(3))]);
  return moved.filter(([, amount]) => amount).map(([move, amount]) => `${move}:${amount}`);
}

// The reverse of changesOf. Texts that are no moves are left out.
export function amountsOf(changes) {
  const found = changes.map((change) => /^(d:\d+|l:\d+:\d+):(-?[\d.]+)$/.exec(change)).filter(Boolean);
  return Object.fromEntries(found.map(([, move, amount]) => [move, Number(amount)]));
}

export function amountText(value) {
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

export function describe(ref) {
  const [start, ...changes] = ref.split("~");
  return [describeStart(start), ...changes.map(describeChange)].join(", ");
}

function priorLabel(name) {
  return app.model.priors.find((prior) => prior.name === name)?.label ?? name;
}

// A letter for each stop of a path: A, B, C, …
export function letter(index) {
  return index < 26 ? String.fromCharCode(65 + index) : String(index + 1);
}
