"""Measures how time and memory of every stage grow with the number of images, and plans a larger run.

The stages of dvc.yaml run one after another in a temporary folder, each in its own process. The images are augmented
crops (scaled, mirrored, brightened by channel) of the images in a folder, or of scikit-learn's two photographs.
Networks are small and every training stage has one epoch, because only the growth is measured.

    python benchmarks/scale.py --out docs                                 # 1k, 4k, 16k and 64k images
    python benchmarks/scale.py --out docs --counts --ceiling 200000       # one run from prepare to `full`
    python benchmarks/scale.py --out docs --counts                        # the tables again, from scale.csv

It writes scale.csv (a row for each stage; rows of other runs are kept), scale.png and scale.md to the folder OUT.
"""

import argparse
import csv
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np  # and no torch: on Linux, a process counts as at least as large as its parent at its start
import yaml
from dvc.repo import Repo
from networkx import dfs_postorder_nodes
from PIL import Image
from scale_report import COLUMNS, Plan, Row, read_rows, write_report
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
SIDE, HELD_OUT = 32, 256
LOADED = 10_000  # most images that crops are made from
# Runs `python -m MODULE …` and writes the CPU seconds of its main, which do not count other work on the machine.
STAGE = """
import importlib, pathlib, sys, time
main = importlib.import_module(sys.argv[1]).main
started = time.process_time()
main(sys.argv[2:])
pathlib.Path("cpu-seconds.txt").write_text(str(time.process_time() - started))
"""
AFTER_FULL = ("encoder", "joint", "priors", "evaluate")  # a ceiling run does not run these
CHANGES = {
    "data": {
        "source": "folder",
        "path": "images",
        "image_size": SIDE,
        "channels": 3,
        "validation": HELD_OUT,
        "test": HELD_OUT,
    }
    | {"shuffle": False, "fit": "resize"},
    "features": {"network": "squeezenet1_1", "weights": "random"},
    "generator": {"width": 16},
    "loss": {"name": "l1"},
    "staged": {"start": "own"},
    "full": {"epochs": 1},
    "encoder": {"mode": "joint", "width": 16, "epochs": 1},
    "joint": {"epochs": 1},
    "evaluate": {"network": "squeeze", "weights": "random", "pairs": 8, "steps": 2, "samples": 256},
}


# --- Images ---


class Crops:
    """Writes augmented crops of photographs to a folder as PNG files, always the same crops in the same order."""

    def __init__(self, folder: Path, photographs: list[Image.Image]):
        self.folder, self.photographs = folder, photographs
        self.rng, self.count = np.random.default_rng(0), 0
        folder.mkdir()

    def extend(self, count: int) -> None:
        for index in tqdm(range(self.count, count), desc="crops", unit="image", disable=None):
            self._crop().save(self.folder / f"crop-{index}.png", compress_level=1)
        self.count = max(self.count, count)

    def _crop(self) -> Image.Image:
        photograph = self.photographs[self.rng.integers(len(self.photographs))]
        shorter = min(photograph.size)
        side = math.exp(self.rng.uniform(math.log(min(SIDE, shorter / 2)), math.log(shorter)))
        left, top = (self.rng.uniform(0, length - side) for length in photograph.size)
        crop = photograph.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        pixels = np.asarray(crop)[:, :: self.rng.choice((-1, 1))] * self.rng.uniform(0.7, 1.3, 3)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def photographs(folder: Path | None) -> list[Image.Image]:
    if folder is None:
        from sklearn.datasets import load_sample_images

        return [Image.fromarray(image) for image in load_sample_images().images]
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not files:
        sys.exit(f"error: --images: no PNG, JPEG or WebP files in {str(folder)!r}; name a folder that has some.")
    return [Image.open(path).convert("RGB") for path in files[:LOADED]]


# --- Stages ---


def params_of(count: int, epochs: int) -> dict:
    """Returns the root params.yaml for `count` training images, with small networks and `epochs` in each round."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, change in CHANGES.items():
        values[section] |= change
    values["data"]["train"], values["launch"] = count, "python"
    values["rounds"] = [
        {"id": 1, "after": 0, "clusters": 64, "per_cluster": 4, "epochs": epochs},
        {"id": 2, "after": 1, "clusters": 64, "per_cluster": 8, "epochs": epochs},
        {"id": 3, "after": 2, "clusters": 1, "per_cluster": None, "epochs": epochs},
    ]
    return values


def commands(params: dict) -> list[tuple[str, list[str]]]:
    """Returns the name, and the module with its options, of every stage of dvc.yaml, in the order of running."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        Path(name, "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
        Path(name, ".dvc").mkdir()
        Path(name, ".dvc", "config").write_text("[core]\n    no_scm = true\n")
        with Repo(name) as repo:
            return [(stage.name, shlex.split(stage.cmd)[2:]) for stage in dfs_postorder_nodes(repo.index.graph)]


def measured(folder: Path, images: int, ceiling: bool, threads: int) -> Iterator[Row]:
    """Runs the stages on the first `images` of `folder`/images; yields the time and memory of each."""
    params = params_of(images, epochs=0 if ceiling else 1)
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    stages = [stage for stage in commands(params) if not (ceiling and stage[0] in AFTER_FULL)]
    for stage, argv in (progress := tqdm(stages, desc=f"{images} images", unit="stage", disable=None)):
        progress.set_postfix_str(stage)
        private = run(folder, argv, threads)
        cpu_seconds = round(float((folder / "cpu-seconds.txt").read_text()), 3)
        timing = json.loads((folder / argv[argv.index("--timing") + 1]).read_text())
        timing = timing.get("evaluate", timing)  # the file of evaluate also has the other stages
        kind = "ceiling" if ceiling else "growth"
        yield Row(kind, images, stage, cpu_seconds, timing["seconds"], timing["peak_mib"], private)


def run(folder: Path, argv: list[str], threads: int) -> int:
    """Runs a stage, `MODULE OPTIONS…`; returns its largest private memory in MiB, 0 if that is unknown."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder)}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "IGLO_THREADS"), str(threads))
    log, command = folder / "log.txt", [sys.executable, "-c", STAGE, *argv]
    with open(log, "w") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    private = 0
    while process.poll() is None:
        private = max(private, private_mib(process.pid))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"error: python -m {shlex.join(argv)} has failed: {log.read_text()[-2000:]}")
    return private


def private_mib(pid: int) -> int:
    """Returns the resident memory in MiB without pages of files, which can be dropped and read again (Linux only)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("RssAnon"))
    except (OSError, StopIteration):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="*", default=[1000, 4000, 16000, 64000], help="training images")
    parser.add_argument("--ceiling", type=int, help="training images of a run from prepare to one epoch of `full`")
    parser.add_argument("--images", type=Path, help="folder of images to make crops from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the table, the plot and the report")
    parser.add_argument("--threads", type=int, default=1, help="threads of each stage (default 1)")
    Plan.add_arguments(parser.add_argument_group("assumptions of the plan"))
    arguments = parser.parse_args()
    runs = [(count, False) for count in sorted(arguments.counts)]
    runs += [(arguments.ceiling, True)] if arguments.ceiling else []
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = arguments.out / "scale.csv"
    with tempfile.TemporaryDirectory(prefix="iglo-scale-") as name:
        crops = Crops(Path(name, "images"), photographs(arguments.images)) if runs else None
        for count, ceiling in runs:
            crops.extend(count + 2 * HELD_OUT)
            new = list(measured(Path(name), count, ceiling, arguments.threads))
            kept = [row for row in read_rows(table) if (row.run, row.images) != (new[0].run, new[0].images)]
            write_rows(table, [*kept, *new])
    write_report(arguments.out, read_rows(table), Plan.of(arguments))


def write_rows(path: Path, rows: list[Row]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


if __name__ == "__main__":
    main()
