// Fast look-ups among the points of a map: which is nearest, which are in view, which get a thumbnail.

const CELLS = 64;

function cellNumber(value) {
  return Math.max(0, Math.min(CELLS - 1, Math.floor(((value + 1) / 2) * CELLS)));
}

export class PointIndex {
  constructor(x, y) {
    this.x = x;
    this.y = y;
    this.cells = Array.from({ length: CELLS * CELLS }, () => []);
    for (let i = 0; i < x.length; i++) this.cells[cellNumber(y[i]) * CELLS + cellNumber(x[i])].push(i);
    this.levels = new Map();
  }

  inBox(left, right, low, high) {
    const found = [];
    for (let row = cellNumber(low); row <= cellNumber(high); row++) {
      for (let column = cellNumber(left); column <= cellNumber(right); column++) {
        for (const i of this.cells[row * CELLS + column]) found.push(i);
      }
    }
    return found;
  }

  // The nearest point within `radius`, or -1. `allowed` may leave points out.
  nearest(x, y, radius, allowed = null) {
    let best = -1;
    let bestDistance = radius * radius;
    for (const i of this.inBox(x - radius, x + radius, y - radius, y + radius)) {
      const distance = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
      if (distance <= bestDistance && (!allowed || allowed(i))) {
        best = i;
        bestDistance = distance;
      }
    }
    return best;
  }

  // For each point, whether it has a thumbnail at this level. Thumbnails have at least the distance `spaceOf(level)`.
  // A point that has a thumbnail keeps it at all finer levels. `allowed` may leave points out.
  withThumbs(level, spaceOf, firstLevel, allowed = null) {
    if (this.levels.has(level)) return this.levels.get(level);
    const coarser = level > firstLevel ? this.withThumbs(level - 1, spaceOf, firstLevel, allowed) : null;
    const space = spaceOf(level);
    const chosen = new Uint8Array(this.x.length);
    const taken = new Map();
    const place = (i, force) => {
      const column = Math.floor(this.x[i] / space);
      const row = Math.floor(this.y[i] / space);
      if (!force && this.isCrowded(taken, i, column, row, space)) return;
      chosen[i] = 1;
      const key = `${column},${row}`;
      if (taken.has(key)) taken.get(key).push(i);
      else taken.set(key, [i]);
    };
    if (coarser) coarser.forEach((has, i) => has && place(i, true));
    for (let i = 0; i < chosen.length; i++) if (!chosen[i] && (!allowed || allowed(i))) place(i, false);
    this.levels.set(level, chosen);
    return chosen;
  }

  isCrowded(taken, i, column, row, space) {
    for (let dr = -1; dr <= 1; dr++) {
      for (let dc = -1; dc <= 1; dc++) {
        for (const j of taken.get(`${column + dc},${row + dr}`) ?? []) {
          if (Math.max(Math.abs(this.x[i] - this.x[j]), Math.abs(this.y[i] - this.y[j])) < space) return true;
        }
      }
    }
    return false;
  }
}
