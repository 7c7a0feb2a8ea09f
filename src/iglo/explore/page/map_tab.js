// The tab "Map": the codes of the training images in two dimensions.

import { el, button, field, select, help, guarded, notice, refill } from "./dom.js";
import { app, read, write } from "./state.js";
import { get } from "./api.js";
import { loadImage, cellOf } from "./sheets.js";
import { loadPoints, thumbKinds, thumbImage, thumbOf, colourKinds, colouring } from "./points.js";
import { MapCanvas } from "./map_canvas.js";
import { watchMap } from "./map_gestures.js";
import { makeHoverCard } from "./map_hover.js";
import { legendParts, filterLegend } from "./legend.js";
import { findField } from "./find.js";
import { placeRef, placeOf, trainingRef, trainingRow } from "./refs.js";
import { inspect } from "./inspector.js";

const LAYOUT_TITLES = { pca: "Linear (PCA)", neighbours: "Neighbours (t-SNE)" };
const SHADE_HELP = "A strong shade means that the code of this place is far from every training code. "
  + "Nothing was learned in such a hole, so images from there are often bad.";
const ui = {};

export const mapTab = {
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

export function layoutOptions() {
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
