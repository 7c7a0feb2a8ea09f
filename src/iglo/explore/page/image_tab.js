// The tab "Your image": find the code of an image that the user brings.

import { el, button, field, select, guarded, notice, note } from "./dom.js";
import { app } from "./state.js";
import { post, postStream, isRecorded, isAbort } from "./api.js";
import { picture, drawCell } from "./sheets.js";
import { nearList } from "./inspector.js";
import { useAs, addStop } from "./basket.js";
import { openTab } from "./tabs.js";

const PICTURES = {
  image: "Your image, as the model takes it", reconstruction: "Reconstruction", difference: "Difference",
};
const STEP_CHOICES = [50, 100, 200, 500];
const mine = { file: null, ref: null, running: null };

export const imageTab = {
  id: "image",
  title: "Your image",
  build(panel) {
    if (isRecorded()) {
      panel.append(el("div.stage", {}, el("p.empty", {},
        "This page has no server, so it cannot find the code of an image. Run ",
        el("code", {}, "iglo explore"), " to try your own images.")));
      return;
    }
    const onchange = () => input.files[0] && upload(input.files[0]);
    const input = el("input.visually-hidden", { type: "file", accept: "image/*", id: "file", onchange });
    mine.drop = el("label.drop", { for: "file" }, el("strong", {}, "Drop an image here"),
      el("span.quiet.small", {}, "or click to choose a file, or paste one. The server of this page does not keep it."));
    mine.result = el("div.result");
    panel.append(el("div.stage", {}, input, mine.drop, mine.result));
  },
  enter() {},
  leave: () => mine.running?.abort(),
};

// A file that is dropped or pasted anywhere on the page opens this tab.
export function watchDrops() {
  const take = (files) => {
    if (!files?.length) return;
    openTab("image");
    if (!isRecorded()) upload(files[0]);
  };
  const over = (shown) => (event) => {
    event.preventDefault();
    mine.drop?.classList.toggle("over", shown);
  };
  addEventListener("dragover", over(true));
  addEventListener("dragleave", over(false));
  addEventListener("drop", (event) => (over(false)(event), take(event.dataTransfer.files)));
  addEventListener("paste", (event) => take(event.clipboardData?.files));
}

async function upload(file) {
  const limit = app.model.limits.upload_bytes;
  if (file.size > limit) {
    const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    return notice(`The file has ${megabytes(file.size)}; at most ${megabytes(limit)} are allowed.`, "error");
  }
  mine.running?.abort();
  await guarded(mine.result, async () => {
    const answer = await post("api/upload", file, "upload");
    mine.file = file;
    mine.ref = answer.ref;
    showResult(file.name, answer);
  });
}

function threePictures(answer) {
  return Object.entries(PICTURES).map(([key, title]) => {
    mine[key] = picture({ sheet: answer[key], label: title, size: 160 });
    return el("figure", {}, mine[key], el("figcaption", {}, title));
  });
}

function showResult(name, answer) {
  mine.psnr = el("span");
  const title = el("bdi", {}, name || "Pasted image");
  mine.found = el("p.result-facts", {}, title, ": the reconstruction reaches ", mine.psnr, ".");
  mine.near = el("div.near-holder", {}, el("h3", {}, "Nearest training images"), nearList(answer.near),
    note("The numbers are root mean square differences of pixels, from 0 to 1."));
  mine.result.replaceChildren(
    el("div.pictures.wide", {}, threePictures(answer)), mine.found,
    ...answer.notes.map(note),
    optimiser(), continueButtons(), mine.near);
  mine.psnr.textContent = `${answer.psnr.toFixed(1)} dB with the encoder's code`;
}

function continueButtons() {
  const pick = () => document.dispatchEvent(new CustomEvent("pick", { detail: { ref: mine.ref } }));
  const path = () => (useAs(0, mine.ref), openTab("interpolate"));
  return el("div.actions", { role: "group", "aria-label": "Continue with this code" },
    button("Continue in Interpolate", path),
    button("Continue in Directions", () => openTab("directions", { base: mine.ref, move: null })),
    button("Use as B", () => useAs(1, mine.ref)),
    button("Add stop", () => addStop(mine.ref)),
    button("Nearest images", pick));
}

function optimiser() {
  const steps = select(STEP_CHOICES.map((count) => [count, `${count} steps`]), 100, () => {});
  const bar = el("progress", { value: 0, max: 1, "aria-label": "Progress of the optimisation", hidden: true });
  const words = el("p.small.quiet", { "aria-live": "off" });
  const start = () => (mine.running ? mine.running.abort() : optimise({ steps: steps.value, go, bar, words }));
  const go = button("Optimise", start, { class: "primary" });
  const holder = field("Improve the code by gradient descent", steps);
  holder.append(go);
  holder.classList.add("with-button");
  return el("div.optimiser", {}, holder, bar, words);
}

async function optimise({ steps, go, bar, words }) {
  const controller = new AbortController();
  mine.running = controller;
  go.textContent = "Stop";
  bar.hidden = false;
  let last = null;
  const onLine = (line) => {
    if (line.error) throw new Error(line.error);
    last = line;
    mine.ref = line.ref ?? mine.ref;
    bar.value = line.step / line.steps;
    words.textContent = `Step ${line.step} of ${line.steps}: ${line.psnr.toFixed(1)} dB`;
    for (const key of ["reconstruction", "difference"]) {
      if (line[key]) drawCell(mine[key], line[key], 0);
    }
  };
  try {
    await postStream(`api/invert?steps=${steps}`, mine.file, onLine, controller.signal);
    notice("The optimisation is done.");
  } catch (error) {
    if (isAbort(error)) notice("Stopped. The code of the last step is kept.");
    else notice(error.message, "error");
  } finally {
    if (mine.running === controller) mine.running = null;
    go.textContent = "Optimise";
    bar.hidden = true;
    if (last) mine.psnr.textContent = `${last.psnr.toFixed(1)} dB after ${last.step} steps of optimisation`;
  }
}

