"""States that come back exactly, the newest whole one, for one process at a time."""

import errno
import os
import shutil
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from iglo.errors import UserError
from iglo.files import locks
from iglo.params.pipeline import ClusterParams
from iglo.training.checkpoints import FINISHED, HOUR, CheckpointFolder, fingerprint, scratch_root
from tests.ranks import Rank
from tests.tiny import generator, same_bits

STATE = {
    "model": OrderedDict({"body.0.weight": torch.randn(3, 2, 4, 4, generator=generator()), "steps": torch.tensor(7)}),
    "optimizer": {
        "state": {0: {"step": torch.tensor(3.0), "mean": torch.randn(5, generator=generator(1)).bfloat16()}, 2: {}},
        "param_groups": [{"lr": 0.1 + 0.2, "betas": (0.5, 0.999), "foreach": None, "params": [0, 2]}],
    },
    "progress": {"rows": [{"epoch": 1, "loss": 1e-300}, {}], "done": True, "name": "ü", "tensor": 1, "items": []},
    "best": {"scores": [float("inf"), -0.0], "weights": {}, "frames": [torch.zeros(0, dtype=torch.uint8)]},
}


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "scratch" / "run")


def test_a_nested_state_comes_back_exactly(folder):
    folder.save(1, STATE)
    back = folder.load()
    assert same_bits(back, STATE) and list(back["model"]) == list(STATE["model"])
    assert [type(key) for key in back["optimizer"]["state"]] == [int, int]
    assert back["progress"]["done"] is True and str(back["best"]["scores"]) == "[inf, -0.0]"


def test_tensors_come_back_in_their_memory_order(folder):
    """torch's fused Adam walks through weights and moments side by side, whatever their strides say."""
    weight = torch.randn(3, 2, 4, 4, generator=generator())
    channels_last = weight.to(memory_format=torch.channels_last)
    folder.save(1, {"plain": weight, "last": channels_last, "turned": weight[:, 0, 0].T})
    back = folder.load()
    assert torch.equal(back["plain"], weight) and back["plain"].stride() == weight.stride()
    assert torch.equal(back["last"], weight) and back["last"].stride() == channels_last.stride()
    assert torch.equal(back["turned"], weight[:, 0, 0].T)


def test_views_of_one_memory_are_kept_apart(folder):
    whole = torch.arange(12).view(3, 4)
    folder.save(1, {"frames": list(whole)})
    assert same_bits(folder.load(), {"frames": list(whole)})


def test_only_the_last_two_are_kept_and_the_newest_is_read(folder):
    assert folder.load() is None
    for step in (9, 10, 200):
        folder.save(step, {"step": step, "value": torch.tensor(step)})
    names = sorted(path.name for path in folder.path.iterdir())
    assert names == ["step-000000010.safetensors", "step-000000200.safetensors"]
    assert folder.load() == {"step": 200, "value": 200}


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_a_truncated_one_is_passed_over_for_the_one_before(folder, length):
    for step in (1, 2):
        folder.save(step, {"step": step, "value": torch.arange(100)})
    newest = folder.path / "step-000000002.safetensors"
    newest.write_bytes(newest.read_bytes()[:length])
    with pytest.warns(UserWarning, match="002.safetensors: is damaged or incomplete"):
        assert folder.load()["step"] == 1
    shutil.copy(newest, folder.path / "step-000000001.safetensors")
    with pytest.warns(UserWarning, match="001.safetensors: is damaged or incomplete"):
        assert folder.load() is None


@pytest.mark.parametrize("place", ["header", "tensor", "record", "zeroed", "bare", "later version"])
def test_a_damaged_one_is_passed_over_for_the_one_before(folder, place):
    """It is skipped even if safetensors reads it without an error."""
    for step in (1, 3):
        folder.save(step, {"step": step, "value": torch.arange(1.0, 4000.0)})
    newest = folder.path / "step-000000003.safetensors"
    data, tensors = bytearray(newest.read_bytes()), {"/value": torch.arange(1.0, 4000.0)}
    if place == "bare":  # a file that iglo did not write
        data = save(tensors)
    elif place == "later version":
        with safe_open(newest, "pt") as handle:
            data = save(tensors, handle.metadata() | {"format": "3"})
    elif place == "zeroed":
        data[-8192:-4096] = bytes(4096)
    else:
        at = {"header": data.index(b"/value"), "tensor": -5, "record": data.index(b"step") + 4}[place]
        data[at] ^= 1
    newest.write_bytes(data)
    with pytest.warns(UserWarning, match="003.safetensors: is damaged or incomplete"):
        assert folder.load()["step"] == 1
    folder.save(2, {"step": 2})
    assert folder.load()["step"] == 2 and not newest.exists()


def test_a_save_that_is_killed_leaves_the_one_before(folder, monkeypatch):
    folder.save(1, {"step": 1})

    def half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("iglo.training.checkpoints.save_file", half)
    with pytest.raises(KeyboardInterrupt):
        folder.save(2, {"step": 2})
    assert folder.load() == {"step": 1}


def test_one_process_at_a_time(folder):
    other = CheckpointFolder(folder.path)
    with folder.locked():
        folder.save(1, {"step": 1})
        with pytest.raises(UserError, match=r"run: another process is training .*first\.$"), other.locked():
            pass
        assert folder.load() == {"step": 1}  # the loser takes nothing with it


def test_the_end_stays_for_a_run_that_is_started_again(folder):
    with pytest.raises(RuntimeError), folder.locked() as held:
        held.save(1, {"step": 1})
        raise RuntimeError
    with folder.locked() as held:
        assert held.load() == {"step": 1}
        for part in (held, held.inside("start")):
            part.save(2, {"step": 2})
            part.save(3, {"step": 3})
    with folder.locked() as held:
        assert held.load() == held.inside("start").load() == {"step": 3}
    kept = sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("step-*"))
    assert kept == ["start/step-000000003.safetensors", "step-000000003.safetensors"]


def test_a_later_run_removes_what_earlier_ones_of_the_stage_have_finished_and_nothing_else(tmp_path):
    """Experiments side by side share the folder: one may be running, unfinished, or not yet recorded by DVC."""

    def run(name: str, age: float = 2 * HOUR, ends: bool = True) -> CheckpointFolder:
        folder = CheckpointFolder(tmp_path / name)
        with suppress(RuntimeError), folder.locked():
            folder.save(1, {"step": 1})
            if not ends:
                raise RuntimeError
        if ends:
            os.utime(folder.path / FINISHED, (time.time() - age,) * 2)
        return folder

    names = {kind: f"full-{number:024x}" for number, kind in enumerate(("old", "held", "broken", "new", "this"))}
    run(names["old"])
    run(names["new"], age=60)
    run(names["broken"], ends=False)
    others = ["full", f"fuller-{1:024x}", f"full-2-{1:024x}", "full-notes"]
    for other in others:
        run(other)
    with run(names["held"]).locked():
        run(names["this"])
        left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([*others, *(names[kind] for kind in ("held", "broken", "new", "this"))])


def test_a_folder_that_is_removed_while_a_run_starts_is_made_anew(folder, monkeypatch):
    hold, removals = locks.hold, []

    def removed(path: Path) -> locks.Lock:
        if not removals:
            removals.append(shutil.rmtree(path.parent))
        return hold(path)

    monkeypatch.setattr("iglo.files.locks.hold", removed)
    with folder.locked():
        folder.save(1, {"step": 1})
    assert removals and folder.load() == {"step": 1}


def test_a_file_system_without_locks_is_not_another_process(folder, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("iglo.files.locks._lock", no_locks)
    with pytest.warns(UserWarning, match="run: this file system has no locks"), folder.locked():
        folder.save(1, {"step": 1})


def test_what_ranks_that_died_have_left_does_not_stand_for_the_end(folder):
    with folder.locked():
        folder.save(9, {"step": 9, "rank": 1}, Rank.of(4)[1])
        folder.save(9, {"step": 9})
    assert [path.name for path in folder.path.glob("step-*")] == ["step-000000009.safetensors"]
    assert folder.load() == {"step": 9}


@pytest.mark.parametrize("error", [NotADirectoryError, PermissionError])
def test_a_scratch_folder_that_cannot_be_written_is_one_sentence(folder, monkeypatch, error):
    if error is NotADirectoryError:
        folder.path.parent.write_text("a file")
    else:

        def denied(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("pathlib.Path.mkdir", denied)
    with pytest.raises(UserError, match=r"run: cannot be written \([a-z ]*\); change .*way\.$"), folder.locked():
        pass


def test_a_fingerprint_depends_on_values_names_and_content(tmp_path):
    for name, content in (("a/x", "1"), ("a/sub/y", "2"), ("b", "3")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    values = {"seed": 0, "clustering": ClusterParams(4, 10), "rounds": (1, None)}

    def mark(values=values):
        return fingerprint(values, [tmp_path / "a", tmp_path / "b"])

    marks = [mark(), mark(values | {"seed": 1}), mark(values | {"clustering": ClusterParams(5, 10)})]
    for name, content in (("a/x", "9"), ("a/sub/y", "22"), ("b", "")):
        (tmp_path / name).write_text(content)
        marks.append(mark())
    (tmp_path / "a/x").rename(tmp_path / "a/z")
    marks.append(mark())
    (tmp_path / "a/new").write_text("")
    marks.append(mark())
    assert len(set(marks)) == len(marks) and marks[-1] == mark(dict(values))


def test_a_fingerprint_does_not_depend_on_where_the_project_lies(tmp_path):
    for home in ("one", "two"):
        (tmp_path / home / "data").mkdir(parents=True)
        (tmp_path / home / "data" / "x").write_text("1")
    assert fingerprint(1, [tmp_path / "one" / "data"]) == fingerprint(1, [tmp_path / "two" / "data"])


def test_experiments_share_the_scratch_of_the_main_checkout(monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert scratch_root() == tmp_path / ".scratch"
