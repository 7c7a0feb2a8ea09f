// A small line chart as SVG, with axes, boundaries and a marker.

import { el, svgEl } from "./dom.js";

const HEIGHT = 180;
const PAD = { left: 46, right: 12, top: 18, bottom: 34 };

// Ticks at 1, 2 and 5 times each power of ten, or only at the powers if these are too many.
// Low and high are logarithms.
function logTicks(low, high) {
  const powers = Array.from({ length: Math.ceil(high) - Math.floor(low) + 1 }, (_, k) => Math.floor(low) + k);
  const within = (factors) => powers.flatMap((power) => factors.map((factor) => factor * 10 ** power))
    .filter((value) => Math.log10(value) >= low && Math.log10(value) <= high)
    .map((value) => Number(value.toPrecision(1)));
  const fine = within([1, 2, 5]);
  return fine.length > 6 ? within([1]) : fine;
}

// About four round numbers between low and high.
function ticksOf(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) {
    ticks.push(Number(value.toPrecision(8)));
  }
  return ticks;
}

function tickText(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`;
  return String(value);
}

function rangeOf(values, fromZero) {
  const low = fromZero ? 0 : Math.min(...values);
  const high = Math.max(...values);
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

// points: [[x, y], …]. boundaries: [{x, label}]; with `breaks`, a new curve starts at each.
// options: fromZero, logY, dots, breaks. The answer has `node`, and `mark(x)` moves the marker.
export function lineChart({ points, xTitle, yTitle, summary, boundaries = [], ...options }) {
  const { fromZero = true, logY = false, dots = false, breaks = false } = options;
  const node = el("div.chart", { role: "img", "aria-label": summary });
  const toY = (value) => (logY ? Math.log10(Math.max(value, 1e-12)) : value);
  const [x0, x1] = rangeOf(points.map(([x]) => x), false);
  const [y0, y1] = rangeOf(points.map(([, y]) => toY(y)), fromZero && !logY);
  let marked = null;
  let place = null;

  const draw = () => {
    const width = Math.max(node.clientWidth, 200);
    const sx = (x) => PAD.left + ((x - x0) / (x1 - x0)) * (width - PAD.left - PAD.right);
    const sy = (y) => HEIGHT - PAD.bottom - ((toY(y) - y0) / (y1 - y0)) * (HEIGHT - PAD.top - PAD.bottom);
    const svg = svgEl("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    for (const tick of logY ? logTicks(y0, y1) : ticksOf(y0, y1)) {
      const y = sy(tick);
      svg.append(svgEl("line", { class: "grid", x1: PAD.left, x2: width - PAD.right, y1: y, y2: y }),
        svgEl("text", { x: PAD.left - 6, y: y + 4, "text-anchor": "end" }, tickText(tick)));
    }
    for (const tick of ticksOf(x0, x1)) {
      svg.append(svgEl("text", { x: sx(tick), y: HEIGHT - PAD.bottom + 15, "text-anchor": "middle" }, tickText(tick)));
    }
    boundaries.forEach(({ x, label }, k) => {
      const end = boundaries[k + 1]?.x ?? x1;
      svg.append(svgEl("line", { class: "boundary", x1: sx(x), x2: sx(x), y1: PAD.top - 6, y2: HEIGHT - PAD.bottom }));
      const fits = sx(end) - sx(x) > label.length * 6.6 + 10;
      if (fits) svg.append(svgEl("text", { x: sx(x) + 4, y: PAD.top - 4 }, label));
    });
    const isStart = (k) => k === 0 || boundaries.some(({ x }) => points[k - 1][0] <= x && x < points[k][0]);
    const command = (k) => (breaks && isStart(k) ? "M" : "L");
    const path = points.map(([x, y], k) => `${k ? command(k) : "M"}${sx(x).toFixed(1)} ${sy(y).toFixed(1)}`).join("");
    svg.append(svgEl("path", { class: "curve", d: path }));
    if (dots) for (const [x, y] of points) svg.append(svgEl("circle", { class: "dot", cx: sx(x), cy: sy(y), r: 2.5 }));
    const marker = svgEl("line", { class: "marker", y1: PAD.top - 6, y2: HEIGHT - PAD.bottom });
    svg.append(marker,
      svgEl("text", { class: "title", x: width - PAD.right, y: HEIGHT - 4, "text-anchor": "end" }, xTitle));
    place = () => {
      marker.setAttribute("visibility", marked === null ? "hidden" : "visible");
      const x = sx(Math.max(x0, Math.min(x1, marked ?? x0)));
      marker.setAttribute("x1", x);
      marker.setAttribute("x2", x);
    };
    place();
    node.replaceChildren(el("p.small.quiet", {}, yTitle), svg);
  };

  new ResizeObserver(() => node.clientWidth && draw()).observe(node);
  return { node, mark: (x) => ((marked = x), place?.()) };
}
