// The tab "Samples": new images, drawn by a prior.

import { el, button, field, select, slider, help, guarded, refill, note } from "./dom.js";
import { app, read, readNumber, write } from "./state.js";
import { get, isRecorded } from "./api.js";
import { tile } from "./sheets.js";
import { describe } from "./refs.js";

const samplesUi = {};
const MAX_SEED = 9999;
const TRUNCATION = "Truncation pulls each code toward a centre. "
  + "With 1, codes stay as the prior draws them. With 0, every code is at the centre. "
  + "Values between 0 and 1 often give better images with less variety.";

function chosenPrior() {
  const { priors } = app.model;
  const named = priors.find((prior) => prior.name === read("prior"));
  return named ?? priors.find((prior) => prior.chosen) ?? priors[0];
}

export const samplesTab = {
  id: "samples",
  title: "Samples",
  build(panel) {
    samplesUi.controls = el("div.rail");
    samplesUi.grid = el("div.tiles", { role: "group", "aria-label": "Samples" });
    panel.append(samplesUi.controls, el("div.stage", {}, samplesUi.grid,
      note("Click on a sample to see its nearest training images. They show whether it is a copy.")));
  },
  enter() {
    buildSampleControls();
    drawSamples();
  },
};

function priorOption(prior) {
  return [prior.name, `${prior.chosen ? "✓ " : ""}${prior.label}`];
}

function distanceText(prior) {
  const distance = prior.kernel_distance ?? null;
  const words = distance === null ? ""
    : `Kernel distance to validation images: ${distance.toFixed(3)}. Lower is better.`;
  return prior.chosen ? `✓ Chosen for this model. ${words}` : words;
}

function seedControl(seeds, change) {
  if (seeds) return field("Seed", select(seeds, read("seed"), (seed) => change({ seed })));
  const input = el("input", {
    type: "number", min: 0, max: MAX_SEED, step: 1, value: read("seed"),
    onchange: () => change({ seed: Math.max(0, Math.min(MAX_SEED, Math.round(Number(input.value) || 0))) }),
  });
  const fresh = button("New seed", () => {
    input.value = Math.floor(Math.random() * (MAX_SEED + 1));
    change({ seed: input.value });
  });
  const holder = field("Seed", input);
  holder.append(fresh);
  holder.classList.add("with-button");
  return holder;
}

function truncationControl(change) {
  const recorded = app.model.recorded;
  const tip = help("truncation", TRUNCATION);
  if (recorded) {
    return [field("Truncation", select(recorded.psis, read("psi"), (psi) => change({ psi })), tip)];
  }
  const psi = slider({
    title: "Truncation", min: 0, max: 1, step: 0.05, value: readNumber("psi", 1), tip,
    format: (value) => value.toFixed(2), oninput: (value) => change({ psi: value }),
  });
  const centres = [["mean", "the mean of the codes"], ["nearest", "the nearest training code"]];
  return [psi.node, field("Pull toward", select(centres, read("toward"), (toward) => change({ toward })))];
}

function buildSampleControls() {
  const recorded = app.model.recorded;
  const words = note(distanceText(chosenPrior()));
  const change = (values) => {
    write(values);
    words.textContent = distanceText(chosenPrior());
    drawSamples();
  };
  const counts = [8, 16, 32, 64, 128].filter((count) => count <= app.model.limits.samples);
  refill(samplesUi.controls,
    field("Prior", select(app.model.priors.map(priorOption), chosenPrior().name, (prior) => change({ prior }))),
    words,
    seedControl(recorded?.seeds, change),
    ...truncationControl(change),
    recorded ? "" : field("Images", select(counts, sampleCount(), (count) => change({ count }))));
}

function sampleCount() {
  return app.model.recorded?.count ?? Math.min(readNumber("count", 32), app.model.limits.samples);
}

function drawSamples() {
  const { grid } = samplesUi;
  return guarded(grid, async () => {
    const params = {
      prior: chosenPrior().name, seed: readNumber("seed", 0), count: sampleCount(), psi: readNumber("psi", 1),
      toward: isRecorded() ? app.model.recorded.toward : read("toward"),
    };
    const sheet = await get("api/samples", params, "samples");
    const tiles = sheet.refs.map((ref, index) => tile({ ref, sheet, index, label: describe(ref), size: 88 }));
    grid.replaceChildren(...tiles);
  });
}
