// Pointer, wheel and keyboard on a map. Drag pans, two fingers or the wheel zoom, a click picks.

const CLICK_DISTANCE = 5;
const KEY_PAN = 60;

// `on` has pick(x, y), hover([x, y] or null) and view(), which is called after each change of the view.
export function watchMap(map, on) {
  watchPointers(map, on);
  watchWheel(map, on);
  watchKeys(map, on);
}

function placeOn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function showCrosshair(map, shown) {
  map.crosshair = shown;
  map.draw(true);
}

function watchPointers(map, on) {
  const { canvas } = map;
  const pointers = new Map();
  let moved = 0;
  let gap = 0;

  const pinch = () => {
    const [[ax, ay], [bx, by]] = pointers.values();
    const newGap = Math.hypot(ax - bx, ay - by);
    if (gap) map.zoomAt(newGap / gap, (ax + bx) / 2, (ay + by) / 2);
    gap = newGap;
    on.view();
  };

  const drag = (event, x, y) => {
    const [oldX, oldY] = pointers.get(event.pointerId);
    pointers.set(event.pointerId, [x, y]);
    moved += Math.hypot(x - oldX, y - oldY);
    if (pointers.size === 2) return pinch();
    if (moved <= CLICK_DISTANCE) return;
    map.panBy(x - oldX, y - oldY);
    canvas.classList.add("dragging");
    on.hover(null);
    on.view();
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (pointers.size === 0) moved = 0;
    gap = 0;
    pointers.set(event.pointerId, placeOn(canvas, event));
    canvas.setPointerCapture(event.pointerId);
    showCrosshair(map, false);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = placeOn(canvas, event);
    if (pointers.has(event.pointerId)) drag(event, x, y);
    else if (event.pointerType === "mouse") on.hover([x, y]);
  });
  const release = (event) => {
    const known = pointers.delete(event.pointerId);
    gap = 0;
    canvas.classList.remove("dragging");
    const isClick = known && event.type === "pointerup" && pointers.size === 0 && moved <= CLICK_DISTANCE;
    if (isClick) on.pick(...placeOn(canvas, event));
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => on.hover(null));
}

function watchWheel(map, on) {
  map.canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
    map.zoomAt(Math.exp(-Math.max(-200, Math.min(200, pixels)) / 400), ...placeOn(map.canvas, event));
    on.hover(null);
    on.view();
  }, { passive: false });
}

function watchKeys(map, on) {
  const { canvas } = map;
  const actions = {
    ArrowLeft: () => map.panBy(KEY_PAN, 0),
    ArrowRight: () => map.panBy(-KEY_PAN, 0),
    ArrowUp: () => map.panBy(0, KEY_PAN),
    ArrowDown: () => map.panBy(0, -KEY_PAN),
    "+": () => map.zoomAt(1.4),
    "=": () => map.zoomAt(1.4),
    "-": () => map.zoomAt(1 / 1.4),
    0: () => map.showAll(),
    Enter: () => on.pick(map.width / 2, map.height / 2),
  };
  canvas.addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
    on.hover(null);
    on.view();
    showCrosshair(map, true);
  });
  canvas.addEventListener("focus", () => showCrosshair(map, canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => showCrosshair(map, false));
}
