// The tab "Directions": move a code along the principal directions of the codes, and from label to label.

import { el, button, field, select, slider, guarded, notice, refill, note, figure } from "./dom.js";
import { app, read, readNumber, write } from "./state.js";
import { get, isRecorded, onlyNewest } from "./api.js";
import { picture, drawCell, tile } from "./sheets.js";
import { loadPoints } from "./points.js";
import { amountText, amountsOf, changesOf, describe, trainingRef, trainingRow } from "./refs.js";
import { labelControl } from "./label_move.js";
import { savedDirections, saveDirection, deleteDirection, scaled } from "./saved.js";

const FIRST_SHOWN = 8;
const INTRODUCTION = "Each slider moves the code along a principal direction. "
  + "The unit is the standard deviation of all codes. "
  + "Below it are the share of the variance, and the value of the image before the move.";
const moveUi = { amounts: {}, sliders: new Map() };

export const directionsTab = {
  id: "directions",
  title: "Directions",
  build(panel) {
    moveUi.base = el("div.now-pair");
    moveUi.controls = el("div.rail");
    moveUi.list = el("div.directions");
    panel.classList.add("directions-panel");
    panel.append(moveUi.controls, el("div.stage", {}, note(INTRODUCTION), moveUi.list));
    moveUi.decode = onlyNewest((ref) => guarded(moveUi.base, () => drawMoved(ref)));
  },
  enter() {
    guarded(moveUi.list, async () => {
      const points = await loadPoints();
      const rows = app.model.recorded?.rows;
      let base = read("base") || trainingRef(rows?.[0] ?? points.row[0]);
      if (rows && !rows.includes(trainingRow(base))) base = trainingRef(rows[0]);
      moveUi.ref = base;
      moveUi.amounts = amountsOf(read("move").split(","));
      await drawDirections();
    });
  },
};

function movedRef() {
  return [moveUi.ref, ...changesOf(moveUi.amounts)].join("~");
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
  const move = `d:${direction.index}`;
  const control = slider({
    title: name, min: -3, max: 3, step: isRecorded() ? 1 : 0.1, value: 0, format: amountText,
    oninput: (value) => setAmount(move, value),
  });
  moveUi.sliders.set(move, control);
  const strip = answer.amounts.map((amount, j) => {
    const label = `${name} at ${amountText(amount)} standard deviations`;
    const node = tile({ ref: answer.refs[k][j], sheet: answer.strips, index: k * count + j, label, size: 64 });
    node.addEventListener("click", () => setAmount(move, amount));
    return node;
  });
  const facts = `${(100 * direction.share).toFixed(1)} % of variance · value ${amountText(direction.value)}`;
  const group = el("div.strip", { role: "group", "aria-label": `Strip of ${name}` }, strip);
  return el("div.direction", {}, control.node, note(facts), group);
}

// Without a server only one direction at a time has pictures.
function setAmount(move, amount) {
  if (isRecorded()) moveUi.amounts = {};
  moveUi.amounts[move] = amount;
  showAmounts();
}

// Only one move between labels at a time.
function setLabelMove(move, amount) {
  const others = Object.entries(moveUi.amounts).filter(([key]) => !key.startsWith("l:"));
  moveUi.amounts = { ...Object.fromEntries(others), [move]: amount };
  showAmounts();
}

function showAmounts() {
  for (const [move, control] of moveUi.sliders) control.set(moveUi.amounts[move] ?? 0);
  moveUi.labels?.set(moveUi.amounts);
  write({ base: moveUi.ref, move: changesOf(moveUi.amounts).join(",") || null });
  moveUi.decode(movedRef());
}

async function drawMoved(ref) {
  let source = moveUi.before;
  if (isRecorded()) {
    const [[move, amount] = ["d:0", 0]] = Object.entries(moveUi.amounts);
    const { directions, strips, amounts } = moveUi.answer;
    const row = directions.findIndex((direction) => `d:${direction.index}` === move);
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
  moveUi.labels = labelControl(moveUi.amounts, setLabelMove);
  refill(moveUi.controls, moveUi.base, el("div.actions", {}, buttons), moveUi.labels?.node ?? "",
    ...(isRecorded() ? [] : savedControls()));
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
  const apply = (size) => {
    moveUi.amounts = scaled(chosen.amounts, size);
    showAmounts();
  };
  const range = { min: -2, max: 2, step: 0.1, value: 0 };
  const strength = slider({ title: "Strength", ...range, format: amountText, oninput: apply });
  const list = select(saved.map((one) => one.name), chosen.name, (name) => {
    chosen = saved.find((one) => one.name === name);
    apply(Number(strength.input.value));
  });
  const remove = button("Delete", () => (deleteDirection(chosen.name), buildMoveControls()));
  return el("div.saved", {}, field("Saved direction", list), strength.node, el("div.actions", {}, remove));
}
