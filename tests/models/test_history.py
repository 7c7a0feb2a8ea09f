"""The history of a training, saved and loaded."""

import json

import numpy as np
import pytest
import torch

from iglo.errors import UserError
from iglo.models.history import ArrivalRecord, History
from iglo.models.snapshots import Snapshots
from iglo.params.run_record import Loss, RunRecord
from tests.evaluation.arrived import history_of
from tests.tiny import same_bits, tiny_images


@pytest.fixture
def history():
    snapshots = Snapshots(torch.tensor([3, 0]))
    snapshots.add("staged 1", 1, torch.from_numpy(tiny_images(2)))
    run = RunRecord("incremental", 3, "bf16", 0.5, Loss("vgg16", "random", "l1", 4), {"source": "digits"})
    log = [{"stage": "staged 1", "epoch": 1, "reconstruction": 0.1 + 0.2}]
    return History(snapshots, np.arange(20, dtype=np.int32) % 3, log, run)


def test_a_history_is_saved_and_loaded(history, tmp_path):
    history.save(tmp_path)
    back = History.load(tmp_path)
    assert back.log == history.log and back.run == history.run
    assert same_bits(vars(back.snapshots), vars(history.snapshots))
    np.testing.assert_array_equal(back.subset_id, history.subset_id)
    assert back.subset_id.dtype == np.int32


def test_a_new_history_is_empty(tmp_path):
    History(Snapshots(torch.tensor([], dtype=torch.int64)), np.zeros(3, np.int32)).save(tmp_path)
    back = History.load(tmp_path)
    assert back.log == [] and back.run is None and not back.snapshots.frames and not back.subset_id.any()
    (tmp_path / "history.json").write_text('{"log": []}')  # an earlier iglo wrote no run
    assert History.load(tmp_path).run is None


def test_a_broken_file_is_named(history, tmp_path):
    history.save(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["history.json", "snapshots.json", "snapshots.npy", "subset_id.npy"]
    for path in files:
        content = path.read_bytes()
        for broken in (None, content[: len(content) // 2], b""):
            path.unlink()
            if broken is not None:
                path.write_bytes(broken)
            message = rf"{path.name}: (holds no|there is no such file)[^\n]*run the stage that makes it "
            with pytest.raises(UserError, match=message):
                History.load(tmp_path)
            path.write_bytes(content)


def test_a_record_that_describes_no_training_is_refused(history, tmp_path):
    history.save(tmp_path)
    path = tmp_path / "history.json"
    record = json.loads(path.read_text())
    run = record["run"] | {"seed": "x"}
    for damaged in ([], {}, "x", record | {"log": None}, record | {"log": [1]}, record | {"run": run}):
        path.write_text(json.dumps(damaged))
        with pytest.raises(UserError, match=r"history\.json: describes no training; run the stage that makes it again"):
            History.load(tmp_path)


@pytest.mark.parametrize("damaged", [{"id": 3}, {"first": "20"}, {"first": 19}, {"count": 0}, {"images_seen": None}])
def test_a_damaged_record_of_an_arrival_is_refused(history, tmp_path, damaged):
    """Its rows follow those of the arrival before."""
    history.arrivals = [ArrivalRecord("a", 14, 6, 0, 0, 0, "images"), ArrivalRecord("b", 20, 1, 0, 0, 0, "none", 7)]
    history.save(tmp_path)
    assert History.load(tmp_path).arrivals == history.arrivals
    path = tmp_path / "history.json"
    record = json.loads(path.read_text())
    record["arrivals"][1] |= damaged
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"history\.json: describes no training; run the stage that makes it again"):
        History.load(tmp_path)


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        [],
        {"ids": [0]},
        {"ids": 0, "places": []},
        {"ids": ["a"], "places": []},
        {"ids": [10**400], "places": []},
        {"ids": [[0], 1], "places": []},
        {"ids": [0], "places": 1},
        {"ids": [0], "places": [1]},
        {"ids": [0], "places": [["full", 1, 2]]},
    ],
)
def test_a_record_that_describes_no_snapshots_is_refused(history, tmp_path, damaged):
    history.save(tmp_path)
    (tmp_path / "snapshots.json").write_text(json.dumps(damaged))
    with pytest.raises(UserError, match=r"snapshots\.json: describes no snapshots; run the stage that makes it again"):
        History.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("subset_id", np.zeros((20, 1), np.int32)),
        ("subset_id", np.zeros(20)),
        ("snapshots", np.zeros((), np.uint8)),
        ("snapshots", np.zeros((2, 2, 16, 16, 1), np.uint8)),
        ("snapshots", np.zeros((1, 2, 16, 16, 1), np.float32)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(history, tmp_path, file, values):
    history.save(tmp_path)
    np.save(tmp_path / f"{file}.npy", values)
    with pytest.raises(UserError, match=rf"{file}\.npy: holds no array \([^\n]*run the stage that makes it again\.$"):
        History.load(tmp_path)


def test_images_seen_are_counted_for_the_first_run_and_for_arrivals():
    """The encoder does not train the generator."""
    history = history_of()
    assert history.first_run_images_seen == {"staged 1": 200, "full": 500, "encoder": 300}
    assert history.generator_images_seen == 200 + 500 + 70 + 90
    assert history.images_seen["new encoder"] == 40
