// The points of the map: their thumbnails, and the colours that they get.

import { app } from "./state.js";
import { get } from "./api.js";
import { loadImage } from "./sheets.js";

const RAMP_STEPS = 12;
let pointsPromise = null;

// The answer of api/points, and a table from the row of a training image to its point.
export function loadPoints() {
  pointsPromise ??= get("api/points").then((points) => ({
    ...points, psnr: points.psnr ?? points.row.map(() => null), ofRow: new Map(points.row.map((row, i) => [row, i])),
  }));
  pointsPromise.catch(() => (pointsPromise = null));
  return pointsPromise;
}

export function thumbKinds() {
  const kinds = [["renders", "Reconstructions"], ["none", "Dots only"]];
  return app.model.has.images ? [["images", "Training images"], ...kinds] : kinds;
}

// The cell of the thumbnail of point i, as a sheet and an index.
export function thumbOf(kind, i) {
  const { side, columns, per_sheet } = app.model.sheets;
  const sheet = { url: `sheets/${kind}/${Math.floor(i / per_sheet)}.png`, side, columns };
  const recordedUrl = window.recorded?.[sheet.url];
  if (recordedUrl) sheet.url = typeof recordedUrl === "string" ? recordedUrl : recordedUrl.url;
  return { sheet, index: i % per_sheet };
}

const readyThumbs = new Map();

// The image of a thumbnail if it is loaded; otherwise null, and `onReady` is called when it is.
export function thumbImage(kind, i, onReady) {
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

export function labelText(points, i) {
  const label = points.label[i];
  return app.model.labels[label] ?? "";
}

export function colourKinds(points) {
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
export function colouring(points, kind) {
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
