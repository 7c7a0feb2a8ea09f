// The start of the page.

import { el, notice } from "./dom.js";
import { app, onNavigation, read } from "./state.js";
import { get } from "./api.js";
import { addTabs, showTab } from "./tabs.js";
import { startInspector, inspect } from "./inspector.js";
import { mapTab } from "./map_tab.js";
import { samplesTab } from "./samples_tab.js";
import { interpolateTab } from "./interpolate_tab.js";
import { directionsTab } from "./directions_tab.js";
import { imageTab, watchDrops } from "./image_tab.js";
import { classesTab } from "./classes_tab.js";
import { historyTab } from "./history_tab.js";

const CONSTRAINTS = { sphere: "on a sphere", ball: "in a ball", none: "without a limit" };

function facts(model) {
  const size = `${model.image_size}×${model.image_size}${model.channels === 1 ? " grey" : ""}`;
  const parts = [`${model.count.toLocaleString("en")} training images`, size,
    `codes of ${model.dimension} numbers ${CONSTRAINTS[model.constraint] ?? ""}`];
  if (model.shown < model.count) parts.push(`the map shows ${model.shown.toLocaleString("en")}`);
  if (model.recorded) parts.push("recorded, without a server");
  return parts.join(" · ");
}

async function startPage() {
  const panels = document.getElementById("panels");
  panels.append(el("p.quiet.loading", {}, "Loading the model …"));
  try {
    app.model = await get("api/model");
  } catch (error) {
    panels.replaceChildren();
    notice(error.message, "error");
    panels.append(el("p.quiet.loading", {}, error.message));
    return;
  }
  panels.replaceChildren();
  document.getElementById("model-name").textContent = app.model.name;
  document.getElementById("model-facts").textContent = facts(app.model);
  const tabs = [mapTab, samplesTab, interpolateTab, directionsTab, imageTab];
  if (app.model.kind === "class_content") tabs.push(classesTab);
  if (app.model.has.history) tabs.push(historyTab);
  addTabs(tabs);
  startInspector();
  watchDrops();
  showTab();
  onNavigation(() => {
    showTab();
    inspect(read("pick"));
  });
}

startPage();
