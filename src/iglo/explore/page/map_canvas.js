// Draws the map on a canvas: shade, points, thumbnails, marks. It knows nothing of the server.

import { PointIndex } from "./map_index.js";
import { cssColour, dotSprite, drawRing, drawCross } from "./map_ink.js";

const FIRST_THUMB_ZOOM = 2;
const MARGIN = 0.94;
const MAX_ZOOM = 60;

export class MapCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.view = { x: 0, y: 0, zoom: 1 };
    this.index = this.group = this.visible = this.thumb = null;
    this.colours = [];
    this.marks = [];
    this.crosshair = false;
    this.pending = 0;
    this.sprites = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.restyle());
  }

  restyle() {
    this.sprites.clear();
    this.shadePicture = null;
    this.draw();
  }

  resize() {
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.index?.levels.clear();
    this.draw();
  }

  setPoints(x, y, shade) {
    this.index = new PointIndex(x, y);
    this.shade = shade;
    this.shadePicture = null;
    this.draw();
  }

  setColours(group, colours) {
    this.group = group;
    this.colours = colours;
    this.sprites.clear();
    this.draw();
  }

  // `visible` says of a point whether it is shown. Null: all points are.
  setVisible(visible) {
    this.visible = visible;
    this.index?.levels.clear();
    this.draw();
  }

  get scale() {
    return (this.view.zoom * Math.min(this.width, this.height) * MARGIN) / 2;
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.view.x) * this.scale, this.height / 2 - (y - this.view.y) * this.scale];
  }

  toMap(sx, sy) {
    return [this.view.x + (sx - this.width / 2) / this.scale, this.view.y - (sy - this.height / 2) / this.scale];
  }

  // Several changes in one frame are drawn once. A move alone keeps the layer of dots.
  draw(onlyMoved = false) {
    if (!onlyMoved) this.layer = null;
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0;
      if (this.width) this.paint();
    });
  }

  paint() {
    const context = this.canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = cssColour("--back");
    context.fillRect(0, 0, this.width, this.height);
    if (!this.index) return;
    this.paintShade(context);
    this.paintDots(context);
    this.paintThumbs(context);
    this.paintMarks(context);
  }

  // The points in view, and in a margin around it.
  inView(margin) {
    const [left, high] = this.toMap(-margin, -margin);
    const [right, low] = this.toMap(this.width + margin, this.height + margin);
    const found = this.index.inBox(left, right, low, high);
    return this.visible ? found.filter(this.visible) : found;
  }

  // The shade is a grey picture. Here it becomes a mix of two colours of the theme.
  mixShade() {
    const { image } = this.shade;
    const mixed = document.createElement("canvas");
    mixed.width = image.naturalWidth;
    mixed.height = image.naturalHeight;
    const context = mixed.getContext("2d");
    const last = cssColour("--map-is-dark") === "1" ? "lighter" : "difference";
    context.drawImage(image, 0, 0);
    for (const [operation, colour] of [["multiply", "--map-step"], [last, "--map-near"]]) {
      context.globalCompositeOperation = operation;
      context.fillStyle = cssColour(colour);
      context.fillRect(0, 0, mixed.width, mixed.height);
    }
    return mixed;
  }

  paintShade(context) {
    if (!this.shade) return;
    this.shadePicture ??= this.mixShade();
    const [x, y] = this.toScreen(-1, 1);
    context.imageSmoothingEnabled = true;
    context.drawImage(this.shadePicture, x, y, 2 * this.scale, 2 * this.scale);
    context.strokeStyle = cssColour("--line");
    context.strokeRect(x, y, 2 * this.scale, 2 * this.scale);
  }

  dotRadius() {
    const crowd = this.index.x.length > 4000 ? 1.7 : 2.6;
    return Math.min(crowd * (0.8 + 0.35 * Math.log2(this.view.zoom + 1)), 5);
  }

  spriteOf(group, radius) {
    if (this.spriteRadius !== radius) this.sprites.clear();
    this.spriteRadius = radius;
    let sprite = this.sprites.get(group);
    if (!sprite) {
      const colour = this.colours[group] ?? cssColour("--quiet");
      sprite = dotSprite(colour, radius, this.ratio, cssColour("--map-dot-border"));
      this.sprites.set(group, sprite);
    }
    return sprite;
  }

  thumbSide() {
    return Math.max(26, Math.min(72, 26 + 11 * Math.log2(this.view.zoom / FIRST_THUMB_ZOOM)));
  }

  // Which points have a thumbnail at this zoom.
  thumbChoice() {
    if (!this.thumb || this.view.zoom < FIRST_THUMB_ZOOM) return null;
    const level = Math.floor(2 * Math.log2(this.view.zoom));
    const halfSide = (Math.min(this.width, this.height) * MARGIN) / 2;
    const first = Math.floor(2 * Math.log2(FIRST_THUMB_ZOOM));
    const space = (step) => 34 / (2 ** (step / 2) * halfSide) * (1 + 0.22 * (step - first) / 2);
    return this.index.withThumbs(level, space, first, this.visible);
  }

  // All dots in view and around it on a canvas of their own, so that a pan only copies it.
  drawLayer() {
    const { index, group, ratio } = this;
    const canvas = (this.layerCanvas ??= document.createElement("canvas"));
    const margin = Math.round(Math.min(this.width, this.height) / 4);
    canvas.width = (this.width + 2 * margin) * ratio;
    canvas.height = (this.height + 2 * margin) * ratio;
    const context = canvas.getContext("2d");
    const radius = this.dotRadius();
    const chosen = this.thumbChoice();
    const scale = this.scale * ratio;
    const originX = canvas.width / 2 - this.view.x * scale;
    const originY = canvas.height / 2 + this.view.y * scale;
    for (const i of this.inView(margin)) {
      if (chosen?.[i]) continue;
      const sprite = this.spriteOf(group ? group[i] : 0, radius);
      const half = sprite.width / 2;
      const x = Math.round(originX + index.x[i] * scale - half);
      context.drawImage(sprite, x, Math.round(originY - index.y[i] * scale - half));
    }
    return { canvas, margin, ...this.view };
  }

  paintDots(context) {
    const move = (from) => [(from.x - this.view.x) * this.scale, (this.view.y - from.y) * this.scale];
    const isFar = (from) => move(from).some((distance) => Math.abs(distance) > from.margin);
    if (!this.layer || this.layer.zoom !== this.view.zoom || isFar(this.layer)) this.layer = this.drawLayer();
    const [dx, dy] = move(this.layer).map((distance) => Math.round((distance - this.layer.margin) * this.ratio));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.layer.canvas, dx, dy);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
  }

  paintThumbs(context) {
    const chosen = this.thumbChoice();
    if (!chosen) return;
    const side = this.thumbSide();
    for (const i of this.inView(side)) {
      if (!chosen[i]) continue;
      const [x, y] = this.toScreen(this.index.x[i], this.index.y[i]);
      const left = Math.round(x - side / 2);
      const top = Math.round(y - side / 2);
      const cell = this.thumb(i);
      context.fillStyle = this.colours[this.group?.[i] ?? 0] ?? cssColour("--quiet");
      context.fillRect(left - 1.5, top - 1.5, side + 3, side + 3);
      if (!cell) continue;
      context.imageSmoothingEnabled = cell.side > side;
      context.drawImage(cell.image, cell.x, cell.y, cell.side, cell.side, left, top, side, side);
    }
  }

  paintMarks(context) {
    for (const { x, y } of this.marks) drawRing(context, ...this.toScreen(x, y));
    if (this.crosshair) drawCross(context, this.width / 2, this.height / 2);
  }

  // The point under a place on the screen, or -1. A thumbnail is as large as it looks.
  hit(sx, sy) {
    if (!this.index) return -1;
    const [x, y] = this.toMap(sx, sy);
    const allowed = this.visible ?? (() => true);
    const chosen = this.thumbChoice();
    if (chosen) {
      const half = this.thumbSide() / 2 / this.scale;
      const inside = (i) => Math.max(Math.abs(this.index.x[i] - x), Math.abs(this.index.y[i] - y)) <= half;
      const found = this.index.nearest(x, y, half * 1.5, (i) => chosen[i] && allowed(i) && inside(i));
      if (found >= 0) return found;
    }
    return this.index.nearest(x, y, Math.max(this.dotRadius(), 4) / this.scale, allowed);
  }

  limitView() {
    this.view.zoom = Math.max(0.8, Math.min(MAX_ZOOM, this.view.zoom));
    this.view.x = Math.max(-1.1, Math.min(1.1, this.view.x));
    this.view.y = Math.max(-1.1, Math.min(1.1, this.view.y));
  }

  panBy(dx, dy) {
    this.view.x -= dx / this.scale;
    this.view.y += dy / this.scale;
    this.limitView();
    this.draw(true);
  }

  showAll() {
    this.view = { x: 0, y: 0, zoom: 1 };
    this.draw();
  }

  // Put a place in the middle, near enough to see thumbnails.
  showPlace(x, y) {
    this.view = { x, y, zoom: Math.max(this.view.zoom, FIRST_THUMB_ZOOM) };
    this.draw();
  }

  // Zoom so that the place at (sx, sy) stays where it is.
  zoomAt(factor, sx = this.width / 2, sy = this.height / 2) {
    const [x, y] = this.toMap(sx, sy);
    this.view.zoom *= factor;
    this.limitView();
    const [newX, newY] = this.toMap(sx, sy);
    this.view.x += x - newX;
    this.view.y += y - newY;
    this.limitView();
    this.draw();
  }
}
