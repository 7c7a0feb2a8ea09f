"""Scenarios of several ranks, for tests/training/test_ranks.py: `torchrun … -m tests.ranks FOLDER SCENARIO…`.

Every rank runs a scenario; the main rank writes the result.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from iglo.evaluation.measure import quality
from iglo.files.io import whole_folder
from iglo.losses.distances import L2
from iglo.losses.terms import Batch, Continuity, Objective, Preservation, Reconstruction, SubBatch
from iglo.models.codes import Codes, CodeTable, Shard
from iglo.models.config import GLOConfig
from iglo.models.geometry import Sphere
from iglo.models.glo import GLOModel, recalibrate_bn, render
from iglo.models.networks import initialise
from iglo.runtime.device import Runtime, start
from iglo.training.batches import Batches, IdSampler, Targets
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.glo_stages import learn_all, start_model
from iglo.training.loop import LRSchedule, RunState, fit
from iglo.training.optimizers import RowAdam, network_optimizer
from iglo.training.trainer import Trainer
from tests import chain, pipeline
from tests.tiny import generator, same_bits, tiny_images, tiny_params

IMAGES = tiny_images(20)
CONFIG = GLOConfig(6, 16, 1, 4, "sphere", 2.0)
EARLIER = np.array([1, 5, 12, 18])
CURRENT = np.setdiff1d(np.arange(20), EARLIER)
UNEVEN = {"current": (CURRENT, 6), "earlier": (EARLIER, 3)}  # as two ranks share it
FOR_FOUR = {"current": (CURRENT, 8), "earlier": (EARLIER, 4)}


class Rank(Runtime):
    """One of several ranks that do not exist: nothing is exchanged."""

    def barrier(self) -> None:
        pass

    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def all(self, holds: bool) -> bool:
        return holds

    @classmethod
    def of(cls, ranks: int) -> list["Rank"]:
        return [cls(torch.device("cpu"), "fp32", rank=rank, ranks=ranks) for rank in range(ranks)]


class Together:
    """The batches of several ranks joined, for a single process."""

    def __init__(self, shares: list[Batches], runtime: Runtime):
        self.shares, self.name, self.steps, self.runtime = shares, shares[0].name, shares[0].steps, runtime

    def noise(self, step: int) -> torch.Generator:
        return self.shares[0].noise(step)

    def between(self, first: int, last: int) -> Iterator[Batch]:
        for batches in zip(*(share.between(first, last) for share in self.shares), strict=True):
            yield {source: self._joined([batch[source] for batch in batches]) for source in batches[0]}

    def _joined(self, shares: list[SubBatch]) -> SubBatch:
        targets = [torch.cat(level) for level in zip(*(share.target for share in shares), strict=True)]
        return SubBatch(torch.cat([each.ids for each in shares]), torch.cat([each.images for each in shares]), targets)


def batches_of(runtime: Runtime, sources: dict = UNEVEN) -> Batches:
    samplers = {name: IdSampler(*source) for name, source in sources.items()}
    return Batches(Targets(IMAGES, np.arange(20), L2(), runtime), samplers, 0, "tiny")


def shard_of(codes: torch.Tensor, geometry: Sphere, runtime: Runtime) -> Codes:
    """This rank's rows of the codes of all images."""
    block = runtime.local_slice(len(codes))
    return Codes(image=CodeTable(codes[block].clone(), geometry, shard=Shard(block.start, len(codes))))


def model_of(runtime: Runtime, normalised: bool) -> GLOModel:
    """The same start for every number of ranks."""
    network = runtime.to_device(initialise(CONFIG.generator(), generator()))
    if not normalised:
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, nn.Identity())
    codes = Sphere(2.0).sample(20, 6, generator(1))
    return GLOModel(CONFIG, network, shard_of(codes, Sphere(2.0), runtime))


class Counter:
    """Counts the steps of a run, and may break it off after some."""

    def __init__(self, last: int | None = None):
        self.steps, self.last = 0, last

    def after_step(self, model: nn.Module) -> None:
        self.steps += 1
        if self.steps == self.last:
            raise KeyboardInterrupt

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        pass

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


def learned(
    batches: Batches | Together, epochs: int, normalised: bool = False, **options: Any
) -> tuple[GLOModel, RunState]:
    model = model_of(batches.runtime, normalised)
    objective = Objective([(1.0, Reconstruction()), (0.5, Preservation())], L2())
    optimizers = [network_optimizer("adam", model.generator, 1e-3), RowAdam(list(model.codes.tables.values()), 0.05)]
    return model, fit(model, objective, batches, optimizers, LRSchedule(epochs, "cosine"), **options)


def same(folder: Path, runtime: Runtime) -> dict:
    """All ranks beside one process that takes the same images in every step: largest differences after 21 steps."""
    model, state = learned(batches_of(runtime), 7)
    with whole_folder(folder / "model", runtime) as out:
        model.save(out, runtime.is_main)
    runtime.barrier()
    joined = Together([batches_of(rank) for rank in Rank.of(runtime.ranks)], runtime.single_process)
    alone, expected = learned(joined, 7)
    weights = zip(*(each.generator.parameters() for each in (model, alone)), strict=True)
    start = model_of(runtime.single_process, False)
    codes = torch.from_numpy(np.load(folder / "model" / "image_codes.npy", allow_pickle=False))
    values = [[row[name] for name in ("reconstruction", "preservation")] for row in state.rows]
    others = [[row[name] for name in ("reconstruction", "preservation")] for row in expected.rows]
    return {
        "steps": state.step,
        "images_seen": [state.images_seen, expected.images_seen],
        "weights": max(float((a - b).detach().abs().max()) for a, b in weights),
        "codes": float((codes - alone.codes.values).abs().max()),
        "moved": float((codes - start.codes.values).abs().max()),
        "losses": float(np.abs(np.subtract(values, others)).max()),
    }


def resumed(folder: Path, runtime: Runtime) -> dict:
    """A run that every rank breaks off at step 40 and takes up again, beside one that goes through."""
    checkpoints = CheckpointFolder(folder / "checkpoints")
    batches = [batches_of(runtime, FOR_FOUR) for _ in range(3)]
    whole, state = learned(batches[0], 21, normalised=True)
    with suppress(KeyboardInterrupt):
        learned(batches[1], 21, True, callbacks=[Counter(40)], checkpoints=checkpoints)
    counter = Counter()
    model, _ = learned(batches[2], 21, True, callbacks=[counter], checkpoints=checkpoints)
    same = runtime.all(same_bits(model.state_dict(), whole.state_dict()))
    return {"steps": state.step, "after": counter.steps, "same": same}


def begun(folder: Path, runtime: Runtime) -> None:
    """A run that is broken off at step 100, and left to `taken_up`."""
    checkpoints = CheckpointFolder(folder / "begun")
    with suppress(KeyboardInterrupt):
        learned(batches_of(runtime, FOR_FOUR), 60, True, callbacks=[Counter(100)], checkpoints=checkpoints)


def taken_up(folder: Path, runtime: Runtime) -> dict:
    """What another number of ranks makes of it, beside a run of their own: the loss of the last epoch."""
    counter, checkpoints = Counter(), CheckpointFolder(folder / "begun")
    batches = [batches_of(runtime, FOR_FOUR) for _ in range(2)]
    _, state = learned(batches[0], 60, True, callbacks=[counter], checkpoints=checkpoints)
    _, own = learned(batches[1], 60, True)
    first, last = own.rows[0]["reconstruction"], [each.rows[-1]["reconstruction"] for each in (state, own)]
    return {"steps": state.step, "after": counter.steps, "first": first, "last": last}


def draws(_: Path, runtime: Runtime) -> dict:
    """What the ranks draw, and what batch norm settles on, beside one process with all codes."""
    model = model_of(runtime, normalised=True)
    batch = next(iter(batches_of(runtime).between(0, 1)))
    noise = Continuity(1.0).codes(model, batch, batches_of(runtime).noise(0)) - model.codes(batch["current"].ids)
    drawn = runtime.map_batches(lambda _: noise.detach(), range(runtime.ranks))
    recalibrate_bn(model.generator, model.codes.values, runtime)
    whole = model_of(runtime.single_process, normalised=True)
    recalibrate_bn(whole.generator, whole.codes.values)
    part = model_of(runtime.single_process, normalised=True)
    recalibrate_bn(part.generator, model.codes.values)
    means = [each.generator.body[1].running_mean for each in (model, whole, part)]
    apart = torch.randn(40, 6, 2, 2, generator=generator())  # images sorted by class: the ranks' means lie apart
    apart[:20] += 5
    norm = nn.BatchNorm2d(6)
    recalibrate_bn(norm, apart[runtime.local_slice(40)], runtime)
    return {
        "variance": float((norm.running_var / apart.transpose(0, 1).flatten(1).var(1) - 1).abs().max()),
        "noises": len(torch.unique(drawn.round(decimals=4))),
        "drawn": drawn.numel(),
        "settled": float((means[0] - means[1]).abs().max()),
        "of_one_rank": float((means[2] - means[1]).abs().max()),
    }


def psnr(_: Path, runtime: Runtime) -> dict:
    """With batch norm, for three seeds: what all ranks reach, and what the first one reaches by itself."""
    runtimes = {"together": runtime} | ({"alone": runtime.single_process} if runtime.is_main else {})
    found: dict[str, list[float]] = {"together": [], "alone": []}
    images = tiny_images(48)
    for seed in range(3):
        params = tiny_params(method="glo", seed=seed, generator__width=8, full__batch_size=12)
        for name, each in runtimes.items():
            model, history = start_model(images, params, runtime.single_process)
            block = each.local_slice(len(images))
            model.codes = shard_of(model.codes.values, model.config.geometry(), each)
            trainer = Trainer(model, images, history, params, each)
            trainer.distance = L2()
            learn_all(trainer, budget=48 * 60)
            own = render(model.generator, model.codes.values, each.single_process)
            feature_network = SimpleNamespace(distance_name="none", distance=lambda a, b: np.zeros(1))
            value = quality(own, images[block] / np.float32(255), feature_network)["psnr"]
            found[name].append(float(each.all_reduce(torch.tensor(value))) / each.ranks)
    return found


def stages(folder: Path, runtime: Runtime) -> dict:
    """The whole pipeline; what dvc.yaml does not launch is run by the first rank."""
    launched = []
    for stage in pipeline.stages(params=chain.params(launch="torchrun")):
        if stage.cmd.startswith("torchrun "):
            launched.append(stage.name)
            chain.run(folder, stage)
        elif runtime.is_main:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("WORLD_SIZE", "1")
                chain.run(folder, stage)
        runtime.barrier()
    return {"launched": launched}


if __name__ == "__main__":
    scenarios = {each.__name__: each for each in (same, resumed, begun, taken_up, draws, psnr, stages)}
    place, this = Path(sys.argv[1]), start("fp32", distributed=True)
    for scenario in sys.argv[2:]:
        with chain.few_rounds():
            result = scenarios[scenario](place, this)
        if this.is_main:
            (place / f"{scenario}.json").write_text(json.dumps(result))
        this.barrier()
