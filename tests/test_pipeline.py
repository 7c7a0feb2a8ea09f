"""The whole pipeline under DVC, on sixty tiny images."""

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from iglo.latent.priors import PRIORS
from iglo.report.headline import headline
from tests import chain, pipeline
from tests.forks import preloaded
from tests.pipeline import ROOT

OWN = pipeline.stages(params=chain.params())

SIGMAS = {"more-noise": 0.5, "less-noise": 0.25}


@pytest.fixture(scope="module", autouse=True)
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Lets commands find a `python` that starts at once, and yields the search path without it.

    With `-m bits` every process is a new one.
    """
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("PATH", f"{Path(sys.executable).parent}", prepend=os.pathsep)
        usual = os.environ["PATH"]
        if sys.platform == "linux" and request.config.option.markexpr != "bits":
            folder = tmp_path_factory.mktemp("forks")
            stack.enter_context(preloaded(folder))
            patch.setenv("PATH", str(folder), prepend=os.pathsep)
        yield usual


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with this working tree's files and a tiny params.yaml, in which `dvc repro` has run.

    Its images are tracked by DVC, for an experiment's copy has no others.
    """
    folder = tmp_path_factory.mktemp("repository")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in {*files.split("\0")} - {"dvc.lock", "metrics.json", "metrics-all.json", "timing.json"}:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    chain.write_params(folder, chain.params())
    chain.write_images(folder / chain.IMAGES)
    chain.write_images(folder / chain.LATER, 60, 80)
    git(folder, "init", "--quiet")
    git(folder, "config", "user.name", "tests")
    git(folder, "config", "user.email", "tests@localhost")
    dvc(folder, "add", chain.IMAGES, chain.LATER)
    commit(folder)
    dvc(folder, "repro")
    commit(folder)
    return folder


def test_a_run_leaves_numbers_times_and_figures(repository):
    metrics = json.loads((repository / "metrics-all.json").read_text())
    assert metrics.pop("of").keys() == {"model", "features"}  # names the model of the numbers
    sets = ["samples", "midpoints", "graph_midpoints", "reconstructions", "real", "noise"]
    others = ["interpolation", "off_code", "priors", "memorisation", "split", "counts"]
    assert list(metrics) == ["train", "test", *sets, *others]
    assert list(metrics["train"]) == ["recon", "encoder"] and list(metrics["test"]) == ["encoder", "images"]
    for part in (metrics["train"]["recon"], metrics["train"]["encoder"], metrics["test"]["encoder"]):
        assert list(part) == ["l1", "psnr", "ssim", "lpips_random_squeeze"]
    choice = json.loads((repository / "models" / "priors" / "priors.json").read_text())
    distance, chosen = choice["kernel_distance"], metrics["priors"][choice["chosen"]]
    assert chosen["validation"]["kd_random_squeezenet1_1"] == min(distance.values())
    assert metrics["samples"] == {key: value for key, value in chosen.items() if key != "validation"}
    assert list(metrics["priors"]) == list(PRIORS) == list(choice["standard_error"])
    assert list(metrics["memorisation"]) == ["pixels", "features_random_squeezenet1_1"]
    assert all(map(math.isfinite, leaves(metrics)))
    compared = json.loads((repository / "metrics.json").read_text())
    shown = json.loads(dvc(repository, "metrics", "show", "--json"))
    late = json.loads((repository / "reports" / "arrivals" / "late" / "metrics.json").read_text())
    # no times, and no other pipeline
    assert shown[""]["data"] == {
        "metrics.json": {"data": compared},
        "reports/arrivals/late/metrics.json": {"data": late},
    }
    assert compared == headline(metrics) and 25 <= len(list(leaves(compared))) <= 37
    for name in sets:
        assert compared[name]["kd_random_squeezenet1_1"] == metrics[name]["kd_random_squeezenet1_1"]
    assert compared["train"]["recon"]["psnr"] == metrics["train"]["recon"]["psnr"]
    times = json.loads((repository / "timing.json").read_text())
    assert times.keys() == {stage.name.split("@")[0] for stage in OWN if not stage.name.startswith("arrival")}
    assert times["staged"].keys() == {"1", "2"} and times["full"].keys() == {
        "seconds",
        "peak_mib",
        "threads",
        "images_per_s",
    }
    figures = sorted(path.name for path in (repository / "reports" / "figures").iterdir())
    assert {"overview.png", "reconstructions.png", "interpolations.png", "samples.png", "losses.png"} < {*figures}
    assert {"priors.png", "neighbours.png", "nearness-pixels.png", "nearness-features.png"} < {*figures}
    assert {"midpoints.png", "learning.gif", "interpolation.gif"} < {*figures}
    page = (repository / "reports" / "index.html").read_text(encoding="utf-8")
    assert (
        all(f"<code>{name}</code>" in page for name in figures) and "staged 2" in page and "joint.code_weight" in page
    )
    with open(repository / "reports" / "curves" / "full" / "curve.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def leaves(value: Any) -> Iterator[float]:
    for inner in value.values() if isinstance(value, dict) else ():
        yield from leaves(inner)
    if not isinstance(value, dict):
        yield value


@pytest.mark.bits
def test_the_same_seed_gives_the_same_bits(repository, tiny_run):
    """Of every output but times; one run under DVC, a process a stage, the other in this process."""
    for stage in OWN:
        for out in stage.outs:
            if "timing" not in out and out != "reports/index.html":  # the page shows times
                ours, theirs = (chain.contents(root / out, root) for root in (tiny_run.folder, repository))
                assert ours and ours.keys() == theirs.keys()
                assert [name for name in ours if ours[name] != theirs[name]] == []


def test_a_second_repro_runs_nothing(repository):
    said = dvc(repository, "repro")
    assert "Running stage" not in said and "Data and pipelines are up to date." in said
    assert dvc(repository, "status").strip() == "Data and pipelines are up to date."
    assert git(repository, "status", "--porcelain") == ""


@pytest.fixture(scope="module")
def experiments(repository) -> dict[str, str]:
    """The references of two experiments by name. Two workers of the queue run them side by side, a thread each.

    `less-noise` ends with the stage `full`. `more-noise` goes on to `evaluate`, with an edited module.
    """
    module = repository / "src" / "iglo" / "report" / "report.py"
    with open(module, "a", encoding="utf-8") as file:
        file.write(
            "\nimport iglo.report.headline as chosen\n\n"
            "chosen.headline.__defaults__ = ((*chosen.HEADLINE, 'in_a_copy'), '')\n"
            "_without = write_report\n\n\ndef write_report(*given):\n"
            '    return {**_without(*given), "in_a_copy": float(".dvc/tmp/exps" in __file__)}\n'
        )
    more, less = (f"sigma={SIGMAS[name]}" for name in ("more-noise", "less-noise"))
    dvc(repository, "exp", "run", "--queue", "--name", "more-noise", "--set-param", more, "evaluate")
    git(repository, "checkout", "--quiet", str(module))
    dvc(repository, "exp", "run", "--queue", "--name", "less-noise", "--set-param", less, "full")
    try:
        dvc(repository, "queue", "start", "--jobs", "2")
        return {name: finished(repository, name) for name in SIGMAS}
    finally:
        dvc(repository, "queue", "stop", "--kill")


def test_an_experiment_runs_its_own_code_with_its_own_params(repository, experiments):
    """In a copy of the tree, uncommitted edits included, though the library of another tree is installed."""
    said = dvc(repository, "queue", "logs", "more-noise")
    assert ran(said) == ["modules", "full", "encoder", "joint", "priors", "evaluate"]
    assert git(repository, "status", "--porcelain") == ""
    changed = json.loads(dvc(repository, "metrics", "diff", "HEAD", "more-noise", "--json"))["metrics.json"]
    assert changed["in_a_copy"]["new"] == 1
    assert changed["interpolation.ppl_random_squeeze"]["diff"] != 0
    table = list(csv.DictReader(io.StringIO(dvc(repository, "exp", "show", "--csv"))))
    (row,) = [row for row in table if row["Experiment"] == "more-noise"]
    assert (row["sigma"], row["in_a_copy"]) == (str(SIGMAS["more-noise"]), "1.0")


@pytest.mark.bits
def test_experiments_side_by_side_end_with_the_bits_of_one_alone(repository, experiments, tiny_run, tmp_path):
    for name, sigma in SIGMAS.items():
        run = tiny_run.copy(tmp_path / name, sigma=sigma)
        chain.run(run.folder, run.stage("full"))
        files = [file for file in (run.folder / "models" / "full").iterdir() if file.is_file()]
        assert cached(repository, experiments[name], "full", "models/full") == {
            file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in files
        }


def finished(folder: Path, name: str, patience: float = 600) -> str:
    """The reference of a queued experiment, once it is there."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := [ref for ref in git(folder, "for-each-ref", "refs/exps").split() if ref.endswith(f"/{name}")]:
            return found[0]
        time.sleep(0.5)
    raise AssertionError(dvc(folder, "queue", "status") + dvc(folder, "queue", "logs", name))


def cached(folder: Path, ref: str, stage: str, out: str) -> dict[str, str]:
    """MD5 sums of the files in an output folder of a commit, from DVC's cache."""
    lock = yaml.safe_load(git(folder, "show", f"{ref}:dvc.lock"))
    (key,) = [entry["md5"] for entry in lock["stages"][stage]["outs"] if entry["path"] == out]
    listed = (folder / ".dvc" / "cache" / "files" / "md5" / key[:2] / key[2:]).read_text(encoding="utf-8")
    return {entry["relpath"]: entry["md5"] for entry in json.loads(listed)}


def test_a_misspelt_key_is_refused(repository):
    with pytest.raises(AssertionError, match="sigmaa"):
        dvc(repository, "exp", "run", "--temp", "--set-param", "sigmaa=1")
    assert git(repository, "status", "--porcelain") == ""


def test_an_edit_is_seen_by_the_stages_that_import_the_module(repository):
    module = repository / "src" / "iglo" / "report" / "page.py"
    before = module.read_text(encoding="utf-8")
    module.write_text(f"{before}\n# edited\n", encoding="utf-8")
    try:
        assert ran(dvc(repository, "repro", "modules")) == ["modules"]
        assert json.loads(dvc(repository, "status", "--json")).keys() == {"evaluate"}
    finally:
        module.write_text(before, encoding="utf-8")
    dvc(repository, "repro", "modules")
    assert json.loads(dvc(repository, "status", "--json")) == {}


def test_another_file_of_weights_is_seen(repository, python):
    """Stages that read no weights do not run again. DVC and the stage are processes of their own here."""
    (repository / "data" / "weights" / "other.safetensors").write_bytes(b"other")
    said = dvc(repository, "repro", PATH=python)
    (repository / "data" / "weights" / "other.safetensors").unlink()
    assert [line for line in said.splitlines() if line.startswith("Running stage")] == ["Running stage 'check':"]


def test_another_image_is_seen(repository):
    chain.write_images(repository / chain.IMAGES, 60, 61)
    said = dvc(repository, "repro", "prepare")
    assert "Stage 'fetch' didn't change" in said and "Running stage 'prepare'" in said
    counts = json.loads((repository / "data/prepared/report.json").read_text())["images"]
    assert counts == {"train": 48, "validation": 6, "test": 7}
    (repository / chain.IMAGES / "digit-60.png").unlink()
    assert "Running stage" not in dvc(repository, "repro", "prepare")


# --- Images that arrive later ---

ARRIVING = ["images", "learn", "encoder", "reference", "priors", "evaluate"]  # stages arrival_…


def ran(said: str) -> list[str]:
    """The stages that DVC has run, as it says."""
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]


def arrivals(*names: str, keep: str = "images") -> list[dict[str, str]]:
    """Entries of params.yaml. `keep` is that of the last one; the others replay images."""
    before = ["joint", *names]
    places = [chain.LATER if name == "late" else f"data/arrivals/{name}" for name in names]
    kept = ["images"] * (len(names) - 1) + [keep]
    return [{"id": name, "after": before[i], "keep": kept[i], "path": places[i]} for i, name in enumerate(names)]


def test_without_arrivals_the_run_has_the_stages_that_it_always_had():
    first = [stage for stage in OWN if not stage.name.startswith("arrival_")]
    assert pipeline.stages(params=chain.params(arrivals=[])) == first
    assert len(OWN) == len(first) + len(ARRIVING)


@pytest.fixture(scope="module")
def grown(repository, tmp_path_factory) -> tuple[Path, str]:
    """A copy of the repository to which a second arrival has come, and what DVC said."""
    folder = tmp_path_factory.mktemp("grown") / "repository"
    shutil.copytree(repository, folder, symlinks=True)
    chain.write_images(folder / "data" / "arrivals" / "later", 75, 90)  # five of them are known
    chain.write_params(folder, chain.params(arrivals=arrivals("late", "later")))
    return folder, dvc(folder, "repro")


def test_only_the_stages_of_the_new_arrival_run(grown):
    folder, said = grown
    assert sorted(ran(said)) == sorted(f"arrival_{name}@1" for name in ARRIVING)
    report = json.loads((folder / "data" / "arrived" / "later" / "report.json").read_text())
    assert report["known"]["count"] == 5
    history = json.loads((folder / "models" / "later" / "history.json").read_text())
    late, later = history["arrivals"]
    assert (late["first"], later["first"]) == (48, 48 + late["count"]) and later["known"] == 5
    diff = json.loads(dvc(folder, "metrics", "diff", "--json"))["reports/arrivals/later/metrics.json"]
    assert "forgetting.train.psnr" in diff and "cost.share" in diff


def test_the_last_arrival_is_taken_back_and_an_earlier_one_is_changed(grown, tmp_path):
    """Those after a changed one start from its model, so they are learned again."""
    folder = tmp_path / "repository"
    shutil.copytree(grown[0], folder, symlinks=True)
    chain.write_params(folder, chain.params(arrivals=arrivals("late")))
    assert ran(dvc(folder, "repro")) == []
    chain.write_params(folder, chain.params(arrivals=arrivals("late", "later")))
    next((folder / chain.LATER).iterdir()).unlink()
    assert sorted(ran(dvc(folder, "repro", "arrival_learn"))) == sorted(
        f"arrival_{name}@{index}" for name in ARRIVING[:3] for index in (0, 1) if (name, index) != ("encoder", 1)
    )


def test_generated_learns_without_any_earlier_image(grown, tmp_path):
    """The images, the prepared images and DVC's copies are gone."""
    folder = tmp_path / "repository"
    shutil.copytree(grown[0], folder, symlinks=True)
    for gone in (chain.IMAGES, chain.LATER, "data/prepared", "data/features", "data/arrived", "data/arrivals/later"):
        shutil.rmtree(folder / gone)
    shutil.rmtree(folder / ".dvc" / "cache")
    chain.write_images(folder / "data" / "arrivals" / "last", 85, 100)
    chain.write_params(folder, chain.params(arrivals=arrivals("late", "later", "last", keep="generated")))
    said = dvc(folder, "repro", "--allow-missing", "arrival_evaluate@2")
    assert sorted(ran(said)) == sorted(f"arrival_{name}@2" for name in ARRIVING)


def dvc(folder: Path, *command: str, **variables: str) -> str:
    """What `dvc …` says; it must succeed."""
    program = shutil.which("python", path=variables.get("PATH", os.environ["PATH"]))
    return succeeds(folder, program, "-m", "dvc", *command, **variables)


def git(folder: Path, *command: str) -> str:
    return succeeds(folder, "git", *command)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "tests")


def succeeds(folder: Path, *command: str, **variables: str) -> str:
    """Standard output of a command in `folder`, free of the settings of a hook or of an outer DVC.

    Stages find the library of this working tree, as after an editable install.

    The output goes to files: a worker of DVC's queue inherits it, and sometimes does not end. A pipe would wait for it.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "DVC_"))}
    settings = {"OMP_NUM_THREADS": "1", "IGLO_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        streams = {"stdout": output, "stderr": errors}
        code = subprocess.run(command, cwd=folder, env={**kept, **settings, **variables}, **streams).returncode
        said, complained = (file.seek(0) or file.read() for file in (output, errors))
    assert code == 0, said + complained
    return said
