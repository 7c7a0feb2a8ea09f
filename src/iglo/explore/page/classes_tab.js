// The tab "Class and content": the content of each image, drawn in every class.

import { el, button, guarded, refill, note } from "./dom.js";
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
      el("h2", {}, "Conversion grid"),
      note("Each row has the content of one image. Each column has one class."),
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
  const { row, label } = gridUi.points;
  const firsts = row.filter((_, i) => !seen.has(label[i]) && seen.add(label[i]));
  return firsts.slice(0, FIRST_ROWS).map(trainingRef);
}

async function drawOne() {
  const fixed = recordedRefs();
  const wanted = read("content");
  const ref = fixed ? (fixed.includes(wanted) ? wanted : fixed[0]) : wanted || gridRefs()[0];
  const sheet = await get("api/conversions", { ref }, "content");
  const cells = sheet.classes.map((name, k) => tile({
    ref: sheet.refs[0][k], sheet, index: k, size: 96, caption: name, label: `${describe(ref)} as ${name}`,
  }));
  const more = button("Another image", () => (write({ content: randomRef() }), classesTab.enter()));
  const add = button("Add to the grid", () => (write({ row: [...gridRefs(), ref] }), classesTab.enter()));
  const buttons = el("div.actions", {}, more, fixed ? "" : add);
  refill(gridUi.one, el("p", {}, describe(ref)), el("div.tiles", {}, cells), buttons);
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
  const heading = (content) => el("th", { scope: "col" }, content);
  const head = el("tr", {}, heading("Content of"), sheet.classes.map((name) => heading(el("bdi", {}, name))));
  const first = (ref, r) => (own ? tile({ ref, sheet: own, index: r, label: describe(ref), size: 56 }) : describe(ref));
  const body = refs.map((ref, r) => el("tr", {},
    el("th", { scope: "row" }, first(ref, r), removeButton(refs, r)),
    sheet.classes.map((name, k) => el("td", {}, tile({
      ref: sheet.refs[r][k], sheet, index: r * columns + k, label: `${describe(ref)} as ${name}`, size: 56,
    })))));
  refill(gridUi.table, el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
  const limit = app.model.limits.refs;
  const change = (list) => (write({ row: list }), classesTab.enter());
  refill(gridUi.add, ...(recordedRefs() ? [] : [
    button("Add a random image", () => change([...refs, randomRef()]), { disabled: refs.length >= limit }),
    button("Start again", () => change([])),
  ]));
}

function removeButton(refs, r) {
  if (recordedRefs() || refs.length < 2) return "";
  const remove = () => (write({ row: refs.filter((_, k) => k !== r) }), classesTab.enter());
  return button("×", remove, { class: "mini", "aria-label": `Remove row ${r + 1}` });
}
