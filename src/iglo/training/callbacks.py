"""Callbacks of the training loop: the moving average of the weights, the snapshots and the best epoch."""

import copy
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from iglo.models.snapshots import Snapshots
from iglo.runtime.device import Runtime


class Callback(Protocol):
    """What the loop calls after every step and every epoch. Checkpoints hold its state."""

    def after_step(self, model: nn.Module) -> None: ...

    def after_epoch(self, model: nn.Module, epoch: int) -> None: ...

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


MakeCallback = Callable[[nn.Module, int], Callback]  # (generator that renders, images seen in an epoch) →


class EMA:
    """Exponential moving average (EMA) of the weights of a network. Batch-norm statistics are copied from the network.

    After n steps the decay is at most (1 + n) / (10 + n), so that the average soon forgets the starting weights.
    (torch's AveragedModel counts its steps on the GPU and would therefore wait for the GPU at every step.)

    Attributes:
        network: the network with averaged weights.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.network, self.decay, self.steps = copy.deepcopy(network), decay, 0
        self.weights = list(self.network.parameters()), list(network.parameters())
        self.statistics = list(self.network.buffers()), list(network.buffers())

    @torch.no_grad()
    def after_step(self, model: nn.Module) -> None:
        kept = min(self.decay, (1 + self.steps) / (10 + self.steps)) if self.steps else 0.0
        torch._foreach_lerp_(*self.weights, 1 - kept)  # one kernel for all weights
        if self.statistics[0]:  # a network without batch norm has none
            torch._foreach_copy_(*self.statistics)
        self.steps += 1

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        pass

    def state_dict(self) -> dict:
        return {"steps": self.steps, "network": self.network.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        self.network.load_state_dict(state["network"])


class SnapshotCallback:
    """Takes snapshots after the epochs 1, 2, 5, 10, 20, 50, ….

    Args:
        snapshots: has the ids of the images, and receives the renders.
        generator: the network that renders: the EMA, if there is one.
        stage: name of the stage of training.
        count: number of training images.
    """

    def __init__(self, snapshots: Snapshots, generator: nn.Module, stage: str, runtime: Runtime, count: int):
        self.snapshots, self.generator, self.stage = snapshots, generator, stage
        self.runtime, self.count = runtime, count

    def after_step(self, model: nn.Module) -> None:
        pass

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        if epoch in (1, 2, 5) or (epoch >= 10 and int(str(epoch).rstrip("0")) in (1, 2, 5)):
            self.take(model, epoch)

    @torch.no_grad()
    def take(self, model: nn.Module, epoch: int) -> None:
        """Renders the images of the snapshots. Each rank renders its own images."""
        self.generator.eval()
        ids = self.runtime.local_ids(self.snapshots.ids.numpy(), self.count)
        images = self.generator(model.codes(torch.from_numpy(ids).to(self.runtime.device)))
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
    """Keeps the weights of the epoch with the lowest score.

    Args:
        network: the network whose weights are kept.
        score: computes the score of the epoch; lower is better. The model is then in evaluation mode.
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
