// The panel beside each tab: the picked image, what the user can do with it, and its nearest training images.

import { el, button, guarded, notice, note, figure } from "./dom.js";
import { app, read, write } from "./state.js";
import { get, isRecorded } from "./api.js";
import { picture, tile, markPicked } from "./sheets.js";
import { loadPoints, thumbOf, labelText } from "./points.js";
import { describe, trainingRow, trainingRef, placeOf, letter } from "./refs.js";
import { stops, useAs, addStop } from "./basket.js";
import { openTab, refreshTab } from "./tabs.js";

const COPY = 0.5;
const NEARER = 0.8;
const FAR = 1.3;
const HINTS = [
  "Click any image to see it here, with its nearest training images.",
  "Click between the points of the map to decode that place.",
  "With the keyboard: press Enter on the map.",
];

// One sentence on whether an image looks like a copy of its nearest training image.
export function copySentence(near, ref) {
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

export function nearList(near) {
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
export async function inspect(ref, source = null) {
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

export function startInspector() {
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
