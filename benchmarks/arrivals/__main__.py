"""Measures learning of images that arrive later: what is forgotten, what is learned, and what it costs.

    python -m benchmarks.arrivals [--frogs FOLDER --emoji FOLDER --loss-weights vgg16.safetensors
        --judge-weights tf_efficientnet_lite0.safetensors] [--jobs 2] [NAME …]
    python -m benchmarks.arrivals --report

The first command runs the named scenarios (all by default) that have no result yet, on the CPU, and adds each result to
comparison/arrivals/results.json as soon as it is there. If a run is killed, the next one goes on with what is missing.
The digits need no files. A job has one thread, so a result does not depend on the number of jobs. Both commands write
report.md and its figures. `scenarios.py` has the scenarios.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.arrivals.report import write_report
from benchmarks.arrivals.scenarios import SCENARIOS, SEEDS, Files
from benchmarks.arrivals.tasks import run, train_first
from iglo.files.io import read_json, write_json

FOLDER = Path(__file__).resolve().parents[2] / "comparison" / "arrivals"
ALL = ("images", "generated", "none", "scratch")
METHODS = {"classes": ("images", "generated", "none")}


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, and writes the report."""
    parser = argparse.ArgumentParser("python -m benchmarks.arrivals", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"scenarios, of {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--frogs", type=Path, metavar="FOLDER", help="photographs; in the report, CIFAR-10's frogs")
    parser.add_argument("--emoji", type=Path, metavar="FOLDER", help="drawings that arrive after the frogs")
    parser.add_argument("--loss-weights", type=Path, metavar="FILE", help="VGG-16, .safetensors")
    parser.add_argument("--judge-weights", type=Path, metavar="FILE", help="EfficientNet-Lite0 of timm, .safetensors")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios and seeds side by side, each on one thread")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of results.json and the report")
    parser.add_argument("--models", type=Path, default=Path(".scratch/arrivals"), help="folder of first models")
    parser.add_argument("--report", action="store_true", help="train nothing, write the report again")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(SCENARIOS):
        parser.error(f"NAME: there is no scenario {', '.join(sorted(unknown))}")
    if not given.report:
        run_missing(given, Files(given.frogs, given.emoji, given.loss_weights, given.judge_weights))
    write_report(given.folder, read_json(given.folder / "results.json"))


def run_missing(given: argparse.Namespace, files: Files) -> None:
    """Runs what has no result yet and whose files are there, and adds the results to results.json."""
    path = given.folder / "results.json"
    record = read_json(path) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= {"IGLO_THREADS": "1", "IGLO_DEVICE": "cpu"}  # for the processes that start here
    names = given.names or list(SCENARIOS)
    if not (files.frogs and files.loss_weights and files.judge_weights) and "frogs" in names:
        print("frogs: left out, because --frogs, --loss-weights or --judge-weights is not given")
        names.remove("frogs")
    tasks = [(name, seed, method) for name in names for seed in SEEDS[name] for method in METHODS.get(name, ALL)]
    todo = [task for task in tasks if task[2] not in record.get(task[0], {}).get(str(task[1]), {})]
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        firsts = dict.fromkeys((name, seed) for name, seed, _ in todo)
        prepared = {pool.submit(train_first, files, given.models, first): first for first in firsts}
        running = {}
        for done in as_completed(prepared):
            done.result()
            for name, seed, method in todo:
                if (name, seed) == prepared[done]:
                    running[pool.submit(run, files, given.models, (name, seed), method)] = (name, seed, method)
        for done in as_completed(running):
            name, seed, method = running[done]
            record.setdefault(name, {}).setdefault(str(seed), {})[method] = done.result()
            write_json(path, record)
            print(f"{name}, seed {seed}, {method}: done", flush=True)


if __name__ == "__main__":
    main()
