// The list of tabs. A tab is {id, title, build(panel), enter()}; it is built when it is first opened.

import { el, clearNotice } from "./dom.js";
import { read, write } from "./state.js";

const registered = [];
let current = null;

export function addTabs(tabs) {
  const list = document.getElementById("tabs");
  const panels = document.getElementById("panels");
  for (const tab of tabs) {
    const handle = el("button.tab", {
      type: "button", role: "tab", id: `tab-${tab.id}`, "aria-controls": `panel-${tab.id}`,
      onclick: () => openTab(tab.id),
    }, tab.title);
    const panel = el("section.panel", {
      id: `panel-${tab.id}`, role: "tabpanel", "aria-labelledby": `tab-${tab.id}`, hidden: true,
    });
    registered.push({ ...tab, handle, panel, built: false });
    list.append(handle);
    panels.append(panel);
  }
  list.addEventListener("keydown", moveWithKeys);
}

function moveWithKeys(event) {
  const here = registered.indexOf(current);
  const last = registered.length - 1;
  const targets = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: last };
  if (!(event.key in targets)) return;
  event.preventDefault();
  const next = registered[(targets[event.key] + registered.length) % registered.length];
  openTab(next.id);
  next.handle.focus();
}

export function openTab(id, changes = {}) {
  write({ ...changes, tab: id }, read("tab") !== id);
  showTab();
}

// Show the tab that the address names.
export function showTab() {
  const next = registered.find((tab) => tab.id === read("tab")) ?? registered[0];
  if (current !== next) {
    current?.leave?.();
    clearNotice();
  }
  current = next;
  for (const tab of registered) {
    const open = tab === next;
    tab.handle.setAttribute("aria-selected", String(open));
    tab.handle.tabIndex = open ? 0 : -1;
    tab.panel.hidden = !open;
  }
  next.handle.scrollIntoView({ block: "nearest", inline: "center" });
  document.title = `${next.title} · ${document.getElementById("model-name").textContent} · iglo`;
  if (!next.built) next.build(next.panel);
  next.built = true;
  next.enter();
}

// Show what the address says again, if this tab is the open one.
export function refreshTab(...ids) {
  if (current && ids.includes(current.id)) current.enter();
}
