"""Measures the page of `iglo explore` in Chromium: decoding a place, panning the map, and the memory of the server.

A model of jittered digits at 32×32 is made (untrained: the speed is that of a trained one), and a server is started on
it, which has --threads threads. When its neighbour embedding is computed,

- the pointer hovers over --places places of the map, one after the other. The time runs from the page's call of `fetch`
  to the drawn image. The server's share is the time from the sent request to the first byte of the answer. In turn
  with them a small answer that needs no model is fetched, `api/model`, for the time of a bare request;
- the map of all codes is dragged with the mouse for --seconds, and the times between the frames are noted;
- ten clients ask for --hammer seconds as fast as they can, and once more. The memory of the server is noted before and
  after.

    python -m benchmarks.explore [--codes 10000] [--places 200] [--seconds 5] [--hammer 10] [--threads 2]

It needs Chromium and the extras explore and dev. Chromium here has no GPU: it draws with the CPU.
"""

import argparse
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import torch
from playwright.sync_api import Page
from sklearn.datasets import load_digits

from iglo.data.prepare import write_store
from iglo.data.sources import Source
from iglo.export.writing import fit_model_prior
from iglo.latent.priors import PRIORS, PriorChoice
from iglo.models.glo import recalibrate_bn
from iglo.models.networks import initialise
from iglo.params.reading import load_params
from iglo.params.run_record import RunRecord, folder_digest, prepared_data
from iglo.randomness import numpy_generator, torch_generator
from iglo.runtime.device import start
from iglo.training.glo_stages import start_model
from tests.explore.page import chromium

ROOT = Path(__file__).resolve().parent.parent
SIDE, CLIENTS = 32, 10
TARGET_MS, TARGET_FPS = 40, 30


def write_run(folder: Path, codes: int) -> None:
    """Writes what `dvc repro` leaves: prepared images, an untrained model with so many codes, and priors."""
    params = load_params(ROOT / "params.yaml")
    params = replace(params, data=replace(params.data, train=codes, validation=2, test=2))
    write_store(jittered_digits(codes + 4), params.data, folder / "data" / "prepared")
    images = np.load(folder / "data" / "prepared" / "images.npy", mmap_mode="r")[:codes]
    model, history = start_model(images, params, start("fp32"))
    model.encoder = initialise(model.config.encoder(params.encoder.width), torch_generator(0, "encoder"))
    recalibrate_bn(model.generator, model.codes.values)
    history.run = RunRecord.of(params, prepared_data(folder / "data" / "prepared"))
    joint, priors = folder / "models" / "joint", folder / "models" / "priors"
    joint.mkdir(parents=True)
    priors.mkdir()
    model.save(joint)
    history.save(joint)
    gaussian = fit_model_prior("gaussian", model, 0)
    about = {"model": folder_digest(joint)}
    PriorChoice(dict.fromkeys(PRIORS, gaussian), "gaussian", dict.fromkeys(PRIORS, 0.0), about=about).save(priors)


def jittered_digits(count: int) -> Source:
    """Digits at 32×32, shifted, brightened and with noise, so that no two are the same."""
    data, rng = load_digits(), numpy_generator(0, "jittered digits")
    rows = rng.integers(0, len(data.images), count)
    large = data.images[rows].repeat(4, axis=1).repeat(4, axis=2) * (rng.uniform(8, 15, (count, 1, 1)))
    shifts = rng.integers(-3, 4, (count, 2))
    moved = [np.roll(image, shift, (0, 1)) for image, shift in zip(large, shifts, strict=True)]
    noisy = np.stack(moved) + rng.normal(0, 6, (count, SIDE, SIDE))
    names = tuple(f"digit-{number}" for number in range(count))
    labels = tuple(str(data.target[row]) for row in rows)
    return Source("jittered digits", names, labels, noisy.clip(0, 255).astype(np.uint8))


@contextmanager
def served(folder: Path, threads: int) -> Iterator[tuple[str, int]]:
    """Runs `iglo explore` in a folder; its address, and the number of its process. It ends afterwards."""
    variables = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(threads), "IGLO_THREADS": str(threads)}
    variables["XDG_CACHE_HOME"] = str(folder / "cache")
    command = [sys.executable, "-m", "iglo", "explore", "--port", str(free_port())]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | variables, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{command[-1]}"
    try:
        wait_for(address, process, folder / "server.log")
        yield address, process.pid
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    """Waits until the server answers, and has the neighbour embedding; at most ten minutes."""
    end = time.monotonic() + 600
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"the server ended: {log.read_text()[-2000:]}")
        try:
            with urlopen(f"{address}/api/map?layout=neighbours", timeout=60) as answer:
                if json.load(answer)["ready"]:
                    return
        except OSError:
            pass
        time.sleep(1)
    sys.exit("the server was not ready within ten minutes")


# --- A place of the map, from the request to the pixels ---

DECODE = """async ([places, bare]) => {
  const map = window.igloMap, box = map.canvas.getBoundingClientRect(), card = document.querySelector(".hover-card");
  const frame = () => new Promise(requestAnimationFrame), asked = window.fetch, rows = [];
  let begun = 0, url = "";
  window.fetch = (...all) => {
    if (String(all[0]).startsWith("api/decode")) [begun, url] = [performance.now(), all[0]];
    return asked(...all);
  };
  performance.setResourceTimingBufferSize(10000);
  for (const [x, y] of places) {
    const [left, top] = map.toScreen(x, y);
    if (map.hit(left, top) >= 0) continue;
    const started = performance.now();
    await (await asked(bare, { cache: "no-store" })).json();
    const plain = performance.now() - started;
    card.replaceChildren();
    const drawn = new Promise((done) => new MutationObserver((_, observer) => {
      if (!card.querySelector("canvas.drawn")) return;
      observer.disconnect();
      done(performance.now());
    }).observe(card, { subtree: true, childList: true, attributes: true }));
    const place = { clientX: box.left + left, clientY: box.top + top, pointerType: "mouse", bubbles: true };
    map.canvas.dispatchEvent(new PointerEvent("pointermove", place));
    const ended = await drawn;
    await frame();
    const [entry] = performance.getEntriesByName(new URL(url, location).href).slice(-1);
    rows.push([ended - begun, entry.responseStart - entry.requestStart, performance.now() - begun, plain]);
  }
  window.fetch = asked;
  return rows;
}"""


def time_places(page: Page, count: int) -> np.ndarray:
    """Milliseconds (count, 4): to pixels, in the server, to the next frame, and of a bare request."""
    places = numpy_generator(0, "places").uniform(-0.99, 0.99, (10 * count, 2)).round(4).tolist()
    return np.array(page.evaluate(DECODE, [places, "api/model"]))[10 : count + 10]


# --- Frames while the map is dragged ---

FRAMES = """() => {
  window.frames_ = [];
  const note = (time) => {
    window.frames_.push(time);
    window.noting_ = requestAnimationFrame(note);
  };
  window.noting_ = requestAnimationFrame(note);
}"""


def time_frames(page: Page, seconds: float, zooms: int) -> np.ndarray:
    """Milliseconds between the frames while the mouse drags the map, after some steps of zoom."""
    box = page.get_by_role("tabpanel").locator("canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    for _ in range(zooms):
        page.mouse.wheel(0, -240)
        page.wait_for_timeout(150)
    page.wait_for_timeout(1000)
    page.mouse.down()
    page.evaluate(FRAMES)
    begun, step = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        step += 1
        page.mouse.move(x + 120 * np.sin(step / 15), y + 80 * np.sin(step / 11))
    times = page.evaluate("cancelAnimationFrame(noting_), frames_")
    page.mouse.up()
    return np.diff(times)


# --- Memory ---


def hammer(address: str, seconds: float) -> int:
    """Asks from CLIENTS threads for different things, as fast as the answers come; returns the number of answers."""
    end, host, answered = time.monotonic() + seconds, address.removeprefix("http://"), [0] * CLIENTS

    def ask(client: int) -> None:
        rng = numpy_generator(client, "hammer")
        connection = http.client.HTTPConnection(host, timeout=60)
        while time.monotonic() < end:
            x, y, seed = *rng.uniform(-0.9, 0.9, 2).round(4), int(rng.integers(1_000_000))
            paths = [f"/api/decode?ref=m:pca:{x}:{y}", f"/api/near?ref=m:pca:{x}:{y}"]
            paths += [f"/api/samples?prior=gaussian&seed={seed}&count=64", f"/sheets/renders/{seed % 10}.png"]
            stops = f"stop=t:{seed % 100}&stop=t:{seed % 99 + 1}"
            paths += [f"/api/path?{stops}&way=line&steps=60", f"/api/directions?ref=t:{seed % 100}"]
            connection.request("GET", paths[int(rng.integers(len(paths)))])
            answer = connection.getresponse()
            answer.read()
            answered[client] += answer.status == 200

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered)


def memory(process: int, key: str = "VmRSS") -> float:
    """MiB of a process: what it holds now, or its peak (VmHWM)."""
    found = re.search(rf"^{key}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024


def report(name: str, values: np.ndarray, target: str = "") -> None:
    """Prints a row of the table: the median and the 95th percentile."""
    median, high = np.percentile(values, [50, 95])
    print(f"{name:44} {median:8.1f} {high:8.1f}  {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=10_000, help="codes of the model (default 10000)")
    parser.add_argument("--places", type=int, default=200, help="decoded places (default 200)")
    parser.add_argument("--seconds", type=float, default=5, help="for which the map is dragged (default 5)")
    parser.add_argument("--hammer", type=float, default=10, help="seconds of ten clients, twice (default 10)")
    parser.add_argument("--threads", type=int, default=2, help="of the server (default 2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        write_run(Path(temporary), options.codes)
        with served(Path(temporary), options.threads) as (address, process):
            measure(address, process, options)


def measure(address: str, process: int, options: argparse.Namespace) -> None:
    """Measures a running server, and prints a table."""
    print(f"{options.codes} codes, {SIDE}×{SIDE}, {os.cpu_count()} cores, torch {torch.__version__}, ", end="")
    with chromium.started() as browser:
        print(f"Chromium {browser.version}\n{'milliseconds':44} {'median':>8} {'95 %':>8}")
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{address}/")
        page.get_by_role("tabpanel").locator("canvas").first.wait_for()
        page.wait_for_timeout(2000)
        times = time_places(page, options.places)
        report("a place of the map, request to pixels", times[:, 0], f"target: {TARGET_MS}")
        report("  in the server", times[:, 1])
        report("  to the next frame of the screen", times[:, 2])
        report("a bare request (api/model)", times[:, 3])
        report("ratio to the bare request", times[:, 0] / np.median(times[:, 3]))
        for zooms in (0, 4, 4):
            between = time_frames(page, options.seconds, zooms)
            zoom, rate = page.evaluate("window.igloMap.view.zoom"), 1000 * len(between) / between.sum()
            report(f"between frames, map dragged, zoom {zoom:.0f}", between, f"target: {1000 / TARGET_FPS:.0f}")
            print(f"  {rate:.0f} frames/s, target: {TARGET_FPS}")
    before = memory(process)
    answers = hammer(address, options.hammer)
    after, peak = memory(process), memory(process, "VmHWM")
    again = hammer(address, options.hammer)
    print(f"\nmemory of the server, MiB: {before:.0f} before, {after:.0f} after {answers} answers to {CLIENTS} clients")
    print(f"{'':26} {memory(process):.0f} after {again} more; peak {peak:.0f}, then {memory(process, 'VmHWM'):.0f}")


if __name__ == "__main__":
    main()
