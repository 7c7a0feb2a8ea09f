"""Several ranks: they learn what one process learns, each keeps its own codes, and one of them may be killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch.distributed.run import parse_args

from iglo.errors import UserError
from iglo.training.batches import Batches, IdSampler, Targets
from iglo.training.checkpoints import CheckpointFolder
from tests import chain, pipeline
from tests.ranks import IMAGES, Rank
from tests.tiny import RUNTIME, same_bits

CHANGES = {"full.epochs": 100}  # long enough to be killed in


def torchrun(folder: Path, *arguments: str, ranks: int = 2, **variables: str) -> subprocess.Popen:
    path = os.pathsep.join([str(pipeline.ROOT), str(pipeline.ROOT / "src")])
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", *arguments]
    return chain.start(folder, *command, PYTHONPATH=path, **variables)


def run(folder: Path, *scenarios: str, ranks: int = 2) -> Path:
    """The folder, in which all ranks have gone through scenarios of tests/ranks.py."""
    process = torchrun(folder, "-m", "tests.ranks", str(folder), *scenarios, ranks=ranks, IGLO_CHECKPOINT_SECONDS="0")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A folder in which four ranks and then two have gone through scenarios; the last one is the whole pipeline.

    The scenarios share two starts, because a start of several ranks takes many seconds.
    """
    folder = tmp_path_factory.mktemp("ranks")
    chain.write_images(folder / chain.IMAGES)
    chain.write_images(folder / chain.LATER, 60, 80)
    chain.write_params(folder, chain.params(**CHANGES))
    run(folder, "resumed", "begun", ranks=4)
    return run(folder, "taken_up", "same", "draws", "psnr", "stages")


def found(folder: Path, scenario: str) -> dict:
    return json.loads((folder / f"{scenario}.json").read_text())


def test_two_ranks_learn_what_one_learns_from_the_same_batches(together):
    """To rounding, but for batch norm, which sees each rank's share."""
    result = found(together, "same")
    assert result["steps"] == 21 and result["images_seen"] == [189, 189] and result["moved"] > 0.1
    assert max(result[name] for name in ("weights", "codes", "losses")) < 1e-5


def test_ranks_resume_with_the_same_bits(together):
    """Four ranks, because a sum of two numbers has the same bits in any order."""
    result = found(together, "resumed")
    assert result["steps"] == 42 and result["after"] == 42 - 32 and result["same"]


def test_two_ranks_resume_what_four_have_begun(together):
    result = found(together, "taken_up")
    assert result["steps"] == 120 and result["after"] == 120 - 96
    ended, own = result["last"]
    assert own < 0.7 * result["first"] and abs(ended - own) < 0.1 * own


def test_each_rank_draws_its_own_noise_and_batch_norm_is_recalibrated_on_all_codes(together):
    result = found(together, "draws")
    assert result["noises"] == result["drawn"] == 6 * 6
    assert result["settled"] < 1e-6 < result["of_one_rank"]
    assert result["variance"] < 0.02  # without the differences between the ranks' means: 0.8


def test_with_batch_norm_two_ranks_reach_what_one_reaches(together):
    """PSNR in dB over three seeds."""
    result = found(together, "psnr")
    assert abs(np.mean(result["together"]) - np.mean(result["alone"])) < 0.5
    assert min(result["together"]) > 20


def test_the_stages_that_see_images_run_as_ranks(together, tmp_path):
    """And evaluate finds the very numbers that one process finds."""
    assert found(together, "stages")["launched"] == [
        "extract_features", "staged@0", "staged@1", "full", "encoder", "joint", "evaluate",
        "arrival_learn@0", "arrival_encoder@0",
    ]  # fmt: skip
    assert all((folder / "finished").exists() for folder in (together / ".scratch").iterdir())
    shutil.copytree(together, tmp_path, dirs_exist_ok=True)
    for stage in pipeline.stages(params=chain.params()):
        if stage.name in ("extract_features", "evaluate"):
            chain.run(tmp_path, stage)
    for name in ("metrics-all.json", "data/features/features.npy"):
        assert (tmp_path / name).read_bytes() == (together / name).read_bytes()


def test_torchrun_passes_the_options_of_a_stage_on():
    """It refuses an option that could be short for one of its own, even behind the module."""
    launched = [stage for stage in pipeline.stages(params=chain.params(launch="torchrun")) if "torchrun" in stage.cmd]
    assert len(launched) == 9
    for stage in launched:
        arguments = parse_args(["-m", stage.module, *stage.argv])
        assert [arguments.training_script, *arguments.training_script_args] == [stage.module, *stage.argv]


def test_a_run_with_a_killed_rank_ends_with_the_same_files(together, tmp_path):
    shutil.copytree(together, tmp_path, dirs_exist_ok=True)
    for folder in ("models/full", ".scratch"):
        shutil.rmtree(tmp_path / folder)
    (stage,) = (stage for stage in pipeline.stages(params=chain.params()) if stage.name == "full")
    arguments = ["--max-restarts=1", "-m", stage.module, *stage.argv]
    process = torchrun(tmp_path, *arguments, IGLO_CHECKPOINT_SECONDS="0")
    while not list(tmp_path.glob(".scratch/full-*/step-*.rank-1-of-2.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    (rank,) = (child for child in psutil.Process(process.pid).children() if child.environ().get("RANK") == "1")
    os.kill(rank.pid, signal.SIGKILL)
    assert not (tmp_path / "models" / "full").exists()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0 and "exitcode: -9" in errors, errors
    for path in ("models/full", "reports/curves/full/curve.csv"):
        assert chain.contents(tmp_path / path, tmp_path) == chain.contents(together / path, together)


def test_a_checkpoint_of_four_ranks_resumes_on_two_or_one(tmp_path):
    codes, moments = torch.arange(33.0).view(11, 3), torch.arange(11.0).view(11, 1)

    def state(rank: Rank) -> dict:
        block, shared = rank.local_slice(11), torch.tensor([5.0])
        optimizer = {"state": {0: {"step": torch.tensor(3.0), "mean": moments[block]}}}
        return {"model": {"codes": codes[block], "weights": shared}, "RowAdam-1": optimizer}

    places = ["model/codes", "RowAdam-1/state/0"]
    for rank in reversed(Rank.of(4)):  # the first, which removes old ones, comes last here
        CheckpointFolder(tmp_path).save(16, state(rank), rank, places)
    for ranks in (4, 2, 3):
        for rank in Rank.of(ranks):
            assert same_bits(CheckpointFolder(tmp_path).load(rank), state(rank))
    assert same_bits(CheckpointFolder(tmp_path).load(), state(Rank.of(1)[0]))
    CheckpointFolder(tmp_path).save(32, {"later": 1}, Rank.of(2)[1])  # and the other one dies
    assert same_bits(CheckpointFolder(tmp_path).load(Rank.of(2)[0]), state(Rank.of(2)[0]))


def shares(ids: np.ndarray, size: int, ranks: int, steps: int, reshuffle: bool = True) -> list[list[np.ndarray]]:
    """Each rank's ids in every step."""
    found = []
    for rank in Rank.of(ranks):
        targets, sampler = Targets(IMAGES, ids, None, rank), IdSampler(ids, size)
        batches = Batches(targets, {"current": sampler}, 0, "tiny", reshuffle).between(0, steps)
        shares_of_rank = [batch["current"] for batch in batches]
        assert all(share.size == size for share in shares_of_rank)
        found.append([share.ids.numpy() for share in shares_of_rank])
    return found


def test_each_rank_sees_its_own_images_equally_often():
    ids = np.setdiff1d(np.arange(20), [1, 2, 3])
    for own, rank, size in zip(shares(ids, 7, 3, 40), Rank.of(3), (2, 2, 3), strict=True):
        times = Counter(np.concatenate(own).tolist())
        assert {len(each) for each in own} == {size}
        assert sorted(times) == rank.local_ids(ids, 20).tolist()
        assert max(times.values()) - min(times.values()) <= 1


def test_every_image_is_seen_without_reshuffling():
    own, _ = shares(np.arange(20), 3, 2, 20, reshuffle=False)  # one a step, of ten
    order = np.concatenate(own).tolist()
    assert sorted(order[:10]) == list(range(10)) and order[10:] == order[:10]


@pytest.mark.parametrize(("ids", "size"), [(np.arange(8), 4), (np.arange(20), 1)])
def test_a_rank_without_images_is_refused(ids, size):
    with pytest.raises(UserError, match=r"^launch: each of the 2 ranks needs .* batch of tiny; use fewer ranks"):
        for rank in Rank.of(2):
            Batches(Targets(IMAGES, ids, None, rank), {"current": IdSampler(ids, size)}, 0, "tiny")


def test_a_stage_for_one_process_refuses_several_ranks(together, monkeypatch, capsys):
    (stage,) = (stage for stage in pipeline.stages(params=chain.params()) if stage.name == "initialise")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match="1"):
        chain.run(together, stage)
    assert capsys.readouterr().err == ("error: launch: this stage is for one process, got 2; start it with python.\n")


def test_one_rank_exchanges_nothing():
    """Without torchrun nothing is exchanged, and nothing is cut."""
    values = torch.arange(3.0)
    assert RUNTIME.all_reduce(values) is values and RUNTIME.is_main and RUNTIME.local_slice(7) == slice(0, 7)
    assert RUNTIME.with_summed_gradients(len, []) is len and sys.modules["torch.distributed"].is_initialized() is False
