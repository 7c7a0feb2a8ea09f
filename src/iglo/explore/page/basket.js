// The stops of a path: A, B and more. They are in the address of the page, so they outlive a reload.

import { app, readAll, write } from "./state.js";
import { notice } from "./dom.js";
import { letter } from "./refs.js";

export function stops() {
  return readAll("stop");
}

export function setStops(list) {
  write({ stop: list, frame: 0 });
  document.dispatchEvent(new CustomEvent("stops"));
}

export function useAs(position, ref) {
  const list = stops();
  const at = Math.min(position, list.length);
  list[at] = ref;
  setStops(list);
  notice(`This image is ${letter(at)} in Interpolate.`);
}

export function addStop(ref) {
  const list = stops();
  if (list.length >= app.model.limits.stops) {
    notice(`A path has at most ${app.model.limits.stops} stops.`, "error");
    return;
  }
  setStops([...list, ref]);
  notice(`This image is stop ${letter(list.length)} in Interpolate.`);
}
