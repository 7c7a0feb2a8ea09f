"""Trains plain GLO with one change at a time, and measures images at the codes and off them.

    python -m benchmarks.off_codes --images FOLDER --loss-weights vgg16.safetensors
        --judge-weights tf_efficientnet_lite0.safetensors [--jobs 2] [NAME …]
    python -m benchmarks.off_codes --samples --images … (as above)
    python -m benchmarks.off_codes --report

The first command runs the named variants (all by default) that have no result yet, on the CPU, and adds each to
comparison/off-codes/results.json as soon as it is done. A killed run goes on with the next variant. A job has one
thread, so a result does not depend on the number of jobs. The second one trains the old settings and the new ones once
more, and draws samples.png. All then write report.md and its figures.

`variants.py` lists the variants, and `options.py` says what their options mean.
"""

import argparse
import dataclasses
import os
import platform
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.off_codes.options import Options, options_of
from benchmarks.off_codes.report import write_report
from benchmarks.off_codes.tasks import laboratory_of, run
from benchmarks.off_codes.variants import VARIANTS
from iglo.files.io import read_json, write_json

SHOWN = {"plain": "old settings", "new": "new settings"}
FOLDER = Path(__file__).resolve().parents[2] / "comparison" / "off-codes"


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, and writes the report."""
    parser = argparse.ArgumentParser("python -m benchmarks.off_codes", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="variants; default: all")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="photographs, of CIFAR-10's frogs in the report")
    parser.add_argument("--images-64", type=Path, metavar="FOLDER", help="photographs for variants with 64×64 pixels")
    parser.add_argument("--emoji", type=Path, metavar="FOLDER", help="drawings for variants with emoji")
    parser.add_argument("--loss-weights", type=Path, metavar="FILE", help="VGG-16, .safetensors")
    parser.add_argument("--judge-weights", type=Path, metavar="FILE", help="EfficientNet-Lite0 of timm, .safetensors")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, each on one thread")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of results.json and the report")
    parser.add_argument("--report", action="store_true", help="train nothing, write the report again")
    parser.add_argument("--samples", action="store_true", help="draw samples.png instead")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - {variant.name for variant in VARIANTS}:
        parser.error(f"NAME: there is no variant {', '.join(sorted(unknown))}")
    path = given.folder / "results.json"
    if not given.report:
        if not (given.images and given.loss_weights and given.judge_weights):
            parser.error("--images, --loss-weights and --judge-weights are needed, or --report")
        folders = {"frogs": given.images, "frogs-64": given.images_64, "emoji": given.emoji}
        folders = {name: folder for name, folder in folders.items() if folder}
        if given.samples:
            show_samples(given, folders)
        else:
            run_missing(given, folders, path)
    write_report(given.folder, read_json(path), VARIANTS)


def run_missing(given: argparse.Namespace, folders: dict[str, Path], path: Path) -> None:
    """Trains the variants that have no result yet and whose images are there, and adds their results to the file."""
    record = read_json(path) if path.exists() else {"machine": machine(), "results": {}}
    todo = missing(record["results"], given.names)
    for name, options in todo:
        if options.data not in folders:
            print(f"{name}: left out, because no folder is given for its images ({options.data})")
    todo = [(name, options) for name, options in todo if options.data in folders]
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= {"IGLO_THREADS": "1", "IGLO_DEVICE": "cpu"}  # for the processes that start here
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        laboratory = (tuple(folders.items()), given.loss_weights, given.judge_weights)
        running = {pool.submit(run, laboratory, options): (name, options) for name, options in todo}
        for done in as_completed(running):
            name, options = running[done]
            record["results"].setdefault(name, {})[str(options.seed)] = done.result()
            write_json(path, record)
            print(f"{name}, seed {options.seed}: {done.result()['psnr']:.2f} dB", flush=True)


def show_samples(given: argparse.Namespace, folders: dict[str, Path]) -> None:
    """Trains the variants SHOWN with the seed 0, and draws what they make."""
    from benchmarks.off_codes.samples import draw_samples

    laboratory, options = (
        laboratory_of(tuple(folders.items()), given.loss_weights, given.judge_weights),
        options_of(VARIANTS),
    )
    shown = {title: laboratory.shown(options[name]) for name, title in SHOWN.items()}
    judged = next(iter(shown.values()))[1]
    draw_samples(given.folder / "samples.png", {title: made for title, (made, _) in shown.items()}, judged)


def missing(results: dict, names: list[str]) -> list[tuple[str, Options]]:
    """Returns the names and the options of the trainings that have no result."""
    options = options_of(VARIANTS)
    chosen = [variant for variant in VARIANTS if not names or variant.name in names]
    return [
        (variant.name, dataclasses.replace(options[variant.name], seed=seed))
        for variant in chosen
        for seed in variant.seeds
        if str(seed) not in results.get(variant.name, {})
    ]


def machine() -> str:
    """Returns the machine in words."""
    return f"CPU with {os.cpu_count()} cores ({platform.machine()}), one thread a training, bf16"


if __name__ == "__main__":
    main()
