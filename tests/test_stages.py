"""What a stage does when things go wrong: killed, out of its mind, out of room, or asked for what is not there."""

import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from iglo.runtime.device import Runtime
from iglo.training.checkpoints import CheckpointFolder
from stages.common import peak_mib
from tests import chain, pipeline

LONG = {  # steps enough to be stopped in between
    "rounds.1.epochs": 30,
    "full.epochs": 30,
    "encoder.epochs": 30,
    "joint.epochs": 30,
    "arrival.least_steps": 30,
}
NOT_NEEDED = {  # what a stage does without; a reference is learned only on request
    "arrival_reference@0": ("data/arrived", "models"),
    "arrival_priors@0": ("data/arrived",),
}
STAGES = [stage.name for stage in pipeline.stages(params=chain.params())]


@pytest.fixture
def resumed_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Receives the step of every checkpoint from which a stage goes on."""
    steps, load = [], CheckpointFolder.load

    def noting(folder: CheckpointFolder, runtime: Runtime) -> dict | None:
        if state := load(folder, runtime):
            steps.append(state["progress"]["step"])
        return state

    monkeypatch.setattr(CheckpointFolder, "load", noting)
    return steps


@pytest.mark.bits
@pytest.mark.parametrize("name", ["staged@1", "full", "encoder", "joint", "arrival_learn@0", "arrival_encoder@0"])
def test_a_killed_stage_ends_with_the_same_bits(name, tiny_run, tmp_path, resumed_at, capsys):
    """Killed in mid-run, its newest checkpoint damaged; a second trainer is refused meanwhile."""
    run = tiny_run.copy(tmp_path, **LONG)
    stage = run.stage(name)
    chain.run(run.folder, stage)
    unbroken = take_away(run, stage)
    capsys.readouterr()
    shutil.rmtree(run.folder / ".scratch")

    process = chain.start(run.folder, "-m", stage.module, *stage.argv, IGLO_CHECKPOINT_SECONDS="0")
    where = f".scratch/*/{'subset-1/' * (name == 'arrival_learn@0')}step-*.safetensors"
    wait_for_checkpoints(run.folder, where, process)
    process.send_signal(signal.SIGSTOP)
    assert_refused(run, stage, capsys, "another process is training in this folder")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not outputs(run, stage)
    before, newest = sorted(run.folder.glob(where))[-2:]
    os.truncate(newest, newest.stat().st_size // 2)

    chain.run(run.folder, stage)
    assert resumed_at[-1] == step(before)  # after the whole of what comes first, where there is such
    assert outputs(run, stage) == unbroken
    assert not list(run.folder.rglob(".partial-*"))


@pytest.mark.parametrize("name", ["staged@1", "full", "encoder", "joint"])
def test_a_finished_stage_whose_outputs_are_gone_writes_them_without_learning_again(
    name, tiny_run, tmp_path, resumed_at, monkeypatch
):
    """DVC may be killed before it has recorded the outputs; then it removes them and runs the stage again."""
    run = tiny_run.copy(tmp_path)
    stage = run.stage(name)
    whole = take_away(run, stage)
    chain.run(run.folder, stage)
    take_away(run, stage)
    assert not resumed_at

    def learned(*_: object) -> None:
        raise AssertionError("learned again")

    monkeypatch.setattr("torch.Tensor.backward", learned)
    chain.run(run.folder, stage)
    assert resumed_at[-1] > 0 and outputs(run, stage) == whole
    parts = [path.parent for path in run.folder.glob(".scratch/**/step-*.safetensors")]
    assert len(parts) == len(set(parts)) == 1 + (name == "staged@1")  # the last checkpoint of each part


@pytest.mark.parametrize(
    ("name", "changes", "start"),
    [("joint", {"encoder.mode": "codes"}, "encoder"), ("staged@1", {"rounds.1.epochs": 0}, "staged@0")],
)
def test_a_stage_that_learns_nothing_passes_its_model_through(name, changes, start, tiny_run, tmp_path):
    """But for which images it has put on record."""
    run = tiny_run.copy(tmp_path, **changes)
    stage = run.stage(name)
    take_away(run, stage)
    chain.run(run.folder, stage)
    given, made = (run.folder / run.stage(each).options["--out"] for each in (start, name))
    before, after = (chain.contents(folder, folder) for folder in (given, made))
    assert before.keys() == after.keys()
    recorded = {"subset_id.npy"} if name == "staged@1" else set()
    assert {file for file in before if before[file] != after[file]} == recorded
    assert not list((run.folder / stage.options["--curves"]).iterdir())  # or DVC would draw an empty curve


def test_a_loss_that_is_not_finite_stops_the_stage(tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    run = tiny_run.copy(tmp_path, **{"optimizer.generator_rate": 1e30})
    stage = run.stage("full")
    take_away(run, stage)
    words = "full: the reconstruction loss is no longer finite at step ", "checkpoint is kept"
    assert_refused(run, stage, capsys, *words)
    assert not outputs(run, stage)
    assert list(run.folder.glob(".scratch/full-*/step-*.safetensors"))


@pytest.mark.parametrize("name", STAGES)
def test_a_full_disk_leaves_nothing_half_made(name, tiny_run, tmp_path, capsys):
    """No file may grow as long as the stage's longest; what is there afterwards is as it should be."""
    run = tiny_run.copy(tmp_path)
    stage = run.stage(name)
    whole = take_away(run, stage)
    longest = max(map(len, whole.values()))
    with files_shorter_than(longest):
        assert_refused(run, stage, capsys, "the disk is full")
    left = outputs(run, stage)
    assert left.items() < whole.items()
    for out in stage.outs:
        assert {file for file in whole if file.startswith(out)} <= left.keys() or not (run.folder / out).exists()
    assert not list(run.folder.rglob(".partial-*"))


@pytest.mark.parametrize("name", STAGES)
def test_what_is_not_there_is_named(name, tiny_run, tmp_path, capsys):
    run = tiny_run.copy(tmp_path)
    stage = run.stage(name)
    unread = ("data/raw", "data/torchvision", "data/weights", "data/checked/", "models/reference-")  # by this run
    unread += ("data/modules/", "stages/", "src/", *NOT_NEEDED.get(name, ()))
    inputs = [path for path in stage.deps if not path.startswith(unread)]
    for path in inputs:
        (run.folder / path).rename(run.folder / "away")
        assert_refused(run, stage, capsys, path)
        (run.folder / "away").rename(run.folder / path)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (".scratch", "cannot be written (not a directory"),
        ("models", "models/full: cannot be written (file exists at "),
        ("reports/curves", "reports/curves/full: cannot be written (file exists"),
        ("reports/timing/full.json", "full.json: cannot be written (is a directory)"),
        (None, "IGLO_CHECKPOINT_SECONDS: must be a number of seconds of at least 0, got '1m'"),
    ],
)
def test_what_would_fail_in_the_end_is_found_before_the_training(place, words, tiny_run, tmp_path, monkeypatch, capsys):
    run = tiny_run.copy(tmp_path)
    stage = run.stage("full")
    monkeypatch.setattr("torch.Tensor.backward", lambda *_: pytest.fail("learned"))
    if place is None:
        monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "1m")
    elif place == "reports/timing/full.json":
        (run.folder / place).unlink()
        (run.folder / place).mkdir()
    else:
        if place == "models":  # the inputs of the stage are elsewhere
            (run.folder / place).rename(run.folder / "given")
            stage = replace(stage, cmd=stage.cmd.replace("--model models/", "--model given/"))
        shutil.rmtree(run.folder / place, ignore_errors=True)
        (run.folder / place).write_text("a file in its place")
    assert_refused(run, stage, capsys, words)


def test_a_stage_whose_code_was_edited_after_the_run_had_begun_is_refused(tiny_run, tmp_path):
    """Else DVC would record its result as that of the code before the edit."""
    run = tiny_run.copy(tmp_path)
    stage = run.stage("fetch")
    file = run.folder / stage.options["--modules"]
    seen = json.loads(file.read_text(encoding="utf-8"))
    for changed, error in [
        ({}, ""),
        ({"stages/fetch.py": "0"}, "stages/fetch.py"),
        ({"stages/gone.py": "0"}, "stages/gone.py"),
    ]:
        file.write_text(json.dumps(seen | changed), encoding="utf-8")
        process = chain.start(run.folder, "-m", stage.module, *stage.argv)
        _, errors = process.communicate()
        words = f"error: {error}: was edited after this run had begun; run `dvc repro` again.\n" if error else ""
        assert (process.returncode, errors) == (int(bool(error)), words)


SLOW = """
import time
from pathlib import Path
try:
    Path("ready").touch()
    time.sleep(60)
finally:
    Path("cleared up").touch()
"""


@pytest.mark.parametrize(("number", "words"), [(signal.SIGTERM, "a signal (SIGTERM)"), (signal.SIGINT, "the keyboard")])
def test_a_stage_that_is_stopped_says_so(tmp_path, number, words):
    """It also says so while it imports modules; SLOW stands for a stage with slow imports."""
    (tmp_path / "stages").mkdir()
    shutil.copy(pipeline.ROOT / "stages" / "__init__.py", tmp_path / "stages")
    (tmp_path / "stages" / "slow.py").write_text(SLOW)
    process = chain.start(tmp_path, "-m", "stages.slow", PYTHONPATH=str(tmp_path))
    while not (tmp_path / "ready").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    assert process.communicate() == ("", f"stopped by {words}; `dvc repro` goes on where it can\n")
    assert process.returncode == 128 + number and (tmp_path / "cleared up").exists()


def test_whoever_imports_a_stage_keeps_their_signals():
    """A job in the background may have been started with SIGINT ignored, so the handlers are compared."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    importlib.reload(importlib.import_module("stages"))
    assert [signal.getsignal(number) for number in numbers] == before
    assert not any(getattr(handler, "__module__", None) == "stages" for handler in before)


def test_macos_counts_memory_in_bytes():
    assert peak_mib(5 * 2**20, "darwin") == peak_mib(5 * 2**10, "linux") == 5


def test_a_wrong_params_file_is_refused(tiny_run, tmp_path, capsys):
    run = tiny_run.copy(tmp_path)
    stage = run.stage("full")
    values = chain.params()
    values["sigmaa"] = values.pop("sigma")
    chain.write_params(run.folder, values)
    assert_refused(run, stage, capsys, "sigmaa: unknown key; did you mean sigma?")
    (run.folder / "params.yaml").unlink()
    assert_refused(run, stage, capsys, "params.yaml: cannot read the params file")


@pytest.mark.bits
def test_stages_run_and_a_model_is_used_without_dvc_fcntl_and_resource(tiny_run, exported, tmp_path):
    """Windows has neither fcntl nor resource; there, files are locked in another way."""
    run = tiny_run.copy(tmp_path)
    lines = ["import sys", "sys.modules |= dict.fromkeys(['dvc', 'fcntl', 'resource'])", "import iglo, stages.full"]
    whole = {}
    for name in ("prepare", "initialise"):
        stage = run.stage(name)
        whole |= take_away(run, stage)
        lines += [f"from {stage.module} import main as {name}", f"{name}({stage.argv})"]
    lines.append(f"print(iglo.load({str(exported)!r}).sample(1).shape)")
    done = chain.start(run.folder, "-c", "\n".join(lines))
    assert done.communicate() == ("(1, 16, 16, 1)\n", "") and done.returncode == 0
    assert outputs(run, run.stage("prepare")) | outputs(run, run.stage("initialise")) == whole


# --- Helpers ---


def outputs(run: chain.Run, stage: pipeline.Stage) -> dict[str, bytes]:
    """Every file that a stage has made, but for its times."""
    outs = [run.folder / out for out in stage.outs if "timing" not in out]
    return {name: data for out in outs for name, data in chain.contents(out, run.folder).items()}


def take_away(run: chain.Run, stage: pipeline.Stage) -> dict[str, bytes]:
    """Removes what a stage has made, and returns it."""
    made = outputs(run, stage)
    assert made
    for out in stage.outs:
        path = run.folder / out
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return made


def wait_for_checkpoints(folder: Path, where: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not any(step(path) >= 3 for path in folder.glob(where)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def step(checkpoint: Path) -> int:
    return int(checkpoint.stem.removeprefix("step-"))


@contextmanager
def files_shorter_than(count: int) -> Iterator[None]:
    """No file that this process writes may have `count` bytes: the kernel refuses the last, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count - 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def assert_refused(run: chain.Run, stage: pipeline.Stage, capsys: pytest.CaptureFixture, *words: str) -> None:
    """The stage ends with exit status 1 and one sentence that has these words."""
    with pytest.raises(SystemExit, match="1"):
        chain.run(run.folder, stage)
    assert_one_sentence(capsys.readouterr().err, *words)


def assert_one_sentence(text: str, *words: str) -> None:
    assert text.startswith("error: ") and text.endswith((".\n", "?\n")) and text.count("\n") == 1, text
    for some in words:
        assert some in text


def test_a_training_in_vain_is_one_line_of_warning(tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("iglo.training.sanity.FEWEST_STEPS", 1)
    run = tiny_run.copy(tmp_path, **{"optimizer.generator_rate": 1e6})
    chain.run(run.folder, run.stage("full"))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: full: after 6 steps, its images") and "lower optimizer.generator_rate" in line


@pytest.mark.parametrize(("name", "rate"), [("full", "optimizer.generator_rate"), ("joint", "joint.rate")])
def test_a_training_that_its_last_step_spoils_leaves_no_model(name, rate, tiny_run, tmp_path, capsys):
    run = tiny_run.copy(tmp_path, **{rate: 1e38})
    stage = run.stage(name)
    take_away(run, stage)
    with pytest.raises(SystemExit, match="1"):
        chain.run(run.folder, stage)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {name}: ") and "no longer finite" in line and "checkpoint is kept" not in line
    assert not outputs(run, stage)
