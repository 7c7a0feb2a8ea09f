// The tab "Interpolate": a path of images from A to B, and over more stops.

import { el, button, field, select, guarded, notice, refill, note } from "./dom.js";
import { app, read, readNumber, write } from "./state.js";
import { get, address, isRecorded } from "./api.js";
import { picture, tile, drawCell } from "./sheets.js";
import { loadPoints } from "./points.js";
import { lineChart } from "./chart.js";
import { makePlayer } from "./player.js";
import { stops, setStops, addStop } from "./basket.js";
import { describe, letter, trainingRef } from "./refs.js";

const WAY_TITLES = { circle: "Great circle", line: "Straight line", graph: "Graph of near codes" };
const pathUi = {};

export const interpolateTab = {
  id: "interpolate",
  title: "Interpolate",
  build(panel) {
    pathUi.controls = el("div.rail");
    pathUi.stops = el("ol.stops");
    pathUi.frame = picture({ label: "The current frame", size: 224 });
    pathUi.player = makePlayer({ title: "Frame", show: showFrame });
    pathUi.film = el("div.film", { role: "group", "aria-label": "All frames" });
    pathUi.curve = el("div.curve-holder");
    pathUi.body = el("div.path-body", {}, el("div.now", {}, pathUi.frame, pathUi.player.node), pathUi.curve);
    panel.append(pathUi.controls, el("div.stage", {}, pathUi.stops, pathUi.body, pathUi.film));
  },
  leave: () => pathUi.player.stop(),
  enter() {
    guarded(pathUi.body, async () => {
      pathUi.refs = await currentStops();
      buildPathControls();
      await drawPath();
    });
  },
};

// The stops in the address, or two training images so that there is something to see.
async function currentStops() {
  if (isRecorded()) {
    const { pairs } = app.model.recorded;
    return pairs.find((pair) => pair.join() === stops().join()) ?? pairs[0];
  }
  const chosen = stops();
  if (chosen.length > 1) return chosen;
  const points = await loadPoints();
  const other = points.label.findIndex((label, i) => i > 0 && label !== points.label[0]);
  const defaults = [points.row[0], points.row[other > 0 ? other : points.row.length - 1]].map(trainingRef);
  return [...chosen, ...defaults].slice(0, 2);
}

function waysNow() {
  return app.model.recorded?.ways ?? app.model.ways;
}

function pathParams() {
  const way = waysNow().includes(read("way")) ? read("way") : waysNow()[0];
  const steps = app.model.recorded?.steps ?? Math.min(readNumber("steps", 16), app.model.limits.steps);
  return { stop: pathUi.refs, way, steps, closed: isRecorded() ? 0 : readNumber("closed", 0) };
}

function buildPathControls() {
  const change = (key) => (value) => (write({ [key]: value, frame: 0 }), interpolateTab.enter());
  const { way, steps, closed } = pathParams();
  const ways = waysNow().map((name) => [name, WAY_TITLES[name] ?? name]);
  const controls = [field("Way", select(ways, way, change("way")))];
  if (isRecorded()) {
    const pairs = app.model.recorded.pairs.map((pair, k) => [k, pair.map(describe).join(" → ")]);
    const here = app.model.recorded.pairs.indexOf(pathUi.refs);
    controls.unshift(field("Pair", select(pairs, here, (k) => setStops(app.model.recorded.pairs[k]))));
  } else {
    const counts = [8, 16, 32, 60].filter((count) => count <= app.model.limits.steps);
    controls.push(field("Steps from stop to stop", select([...new Set([...counts, steps])], steps, change("steps"))));
    const onchange = () => change("closed")(loop.checked ? 1 : 0);
    const loop = el("input", { type: "checkbox", id: "closed", checked: closed === 1, onchange });
    controls.push(el("p.check", {}, loop, el("label", { for: "closed" }, "Return to A at the end")));
    controls.push(el("div.actions", {},
      button("Add a random image", addRandom),
      button("Clear", () => setStops([])),
      el("a.button", { href: address("api/path.png", pathParams()), download: "path.png" }, "PNG strip"),
      el("a.button", { href: address("api/path.gif", pathParams()), download: "path.gif" }, "GIF")));
    controls.push(note("To choose stops, pick images on the map, in Samples, or in Your image."));
  }
  refill(pathUi.controls, ...controls);
}

async function addRandom() {
  const points = await loadPoints();
  if (stops().length < 2) setStops(pathUi.refs);
  addStop(trainingRef(points.row[Math.floor(Math.random() * points.row.length)]));
}

function moveStop(from, to) {
  const list = [...pathUi.refs];
  list.splice(to, 0, ...list.splice(from, 1));
  setStops(list);
}

function stopItem(ref, position, sheet, index) {
  const name = letter(position);
  const count = pathUi.refs.length;
  const small = (text, label, onclick, disabled) =>
    button(text, onclick, { class: "mini", "aria-label": label, disabled });
  const tools = isRecorded() ? [] : el("div.mini-row", {},
    small("←", `Move ${name} to the left`, () => moveStop(position, position - 1), position === 0),
    small("→", `Move ${name} to the right`, () => moveStop(position, position + 1), position === count - 1),
    small("×", `Remove ${name}`, () => setStops(pathUi.refs.filter((_, k) => k !== position)), count < 3));
  return el("li.stop", {}, el("span.letter", {}, name),
    tile({ ref, sheet, index, label: `${name}: ${describe(ref)}`, caption: describe(ref), size: 72 }), tools);
}

async function drawPath() {
  const path = await get("api/path", pathParams(), "path");
  pathUi.path = path;
  const items = pathUi.refs.map((ref, k) => stopItem(ref, k, path, path.stops[k] ?? 0));
  refill(pathUi.stops, ...items);
  pathUi.film.replaceChildren(...path.refs.map((ref, index) => {
    const node = tile({ ref, sheet: path, index, label: `Frame ${index + 1}`, size: 48 });
    node.addEventListener("focus", () => node.matches(":focus-visible") && pathUi.player.go(index));
    node.addEventListener("click", () => pathUi.player.go(index));
    return node;
  }));
  drawStepCurve(path);
  pathUi.player.setCount(path.refs.length, Math.min(readNumber("frame", 0), path.refs.length - 1));
}

function drawStepCurve(path) {
  const sizes = path.step_sizes;
  if (sizes.length < 2) return pathUi.curve.replaceChildren();
  const low = Math.min(...sizes);
  const high = Math.max(...sizes);
  const boundary = (frame, k) => ({ x: frame + 1, label: letter(k % pathUi.refs.length) });
  pathUi.chart = lineChart({
    points: sizes.map((size, k) => [k + 1.5, size]), xTitle: "frame", dots: sizes.length < 40,
    yTitle: `Size of each step: ${path.unit ?? app.model.step_distance}`,
    summary: `Sizes of the ${sizes.length} steps: from ${low.toPrecision(2)} to ${high.toPrecision(2)}.`,
    boundaries: path.stops.length > 2 || path.stops.at(-1) < path.refs.length - 1 ? path.stops.map(boundary) : [],
  });
  pathUi.curve.replaceChildren(pathUi.chart.node);
}

function showFrame(frame) {
  const { path } = pathUi;
  if (!path) return;
  write({ frame });
  pathUi.frame.classList.toggle("smooth", path.side > 224);
  pathUi.frame.setAttribute("aria-label", `Frame ${frame + 1} of ${path.refs.length}`);
  drawCell(pathUi.frame, path, frame).catch((error) => notice(error.message, "error"));
  pathUi.chart?.mark(frame + 1);
  [...pathUi.film.children].forEach((node, k) => node.classList.toggle("now", k === frame));
  const current = pathUi.film.children[frame];
  if (current) pathUi.film.scrollTo({ left: current.offsetLeft - pathUi.film.clientWidth / 2 });
}
