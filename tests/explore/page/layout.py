"""Measures a page: whether it fits the window, whether controls have names and are large enough, what it shows."""

import io
import re
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page

LEAST_TOUCH = 24  # CSS pixels, WCAG 2.2, criterion 2.5.8
CONTRAST, LARGE_CONTRAST = 4.5, 3.0  # WCAG 2.2, criterion 1.4.3
CONTROLS = "button, input, select, textarea, summary, a[href], [role=tab], [role=slider], [tabindex='0']"
NAMED = ("button", "checkbox", "combobox", "img", "link", "listbox", "radio", "searchbox", "slider", "spinbutton")
NAMED += ("tab", "textbox", "switch", "menuitem", "option", "figure", "application")

# Everything that is wrong with the layout, as sentences. The page is measured as it is; nothing is scrolled.
PROBLEMS = """([selector, least]) => {
  const found = [], width = document.documentElement.clientWidth;
  const words = (element) => `${element.tagName.toLowerCase()} "${
    (element.getAttribute("aria-label") || element.textContent || element.id).trim().slice(0, 40)}"`;
  const shown = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })
    && element.getBoundingClientRect().width > 1;
  const scrolled = (element) => {
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
      if (["auto", "scroll"].includes(getComputedStyle(up).overflowX) && up.scrollWidth > up.clientWidth) return true;
    }
    return false;
  };
  if (document.documentElement.scrollWidth > width) {
    found.push(`the page is ${document.documentElement.scrollWidth} pixels wide, the window ${width}`);
  }
  const controls = [...document.querySelectorAll(selector)].filter(shown);
  for (const control of controls) {
    const box = control.getBoundingClientRect();
    if (!scrolled(control) && (box.left < -0.5 || box.right > width + 0.5)) {
      found.push(`${words(control)} reaches from ${box.left} to ${box.right} in a window of ${width}`);
    }
    const label = control.labels && control.labels[0] ? control.labels[0].getBoundingClientRect() : box;
    const inline = control.tagName === "A" && getComputedStyle(control).display === "inline";
    const size = Math.min(Math.max(box.width, label.width), Math.max(box.height, label.height));
    if (!inline && size < least) found.push(`${words(control)} is only ${size} pixels large`);
  }
  const tabs = controls.filter((control) => control.getAttribute("role") === "tab");
  for (const tab of tabs) {
    if (tab.scrollWidth > tab.clientWidth + 1) found.push(`the label of ${words(tab)} is cut off`);
    for (const other of tabs) {
      const [a, b] = [tab, other].map((each) => each.getBoundingClientRect());
      const over = Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.5;
      if (tab !== other && over) found.push(`${words(tab)} overlaps ${words(other)}`);
    }
  }
  for (const image of document.querySelectorAll("img")) {
    if (!image.hasAttribute("alt")) found.push(`an image has no alt text: ${image.src.slice(0, 60)}`);
    if (shown(image) && image.complete && !image.naturalWidth) found.push(`an image is broken: ${image.alt}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  const twice = new Set(ids.filter((each, place) => ids.indexOf(each) !== place));
  for (const id of twice) found.push(`two elements have the id ${id}`);
  return found;
}"""

# [text, contrast, large] of every visible text whose background is one colour.
CONTRASTS = """() => {
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const brush = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) {
      brush.clearRect(0, 0, 1, 1);
      brush.fillStyle = colour;
      brush.fillRect(0, 0, 1, 1);
      known.set(colour, [...brush.getImageData(0, 0, 1, 1).data]);
    }
    return known.get(colour);
  };
  const behind = (element) => {
    for (let up = element; up; up = up.parentElement) {
      const style = getComputedStyle(up), colour = rgba(style.backgroundColor);
      if (style.backgroundImage !== "none") return null;
      if (colour[3] === 255) return colour.slice(0, 3);
      if (colour[3]) return null;
    }
    return rgba("Canvas").slice(0, 3);
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    const opaque = element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
    if (!text || !opaque || element.closest("[disabled], [aria-disabled=true], option, svg")) continue;
    if (element.getBoundingClientRect().width <= 1) continue;
    const style = getComputedStyle(element), back = behind(element);
    if (!back) continue;
    const colour = rgba(style.color);
    const ink = colour.slice(0, 3).map((c, i) => (c * colour[3] + back[i] * (255 - colour[3])) / 255);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    found.push([text.slice(0, 40), (a + 0.05) / (b + 0.05), large]);
  }
  return found;
}"""

# The boxes of the pictures that are visible in the window.
PICTURES = """() => [...document.querySelectorAll("canvas, img, [role=img]")].filter((element) => {
  const box = element.getBoundingClientRect();
  const inside = box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
  const top = (x, y) => {  // nothing covers it, and it is not scrolled out of its frame
    const first = document.elementFromPoint(x, y);
    return first && (first.contains(element) || element.contains(first));
  };
  return element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && inside && box.width >= 24
    && box.height >= 24 && top(box.left + 2, box.top + 2) && top(box.right - 3, box.bottom - 3);
}).map((element) => {
  const box = element.getBoundingClientRect();
  const name = element.getAttribute("alt") || element.getAttribute("aria-label") || element.className;
  return [`${element.tagName.toLowerCase()} "${name}"`, Math.ceil(box.left), Math.ceil(box.top),
    Math.floor(box.right), Math.floor(box.bottom)];
})"""


def problems(page: Page) -> list[str]:
    """What is wrong with the layout, the names of controls, and the contrast of texts, a sentence each."""
    found = page.evaluate(PROBLEMS, [CONTROLS, LEAST_TOUCH])
    found += [f"a {role} has no name" for role in nameless(page)]
    for text, contrast, large in page.evaluate(CONTRASTS):
        if contrast < (LARGE_CONTRAST if large else CONTRAST):
            found.append(f"the contrast of {text!r} is only {contrast:.2f}")
    return found


def nameless(page: Page) -> list[str]:
    """The roles of the controls and pictures to which a screen reader would give no name."""
    lines = re.findall(r"^\s*- (\w+)(.*)$", page.locator("body").aria_snapshot(), re.MULTILINE)
    return [role for role, rest in lines if role in NAMED and not rest.startswith((' "', " /"))]


def picture(page: Page, **options: Any) -> Image.Image:
    """What the window shows."""
    return Image.open(io.BytesIO(page.screenshot(**options))).convert("RGB")


def colours(image: Image.Image) -> int:
    """How many different colours a picture has."""
    return len(image.getcolors(image.width * image.height))


def empty_panels(page: Page, least: int = 3) -> list[str]:
    """The pictures on the page that have fewer than `least` colours: a panel that was never drawn has one."""
    shot = picture(page)
    found = [(name, colours(shot.crop(box))) for name, *box in page.evaluate(PICTURES)]
    return [f"{name} has {count} colours" for name, count in found if count < least]


def brightness(image: Image.Image) -> float:
    """The median brightness of a picture, from 0 to 255."""
    return float(np.median(np.asarray(image.convert("L"))))
