// Directions that the user saved, in the storage of the browser. Each belongs to one training of one model,
// because after another training the same direction changes something else.

import { app } from "./state.js";
import { notice } from "./dom.js";

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

export function savedDirections() {
  return readStore().filter((one) => one.model === app.model.digest);
}

export function saveDirection(name, amounts) {
  const others = readStore().filter((one) => !isOf(one, name));
  return writeStore([...others, { model: app.model.digest, name, amounts: { ...amounts } }]);
}

export function deleteDirection(name) {
  return writeStore(readStore().filter((one) => !isOf(one, name)));
}

export function scaled(amounts, strength) {
  return Object.fromEntries(Object.entries(amounts).map(([move, amount]) => [move, amount * strength]));
}
