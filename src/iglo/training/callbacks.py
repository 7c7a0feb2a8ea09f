"""What watches a run of `fit`: the generator's moving average, previews of the same images, the best epoch."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from iglo.models.snapshots import Snapshots
from iglo.runtime.device import Runtime


class EMA:
    """Exponential moving average of a network's weights; its batch-norm statistics follow the network's own.

    The average starts short, with a decay of (1 + n) / (10 + n) after n steps, so that it does not remember the start.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.averaged, self.decay, self.steps = copy.deepcopy(network), decay, 0
        self.weights = list(self.averaged.parameters()), list(network.parameters())
        self.statistics = list(self.averaged.buffers()), list(network.buffers())

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps)) if self.steps else 0.0
        torch._foreach_lerp_(*self.weights, 1 - kept)  # all at once: a GPU starts one kernel instead of dozens
        torch._foreach_copy_(*self.statistics)
        self.steps += 1

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        pass

    def state_dict(self) -> dict:
        return {"steps": self.steps, "averaged": self.averaged.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        self.averaged.load_state_dict(state["averaged"])


class SnapshotCallback:
    """Reconstructions of the same training images at epochs 1, 2, 5, 10, 20, 50, … and at the end of every stage.

    Args:
        snapshots: receives them; it travels with the model from stage to stage.
        generator: the network to look through, the average where there is one.
        count: of all training images.
    """

    def __init__(self, snapshots: Snapshots, generator: nn.Module, stage: str, runtime: Runtime, count: int):
        self.snapshots, self.generator, self.stage, self.runtime, self.count = (
            snapshots,
            generator,
            stage,
            runtime,
            count,
        )

    def after_step(self, model: nn.Module) -> None:
        pass

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        if epoch in (1, 2, 5) or (epoch >= 10 and int(str(epoch).rstrip("0")) in (1, 2, 5)):
            self.take(model, epoch)

    @torch.no_grad()
    def take(self, model: nn.Module, epoch: int) -> None:
        self.generator.eval()
        ids = self.runtime.local_ids(self.snapshots.ids.numpy(), self.count)
        images = self.generator(model.table(torch.from_numpy(ids).to(self.runtime.device)))
        self.generator.train()
        own = (images * 255).round().byte().permute(0, 2, 3, 1).cpu()
        frame = own.new_zeros(len(self.snapshots.ids), *own.shape[1:])
        frame[np.isin(self.snapshots.ids, ids)] = own
        self.snapshots.add(self.stage, epoch, self.runtime.all_reduce(frame))

    def state_dict(self) -> dict:
        return self.snapshots.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.snapshots.load_state_dict(state)


class Best:
    """Keeps a network as it was at the epoch with the lowest score.

    Args:
        score: of the model, lower is better; called after every epoch, with the model in evaluation mode.
    """

    def __init__(self, network: nn.Module, score: Callable[[], float]):
        self.network, self.score = network, score
        self.scores: list[float] = []
        self.weights: dict[str, Tensor] = {}

    def after_step(self, model: nn.Module) -> None:
        pass

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        model.eval()
        score = self.score()
        model.train()
        if score < min(self.scores, default=float("inf")):
            self.weights = {key: value.clone() for key, value in self.network.state_dict().items()}
        self.scores.append(score)

    def restore(self) -> None:
        """Puts the best weights back into the network."""
        self.network.load_state_dict(self.weights)

    def state_dict(self) -> dict:
        return {"scores": self.scores, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        self.scores, self.weights = state["scores"], state["weights"]
