// The small card beside the pointer on the map.

import { el } from "./dom.js";
import { app } from "./state.js";
import { get, isRecorded, onlyNewest } from "./api.js";
import { picture } from "./sheets.js";
import { thumbOf, labelText } from "./points.js";
import { placeRef } from "./refs.js";

const CARD_PICTURE = 72;

export function makeHoverCard(host, map) {
  const card = el("div.hover-card", { hidden: true, "aria-hidden": "true" });
  host.append(card);
  let turn = 0;

  const decode = onlyNewest(async ({ ref, mine }) => {
    if (mine !== turn) return;
    try {
      const sheet = await get("api/decode", { ref });
      if (mine === turn) show(el("div.pair", {}, picture({ sheet, label: "", size: CARD_PICTURE })), ["Decoded here"]);
    } catch {
      card.hidden = true;
    }
  });

  const show = (images, lines) => {
    card.replaceChildren(images, ...lines.filter(Boolean).map((line) => el("bdi.line", {}, line)));
    card.hidden = false;
  };

  const move = (x, y) => {
    const toLeft = x > map.width - 190;
    const above = y > map.height - 150;
    card.style.transform = `translate(${x + (toLeft ? -14 : 14)}px, ${y + (above ? -14 : 14)}px)`
      + ` translate(${toLeft ? "-100%" : "0"}, ${above ? "-100%" : "0"})`;
  };

  const showPoint = (points, i) => {
    const kinds = app.model.has.images ? ["images", "renders"] : ["renders"];
    const images = kinds.map((kind) => picture({ ...thumbOf(kind, i), label: "", size: CARD_PICTURE }));
    const psnr = points.psnr[i];
    const numbers = psnr === null ? "" : `Reconstruction: ${psnr.toFixed(1)} dB`;
    const label = labelText(points, i);
    show(el("div.pair", {}, images), [points.name[i], label && `Label: ${label}`, numbers]);
  };

  let shown = -2;
  return function hover(place, points, layout) {
    turn += 1;
    if (!place) {
      card.hidden = true;
      shown = -2;
      return;
    }
    const i = map.hit(...place);
    map.canvas.classList.toggle("on-point", i >= 0);
    move(...place);
    if (i >= 0) {
      if (i !== shown) showPoint(points, i);
    } else {
      const [x, y] = map.toMap(...place);
      const inside = Math.max(Math.abs(x), Math.abs(y)) <= 1;
      if (!inside || isRecorded()) card.hidden = true;
      else decode({ ref: placeRef(layout, x, y), mine: turn });
    }
    shown = i;
  };
}
