// Pointer, wheel and keyboard on a map. Drag pans, two fingers or the wheel zoom, a click picks.

const CLICK_DISTANCE = 5;
const KEY_PAN = 60;

export function watchMap(map, { onPick, onHover, onView }) {
  const { canvas } = map;
  const pointers = new Map();
  let moved = 0;
  let gap = 0;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  const pinch = () => {
    const [[ax, ay], [bx, by]] = pointers.values();
    const newGap = Math.hypot(ax - bx, ay - by);
    if (gap) map.zoomAt(newGap / gap, (ax + bx) / 2, (ay + by) / 2);
    gap = newGap;
    onView();
  };

  const drag = (event, x, y) => {
    const [oldX, oldY] = pointers.get(event.pointerId);
    pointers.set(event.pointerId, [x, y]);
    moved += Math.hypot(x - oldX, y - oldY);
    if (pointers.size === 2) return pinch();
    if (moved > CLICK_DISTANCE) {
      map.panBy(x - oldX, y - oldY);
      canvas.classList.add("dragging");
      onHover(null);
      onView();
    }
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (pointers.size === 0) moved = 0;
    gap = 0;
    pointers.set(event.pointerId, place(event));
    canvas.setPointerCapture(event.pointerId);
    showCrosshair(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    if (pointers.has(event.pointerId)) drag(event, x, y);
    else if (event.pointerType === "mouse") onHover([x, y]);
  });
  const release = (event) => {
    const known = pointers.delete(event.pointerId);
    gap = 0;
    canvas.classList.remove("dragging");
    if (known && event.type === "pointerup" && pointers.size === 0 && moved <= CLICK_DISTANCE) onPick(...place(event));
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => onHover(null));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 20 : 1);
    map.zoomAt(Math.exp(-Math.max(-200, Math.min(200, pixels)) / 400), ...place(event));
    onHover(null);
    onView();
  }, { passive: false });

  const showCrosshair = (shown) => {
    map.crosshair = shown;
    map.draw();
  };
  const actions = {
    ArrowLeft: () => map.panBy(KEY_PAN, 0),
    ArrowRight: () => map.panBy(-KEY_PAN, 0),
    ArrowUp: () => map.panBy(0, KEY_PAN),
    ArrowDown: () => map.panBy(0, -KEY_PAN),
    "+": () => map.zoomAt(1.4),
    "=": () => map.zoomAt(1.4),
    "-": () => map.zoomAt(1 / 1.4),
    0: () => Object.assign(map.view, { x: 0, y: 0, zoom: 1 }),
    Enter: () => onPick(map.width / 2, map.height / 2),
  };
  canvas.addEventListener("keydown", (event) => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
    onHover(null);
    onView();
    showCrosshair(true);
  });
  canvas.addEventListener("focus", () => showCrosshair(canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => showCrosshair(false));
}
