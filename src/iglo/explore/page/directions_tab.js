// The tab "Directions": move a code along the principal directions of the codes.

import { el, button, field, select, slider, guarded, notice, refill, note, figure } from "./dom.js";
import { app, read, readNumber, write } from "./state.js";
import { get, isRecorded, onlyNewest } from "./api.js";
import { picture, drawCell, tile } from "./sheets.js";
import { loadPoints } from "./points.js";
import { amountText, describe, trainingRef, trainingRow, withAmounts } from "./refs.js";
import { savedDirections, saveDirection, deleteDirection, scaled } from "./saved.js";

const FIRST_SHOWN = 8;
const moveUi = { amounts: {}, sliders: new Map() };

export const directionsTab = {
  id: "directions",
  title: "Directions",
  build(panel) {
    moveUi.base = el("div.now-pair");
    moveUi.controls = el("div.rail");
    moveUi.list = el("div.directions");
    panel.classList.add("directions-panel");
    panel.append(moveUi.controls, el("div.stage", {}, moveUi.list));
    moveUi.decode = onlyNewest((ref) => guarded(moveUi.base, () => drawMoved(ref)));
  },
  enter() {
    guarded(moveUi.list, async () => {
      const points = await loadPoints();
      const rows = app.model.recorded?.rows;
      let base = read("base") || trainingRef(rows?.[0] ?? points.row[0]);
      if (rows && !rows.includes(trainingRow(base))) base = trainingRef(rows[0]);
      moveUi.ref = base;
      moveUi.amounts = parseAmounts(read("move"));
      await drawDirections();
    });
  },
};

// The address has the amounts as "0:1.5,4:-2".
function parseAmounts(text) {
  const pairs = text.split(",").map((part) => part.split(":").map(Number));
  return Object.fromEntries(pairs.filter(([index, amount]) => Number.isInteger(index) && Number.isFinite(amount)));
}

function movedRef() {
  return withAmounts(moveUi.ref, moveUi.amounts);
}

async function drawDirections() {
  const answer = await get("api/directions", { ref: moveUi.ref }, "directions");
  if (!answer.strips) return refill(moveUi.list, el("p.empty", {}, "There are too few codes for directions."));
  moveUi.answer = answer;
  const zero = answer.amounts.indexOf(0);
  moveUi.before = { sheet: answer.strips, index: zero };
  moveUi.after = picture({ ...moveUi.before, label: "After the moves", size: 128 });
  const first = tile({ ref: moveUi.ref, ...moveUi.before, label: describe(moveUi.ref), size: 128 });
  moveUi.base.replaceChildren(figure(first, "Before"), figure(moveUi.after, "After"));
  buildMoveControls();
  moveUi.sliders.clear();
  const rows = answer.directions.map((direction, k) => directionRow(direction, k));
  const all = readNumber("all", 0) === 1 || rows.length <= FIRST_SHOWN;
  const more = all ? null : button(`Show all ${rows.length} directions`, () => (write({ all: 1 }), drawDirections()));
  refill(moveUi.list, ...rows.slice(0, all ? rows.length : FIRST_SHOWN), ...(more ? [more] : []));
  showAmounts();
}

function directionRow(direction, k) {
  const { answer } = moveUi;
  const count = answer.amounts.length;
  const name = `Direction ${direction.index + 1}`;
  const control = slider({
    title: name, min: -3, max: 3, step: isRecorded() ? 1 : 0.1, value: 0, format: amountText,
    oninput: (value) => setAmount(direction.index, value),
  });
  moveUi.sliders.set(direction.index, control);
  const strip = answer.amounts.map((amount, j) => {
    const label = `${name} at ${amountText(amount)} standard deviations`;
    const node = tile({ ref: answer.refs[k][j], sheet: answer.strips, index: k * count + j, label, size: 64 });
    node.addEventListener("click", () => setAmount(direction.index, amount));
    return node;
  });
  const facts = `${(100 * direction.share).toFixed(1)} % of variance · image at ${amountText(direction.value)}`;
  const group = el("div.strip", { role: "group", "aria-label": `Strip of ${name}` }, strip);
  return el("div.direction", {}, control.node, note(facts), group);
}

// Without a server only one direction at a time has pictures.
function setAmount(index, amount) {
  if (isRecorded()) moveUi.amounts = {};
  moveUi.amounts[index] = amount;
  showAmounts();
}

function showAmounts() {
  for (const [index, control] of moveUi.sliders) control.set(moveUi.amounts[index] ?? 0);
  const moved = Object.entries(moveUi.amounts).filter(([, amount]) => amount);
  const text = moved.map(([index, amount]) => `${index}:${Number(amount.toFixed(3))}`).join(",");
  write({ base: moveUi.ref, move: text || null });
  moveUi.decode(movedRef());
}

async function drawMoved(ref) {
  let source = moveUi.before;
  if (isRecorded()) {
    const [[index, amount] = [0, 0]] = Object.entries(moveUi.amounts);
    const { directions, strips, amounts } = moveUi.answer;
    const row = directions.findIndex((direction) => direction.index === Number(index));
    source = { sheet: strips, index: row * amounts.length + amounts.indexOf(amount) };
  } else if (ref !== moveUi.ref) {
    source = { sheet: await get("api/decode", { ref }), index: 0 };
  }
  moveUi.after.setAttribute("aria-label", `After: ${describe(ref)}`);
  await drawCell(moveUi.after, source.sheet, source.index);
}

function changeBase(ref) {
  write({ base: ref });
  directionsTab.enter();
}

async function randomBase() {
  const points = await loadPoints();
  const rows = app.model.recorded?.rows ?? points.row;
  changeBase(trainingRef(rows[Math.floor(Math.random() * rows.length)]));
}

function buildMoveControls() {
  const reset = () => ((moveUi.amounts = {}), showAmounts());
  const pick = () => document.dispatchEvent(new CustomEvent("pick", { detail: { ref: movedRef() } }));
  const buttons = [button("Reset", reset), button("Another image", randomBase)];
  if (!isRecorded()) buttons.push(button("Use the moved image", pick));
  refill(moveUi.controls, moveUi.base, el("div.actions", {}, buttons), ...(isRecorded() ? [] : savedControls()));
}

function savedControls() {
  const name = el("input", { type: "text", maxlength: 40, placeholder: "for example: thicker" });
  const save = () => {
    if (!name.value.trim() || !Object.values(moveUi.amounts).some(Boolean)) {
      return notice("Move a slider and write a name first.", "error");
    }
    if (saveDirection(name.value.trim(), moveUi.amounts)) buildMoveControls();
  };
  const form = field("Save this direction under a name", name);
  form.append(button("Save", save));
  form.classList.add("with-button");
  const saved = savedDirections();
  return saved.length ? [form, applyControl(saved)] : [form];
}

function applyControl(saved) {
  let chosen = saved[saved.length - 1];
  const apply = (strength) => ((moveUi.amounts = scaled(chosen.amounts, strength)), showAmounts());
  const range = { min: -2, max: 2, step: 0.1, value: 0 };
  const strength = slider({ title: "Strength", ...range, format: amountText, oninput: apply });
  const list = select(saved.map((one) => one.name), chosen.name, (name) => {
    chosen = saved.find((one) => one.name === name);
    apply(Number(strength.input.value));
  });
  const remove = button("Delete", () => (deleteDirection(chosen.name), buildMoveControls()));
  return el("div.saved", {}, field("Saved direction", list), strength.node, el("div.actions", {}, remove));
}
