// The tab "Class and content": the content of each image, drawn in every class.

import { el, button, guarded } from "./dom.js";
import { app, read, readAll, write } from "./state.js";
import { get } from "./api.js";
import { tile } from "./sheets.js";
import { loadPoints } from "./points.js";
import { describe, trainingRef } from "./refs.js";

const FIRST_ROWS = 5;
const gridUi = {};

export const classesTab = {
  id: "classes",
  title: "Class and content",
  build(panel) {
    gridUi.one = el("div.one-content");
    gridUi.table = el("div.table-holder", { tabindex: 0, role: "region", "aria-label": "Conversion grid" });
    gridUi.add = el("div.actions");
    panel.append(el("div.stage", {},
      el("h2", {}, "One content, all classes"), gridUi.one,
      el("h2", {}, "Conversion grid"), el("p.quiet.small", {}, "Each row has the content of one image. Each column has one class."),
      gridUi.table, gridUi.add));
  },
  enter() {
    guarded(gridUi.table, async () => {
      gridUi.points = await loadPoints();
      await drawOne();
      await drawGrid();
    });
  },
};

function recordedRefs() {
  return app.model.recorded?.rows.map(trainingRef) ?? null;
}

// The rows of the grid: those in the address, or the first image of some classes.
function gridRefs() {
  const fixed = recordedRefs();
  if (fixed) return fixed;
  const chosen = readAll("row");
  if (chosen.length) return chosen;
  const seen = new Set();
  const firsts = gridUi.points.row.filter((_, i) => !seen.has(gridUi.points.label[i]) && seen.add(gridUi.points.label[i]));
  return firsts.slice(0, FIRST_ROWS).map(trainingRef);
}

async function drawOne() {
  const fixed = recordedRefs();
  const wanted = read("content");
  const ref = fixed ? (fixed.includes(wanted) ? wanted : fixed[0]) : wanted || gridRefs()[0];
  const sheet = await get("api/conversions", { ref }, "content");
  const cells = sheet.classes.map((name, k) => tile({
    ref: sheet.refs[0][k], sheet, index: k, label: `The content of ${describe(ref)} as ${name}`, caption: name, size: 96,
  }));
  const more = button("Another image", () => (write({ content: randomRef() }), classesTab.enter()));
  const add = button("Add to the grid", () => (write({ row: [...gridRefs(), ref] }), classesTab.enter()));
  gridUi.one.replaceChildren(el("p", {}, describe(ref)), el("div.tiles", {}, cells), el("div.actions", {}, more, fixed ? "" : add));
}

function randomRef() {
  const rows = app.model.recorded?.rows ?? gridUi.points.row;
  return trainingRef(rows[Math.floor(Math.random() * rows.length)]);
}

async function drawGrid() {
  const refs = gridRefs();
  const sheet = await get("api/conversions", { ref: refs }, "conversions");
  const columns = sheet.classes.length;
  const own = recordedRefs() ? null : await get("api/decode", { ref: refs }, "grid-own");
  const head = el("tr", {}, el("th", { scope: "col" }, "Content of"), sheet.classes.map((name) => el("th", { scope: "col" }, el("bdi", {}, name))));
  const body = refs.map((ref, r) => el("tr", {},
    el("th", { scope: "row" }, own ? tile({ ref, sheet: own, index: r, label: describe(ref), size: 56 }) : describe(ref), removeButton(refs, r)),
    sheet.classes.map((name, k) => el("td", {}, tile({
      ref: sheet.refs[r][k], sheet, index: r * columns + k, label: `${describe(ref)} as ${name}`, size: 56,
    })))));
  gridUi.table.replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
  const limit = app.model.limits.refs;
  const change = (list) => (write({ row: list }), classesTab.enter());
  gridUi.add.replaceChildren(...(recordedRefs() ? [] : [
    button("Add a random image", () => change([...refs, randomRef()]), { disabled: refs.length >= limit }),
    button("Start again", () => change([])),
  ]));
}

function removeButton(refs, r) {
  if (recordedRefs() || refs.length < 2) return "";
  const remove = () => (write({ row: refs.filter((_, k) => k !== r) }), classesTab.enter());
  return button("×", remove, { class: "mini", "aria-label": `Remove row ${r + 1}` });
}
