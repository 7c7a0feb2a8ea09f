// A slider over frames with a play button. It plays slower for people who prefer less motion.

import { el, button, slider, calmMotion } from "./dom.js";

function ofCount(frame, count) {
  return `${frame + 1} of ${count}`;
}

// `show(frame)` draws a frame. `setCount` says how many there are.
export function makePlayer({ title, show, perSecond = 10, format = ofCount }) {
  let timer = 0;
  let count = 1;
  let frame = 0;
  const control = slider({
    title, min: 0, max: 0, step: 1, value: 0, format: (value) => format(value, count),
    oninput: (value) => (stop(), go(value)),
  });
  const play = button("▶", () => (timer ? stop() : start()), { class: "play", "aria-label": "Play" });
  const node = el("div.player", {}, play, control.node);

  const go = (next) => {
    frame = Math.max(0, Math.min(count - 1, next));
    control.set(frame);
    show(frame);
  };
  const label = () => {
    play.textContent = timer ? "❚❚" : "▶";
    play.setAttribute("aria-label", timer ? "Pause" : "Play");
  };
  const start = () => {
    const next = () => (node.offsetParent ? go((frame + 1) % count) : stop());
    timer = setInterval(next, 1000 / (calmMotion() ? Math.min(2, perSecond) : perSecond));
    label();
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    label();
  };
  const setCount = (newCount, at) => {
    count = newCount;
    control.input.max = count - 1;
    play.disabled = control.input.disabled = count < 2;
    go(at);
  };
  return { node, go, stop, setCount };
}
