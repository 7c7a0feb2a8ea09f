"""The ranks, which are the processes of one training: their shares of the images, and what they exchange.

torchrun starts several ranks. Without it there is one rank; its share is everything, and it exchanges nothing.
"""

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from iglo import environment
from iglo.errors import UserError

MAX_DIMENSIONS = 8  # of a tensor that ranks exchange


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The place of this process among the ranks.

    Each rank has a slice of the training images and of their codes. The networks, the log and the callbacks are the
    same on all ranks. Methods that exchange values must be called by all ranks, in the same order.
    """

    rank: int = 0
    ranks: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the first rank, which writes and shows what is the same on all ranks."""
        return self.rank == 0

    def local_slice(self, count: int) -> slice:
        """Returns this rank's part of `count` things in order. The parts differ in length by at most one."""
        return slice(count * self.rank // self.ranks, count * (self.rank + 1) // self.ranks)

    def local_ids(self, ids: np.ndarray, count: int) -> np.ndarray:
        """Returns those of `ids` that are in this rank's slice of `count` images."""
        local = self.local_slice(count)
        return ids if self.ranks == 1 else ids[(ids >= local.start) & (ids < local.stop)]

    def barrier(self) -> None:
        """Waits until all ranks have called this."""
        if self.ranks > 1:
            distributed.barrier()

    def all_reduce(self, values: Tensor) -> Tensor:
        """Computes the sum over all ranks, in place."""
        if self.ranks > 1:
            distributed.all_reduce(values)
        return values

    def all(self, holds: bool) -> bool:
        """Returns whether `holds` is true on every rank."""
        return int(self.all_reduce(torch.tensor(int(holds)))) == self.ranks

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Copies the first rank's values into the tensors of every rank. All tensors have one type."""
        if self.ranks > 1 and tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            distributed.broadcast(flat, 0)
            for tensor, values in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(values.view_as(tensor))

    def broadcast_int(self, number: int) -> int:
        """Returns the first rank's number."""
        sent = torch.tensor(number)
        self.broadcast([sent])
        return int(sent)

    def map_batches(self, function: Callable[[Any], Tensor], batches: Sequence[Any]) -> Tensor:
        """Returns `function(batch)` of all batches, one after the other: (B, …) float32 on the CPU.

        Each rank computes its part of the batches, and every rank gets all results.
        """
        if self.ranks == 1:
            return torch.cat([function(batch) for batch in batches])
        pieces = [function(batch) for batch in batches[self.local_slice(len(batches))]]
        own = torch.cat(pieces) if pieces else torch.zeros(0, dtype=torch.float32)
        shapes = torch.zeros(self.ranks, MAX_DIMENSIONS, dtype=torch.int64)
        shapes[self.rank, : own.dim()] = torch.tensor(own.shape)
        self.all_reduce(shapes)
        inner = [size for size in shapes.amax(0)[1:].tolist() if size]
        parts = [
            own if rank == self.rank else torch.empty(rows, *inner, dtype=torch.float32)
            for rank, rows in enumerate(shapes[:, 0].tolist())
        ]
        for rank, part in enumerate(parts):
            if part.numel():
                distributed.broadcast(part, rank)
        return torch.cat([part for part in parts if part.numel()])

    def with_summed_gradients(self, function: Callable, weights: Sequence[nn.Parameter]) -> Callable:
        """Returns `function` so that its gradients for `weights` are the sums over all ranks.

        The first value that `function` returns is a loss.
        """
        if self.ranks == 1:
            return function
        # With find_unused_parameters the buckets keep their order. Otherwise they are sorted after the first step, and
        # a resumed run would add in another order.
        parallel = DistributedDataParallel(_FunctionModule(function, weights), find_unused_parameters=True)
        parallel.register_comm_hook(None, _sum)
        return parallel


class _FunctionModule(nn.Module):
    """A function as a module that has the weights whose gradients are exchanged."""

    def __init__(self, function: Callable, weights: Sequence[nn.Parameter]):
        super().__init__()
        self.function, self.weights = function, nn.ParameterList(weights)

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def _sum(_: None, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
    """Sums gradients; DistributedDataParallel would take the mean. Each rank's loss is its share of one loss."""
    work = distributed.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


def join(device: torch.device, rank: int, ranks: int) -> torch.device:
    """Joins the other ranks, and returns the device of this rank: each rank of a machine has a GPU of its own.

    Raises:
        UserError: torchrun has not started this process, or two ranks have the same GPU.
    """
    environment.check_launched()
    if device.type == "cuda":  # no test reaches this: it takes two GPUs
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        store = _store()
        if device.type == "cuda":
            refuse_shared_gpus(str(torch.cuda.get_device_properties(device).uuid), store, rank, ranks)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=ranks)
        atexit.register(distributed.destroy_process_group)
    return device


def refuse_shared_gpus(gpu: str, store: distributed.Store, rank: int, ranks: int) -> None:
    """Raises UserError if two ranks have the same GPU; NCCL would raise a long traceback.

    Args:
        gpu: an identifier that no other GPU has, on any machine.
        store: the store through which the ranks exchange it.
    """
    store.set(f"gpu of rank {rank}", gpu)
    different = len({store.get(f"gpu of rank {each}") for each in range(ranks)})
    if different < ranks:
        raise UserError(
            f"launch: every rank needs a GPU of its own, got {ranks} ranks for {different} GPU{'s' * (different > 1)}; "
            "start fewer ranks, or set IGLO_DEVICE=cpu."
        )


def _store() -> distributed.Store:
    """Returns the store in which ranks find each other's addresses.

    torchrun keeps one store over restarts. In it, a rank may find the address of a dead rank (pytorch issue 135712), so
    every restart gets keys of its own. On one machine all ranks know the same number of restarts. On several machines
    they do not, and the user must set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun.
    """
    store, _, _ = next(distributed.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") != "1":
        return store
    return distributed.PrefixStore(f"start {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
