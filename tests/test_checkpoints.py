"""States that come back exactly, the newest whole one, for one process at a time."""

import shutil
from collections import OrderedDict

import pytest
import torch

from iglo.checkpoints import CheckpointFolder, fingerprint, scratch_root
from iglo.errors import UserError
from iglo.params import ClusterParams
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
    assert folder.load()["step"] == 1
    shutil.copy(newest, folder.path / "step-000000001.safetensors")
    assert folder.load() is None


def test_a_save_that_is_killed_leaves_the_one_before(folder, monkeypatch):
    folder.save(1, {"step": 1})

    def half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("iglo.checkpoints.save_file", half)
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


def test_the_folder_goes_on_success_and_stays_on_failure(folder):
    with pytest.raises(RuntimeError), folder.locked() as held:
        held.save(1, {"step": 1})
        raise RuntimeError
    with folder.locked() as held:
        assert held.load() == {"step": 1}
    assert not folder.path.exists()


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
