// The tab "How it learned": the same images through all stages, the curves, and the subsets on the map.

import { el, field, select, guarded, note } from "./dom.js";
import { app, readNumber, write } from "./state.js";
import { get } from "./api.js";
import { picture, tile, drawCell, loadImage, cellOf } from "./sheets.js";
import { trainingRef } from "./refs.js";
import { loadPoints, colouring } from "./points.js";
import { lineChart } from "./chart.js";
import { makePlayer } from "./player.js";
import { MapCanvas } from "./map_canvas.js";
import { layoutOptions } from "./map_tab.js";
import { legendParts } from "./legend.js";

const FILM_CELL = 32;
const past = {};

export const historyTab = {
  id: "history",
  title: "How it learned",
  build(panel) {
    past.stage = el("div.stage.history");
    panel.append(past.stage);
    guarded(past.stage, async () => {
      past.data = await get("api/history");
      past.points = await loadPoints();
      buildFilm();
      buildCurves();
      if (app.model.subsets > 1) await buildSubsetMap();
      past.ready = true;
      restore();
    });
  },
  enter: () => past.ready && restore(),
  leave() {
    past.player?.stop();
    past.subsets?.stop();
  },
};

function restore() {
  past.player.setCount(past.data.frames.length, readNumber("moment", past.data.frames.length - 1));
  past.subsets?.setCount(app.model.subsets, readNumber("subsets", app.model.subsets) - 1);
}

function stageTitle(name) {
  return past.data.stages.find((stage) => stage.name === name)?.title ?? name;
}

// The training images themselves. A click picks the code of an image.
function originalTiles(sheet) {
  const cell = (row, index) => tile({ ref: trainingRef(row), sheet, index, label: `Training image ${row}`, size: 64 });
  return past.data.rows.map(cell);
}

function buildFilm() {
  const { film, originals, rows, frames } = past.data;
  past.now = rows.map((row) => picture({ label: `Reconstruction of training image ${row}`, size: 64 }));
  past.words = el("p.moment");
  past.player = makePlayer({ title: "Moment", show: showMoment, perSecond: 5 });
  past.strip = el("canvas.strip-canvas", {
    role: "img", "aria-label": `Film: ${rows.length} images at ${frames.length} moments, from left to right.`,
    onclick: (event) => past.player.go(Math.floor((event.offsetX / past.strip.clientWidth) * frames.length)),
  });
  past.mark = el("div.strip-mark", { "aria-hidden": "true" });
  past.film = el("div.film-holder", { tabindex: 0, role: "region", "aria-label": "Film strip" },
    el("div.film-inner", {}, past.strip, past.mark));
  const line = (title, list) => el("div.row-of-images", {}, note(title), el("div.images", {}, list));
  past.stage.append(el("h2", {}, "The same images at every moment"), past.words, past.player.node,
    originals ? line("Training images", originalTiles(originals)) : "",
    line("At this moment", past.now), past.film);
  drawStrip(film, frames.length, rows.length);
}

// The film of the server has a row for each moment. Here time goes to the right.
async function drawStrip(film, moments, count) {
  const image = await loadImage(film.url);
  const side = Math.min(film.side, 64);
  past.strip.width = moments * side;
  past.strip.height = count * side;
  past.strip.style.width = `${moments * FILM_CELL}px`;
  const context = past.strip.getContext("2d");
  for (let i = 0; i < moments * count; i++) {
    const [x, y] = cellOf(film, i);
    context.drawImage(image, x, y, film.side, film.side, Math.floor(i / count) * side, (i % count) * side, side, side);
  }
}

function showMoment(moment) {
  const { frames, film, rows } = past.data;
  const frame = frames[moment];
  write({ moment: moment === frames.length - 1 ? null : moment });
  past.now.forEach((canvas, k) => drawCell(canvas, film, moment * rows.length + k));
  const psnr = frame.psnr === null ? "" : `, ${frame.psnr.toFixed(1)} dB on these images`;
  const where = `Stage: ${stageTitle(frame.stage)}, epoch ${frame.epoch}`;
  past.words.textContent = `${where}: ${frame.learned} images learned${psnr}`;
  past.mark.style.left = `${moment * FILM_CELL}px`;
  past.film.scrollTo({ left: moment * FILM_CELL - past.film.clientWidth / 2 });
  past.charts?.forEach((chart) => chart.mark(past.seenAt[moment]));
}

// The number of images seen at each frame: that of the curve at the same stage and epoch, or at the last epoch before.
function seenAtFrames() {
  const { frames, curves } = past.data;
  let seen = curves[0]?.images_seen ?? 0;
  return frames.map((frame) => {
    const same = curves.filter((point) => point.stage === frame.stage && point.epoch <= frame.epoch);
    seen = Math.max(seen, same.at(-1)?.images_seen ?? seen);
    return seen;
  });
}

function buildCurves() {
  const { curves, frames } = past.data;
  past.seenAt = seenAtFrames();
  past.charts = [];
  if (curves.length > 1) past.charts.push(lossChart(curves));
  const known = frames.map((frame, k) => [past.seenAt[k], frame.psnr]).filter(([, psnr]) => psnr !== null);
  if (known.length > 1) {
    past.charts.push(lineChart({
      points: known, xTitle: "images seen", yTitle: "PSNR of these images (dB)", boundaries: stageStarts(),
      fromZero: false, dots: true,
      summary: `PSNR from ${known[0][1].toFixed(1)} to ${known.at(-1)[1].toFixed(1)} dB.`,
    }));
  }
  past.stage.append(el("h2", {}, "Loss and PSNR"), el("div.charts", {}, past.charts.map((chart) => chart.node)));
}

function stageStarts() {
  const starts = [];
  let stage = null;
  let before = past.data.curves[0]?.images_seen ?? 0;
  for (const point of past.data.curves) {
    if (point.stage !== stage) starts.push({ x: before, label: stageTitle(point.stage) });
    stage = point.stage;
    before = point.images_seen;
  }
  return starts;
}

function lossChart(curves) {
  return lineChart({
    points: curves.map((point) => [point.images_seen, point.loss]), boundaries: stageStarts(),
    xTitle: "images seen", yTitle: "Loss of each stage (logarithmic)", logY: true, breaks: true,
    summary: `Loss from ${curves[0].loss.toPrecision(3)} to ${curves.at(-1).loss.toPrecision(3)}.`,
  });
}

async function buildSubsetMap() {
  const canvas = el("canvas.map.small-map", { role: "img", "aria-label": "Map of the subsets" });
  past.map = new MapCanvas(canvas);
  const { group, colours, names } = colouring(past.points, "subset");
  past.subsetNames = el("p.moment");
  const format = (k) => (k ? `1 to ${k + 1}` : "1");
  past.subsets = makePlayer({ title: "Subsets", show: showSubsets, perSecond: 1.2, format });
  past.stage.append(el("h2", {}, "Subset after subset"),
    note("The generator learns the images of one subset, then adds the next. Colours show the subsets."),
    field("Layout", select(layoutOptions(), "pca", setSubsetLayout)), past.subsetNames, past.subsets.node,
    el("div.map-host.small-host", {}, canvas), el("div.legend", {}, legendParts(colours, names)));
  past.map.setColours(group, colours);
  await setSubsetLayout("pca");
}

async function setSubsetLayout(layout) {
  const answer = await get("api/map", { layout }, "subset-map");
  if (!answer.ready) {
    past.subsetNames.textContent = answer.sentence;
    setTimeout(() => setSubsetLayout(layout), 1000);
    return;
  }
  past.map.setPoints(answer.x, answer.y, { image: await loadImage(answer.shade.url) });
}

function showSubsets(last) {
  write({ subsets: last + 1 === app.model.subsets ? null : last + 1 });
  past.map.setVisible((i) => past.points.subset[i] <= last + 1);
  const rounds = past.data.rounds ?? [];
  const count = rounds.filter((round) => round.subset <= last + 1).reduce((sum, round) => sum + round.count, 0);
  const words = last ? `Subsets 1 to ${last + 1}` : "Subset 1";
  past.subsetNames.textContent = count ? `${words}: ${count} images` : words;
}
