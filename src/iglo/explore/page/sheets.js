// Pictures that are cells of a sheet: one image file with many small images, row by row.

import { el } from "./dom.js";
import { read } from "./state.js";

const loaded = new Map();
const KEPT_SHEETS = 80;

// The image of an address, decoded and ready to draw.
export function loadImage(url) {
  if (loaded.has(url)) return loaded.get(url);
  const image = new Image();
  image.src = url;
  const ready = image.decode().then(() => image);
  ready.catch(() => loaded.delete(url));
  loaded.set(url, ready);
  if (loaded.size > KEPT_SHEETS) loaded.delete(loaded.keys().next().value);
  return ready;
}

export function cellOf(sheet, index) {
  return [(index % sheet.columns) * sheet.side, Math.floor(index / sheet.columns) * sheet.side];
}

// Draw a cell of a sheet on a canvas of the cell's own size; the style sheet enlarges it.
export async function drawCell(canvas, sheet, index) {
  const token = {};
  canvas.token = token;
  const image = await loadImage(sheet.url);
  if (canvas.token !== token) return;
  const [x, y] = cellOf(sheet, index);
  if (canvas.width !== sheet.side) canvas.width = canvas.height = sheet.side;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, sheet.side, sheet.side);
  context.drawImage(image, x, y, sheet.side, sheet.side, 0, 0, sheet.side, sheet.side);
  canvas.classList.add("drawn");
}

export function picture({ sheet, index = 0, label, size = 64 }) {
  const canvas = el("canvas.picture", { role: "img", "aria-label": label, width: 8, height: 8 });
  canvas.style.setProperty("--size", `${size}px`);
  if (sheet) {
    canvas.classList.toggle("smooth", sheet.side > size);
    drawCell(canvas, sheet, index).catch(() => canvas.classList.add("missing"));
  }
  return canvas;
}

// An image that can be picked: it is a button, and a click opens it beside the page.
export function tile({ ref, sheet, index = 0, label, caption = null, size = 64 }) {
  const pick = () => document.dispatchEvent(new CustomEvent("pick", { detail: { ref, sheet, index } }));
  const node = el("button.tile", { type: "button", "aria-label": label, onclick: pick, "data-ref": ref, title: label });
  const drawn = picture({ sheet, index, label: "", size });
  drawn.setAttribute("aria-hidden", "true");
  node.append(drawn);
  if (caption) node.append(el("bdi.caption", {}, caption));
  if (ref === read("pick")) node.setAttribute("aria-current", "true");
  return node;
}

// Mark the tiles of the picked code.
export function markPicked(ref) {
  for (const node of document.querySelectorAll(".tile[data-ref]")) {
    if (node.dataset.ref === ref) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
  }
}
