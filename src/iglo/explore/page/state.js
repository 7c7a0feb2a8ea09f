// All state of the page is in the part of the address after "#". So a view can be bookmarked and shared.

const DEFAULTS = {
  tab: "map", layout: "pca", view: "0,0,1", seed: "0", psi: "1", toward: "mean", closed: "0", frame: "0",
};

// What all modules share: the answer of api/model.
export const app = { model: null };

let values = new URLSearchParams(location.hash.slice(1));
let timer = 0;

export function read(key) {
  const value = values.get(key);
  return value === null ? DEFAULTS[key] ?? "" : value;
}

export function readAll(key) {
  return values.getAll(key);
}

export function readNumber(key, fallback) {
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
export function write(changes, push = false) {
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
export function onNavigation(listener) {
  addEventListener("popstate", () => {
    clearTimeout(timer);
    timer = 0;
    values = new URLSearchParams(location.hash.slice(1));
    listener();
  });
  addEventListener("pagehide", () => timer && replaceNow());
}
