"""What moves the weights and the codes: one optimizer for each, by the name of the recipe.

An optimizer of codes projects what it has moved by the geometry of its table.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from iglo.models.codes import CodeTable


class RowOptimizer(torch.optim.Optimizer):
    """Moves the rows of a table that the batch has touched, then projects them by their table's geometry."""

    def __init__(self, tables: Sequence[CodeTable], defaults: dict):
        super().__init__([{"params": [table.weight]} for table in tables], defaults)
        self.geometries = [table.geometry for table in tables]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group, geometry in zip(self.param_groups, self.geometries, strict=True):
            (codes,) = group["params"]
            if codes.grad is not None:
                rows, gradient = _row_sums(codes.grad)
                codes[rows] = geometry.project(codes[rows] - self._move(codes, rows, gradient, group))

    def _move(self, codes: Tensor, rows: Tensor, gradient: Tensor, group: dict) -> Tensor:
        """What to subtract from codes[rows], whose gradient is `gradient`: (R, d). A row may come again, with the same
        gradient."""
        raise NotImplementedError


def _row_sums(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """A sparse gradient as the rows that it names, (R,), and the whole gradient of each, (R, d): where a row is named
    twice, both have the sum. To name each row once, as `coalesce` does, one must wait for the GPU to count them.
    """
    rows, values = gradient._indices()[0], gradient._values()
    slots = torch.searchsorted(rows.sort().values, rows)  # the same one for the same row
    return rows, torch.zeros_like(values).index_add_(0, slots, values)[slots]


class RowAdam(RowOptimizer):
    """Adam (Kingma & Ba 2015) on the rows of a table that the batch has touched, each row with its own step count.

    A dense Adam moves rows whose image is not in the batch, along stale momenta; torch's SparseAdam does not, but
    corrects the bias by a step count common to all rows, which makes a row's late first step about three times too
    long.
    """

    def __init__(
        self, tables: Sequence[CodeTable], lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ):
        super().__init__(tables, {"lr": lr, "betas": betas, "eps": eps})

    def _move(self, codes: Tensor, rows: Tensor, gradient: Tensor, group: dict) -> Tensor:
        state, dimension = self.state[codes], codes.shape[1]
        if not state:
            # Of each row: its steps, and the means of its gradient and of its square.
            state["moments"] = codes.new_zeros(len(codes), 1 + 2 * dimension)
        beta1, beta2 = group["betas"]
        moments = state["moments"][rows]
        steps, mean, square = moments.split([1, dimension, dimension], dim=1)
        steps += 1
        mean.lerp_(gradient, 1 - beta1)
        square.lerp_(gradient.square(), 1 - beta2)
        state["moments"][rows] = moments
        scale = (square / (1 - beta2**steps)).sqrt_().add_(group["eps"])
        return group["lr"] * (mean / (1 - beta1**steps)) / scale


class DenseAdam(torch.optim.Adam):
    """Adam that takes a zero gradient for the rows that the batch has not touched, and so moves them too.

    This is what the paper's published code does; it is here to be compared.
    """

    def __init__(self, tables: Sequence[CodeTable], lr: float):
        super().__init__([table.weight for table in tables], lr)
        self.tables = list(tables)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for table in self.tables:
            if table.weight.grad is not None:
                table.weight.grad = table.weight.grad.to_dense()
        super().step()
        for table in self.tables:
            table.weight.copy_(table.geometry.project(table.weight))


class RowSGD(RowOptimizer):
    """Plain gradient descent on the rows that the batch has touched (as minimal GLO does)."""

    def __init__(self, tables: Sequence[CodeTable], lr: float):
        super().__init__(tables, {"lr": lr})

    def _move(self, codes: Tensor, rows: Tensor, gradient: Tensor, group: dict) -> Tensor:
        return group["lr"] * gradient


CODE_OPTIMIZERS = {"adam": RowAdam, "dense_adam": DenseAdam, "sgd": RowSGD}


def network_optimizer(name: str, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """The optimizer of a network's weights; Adam with DCGAN's first moment of 0.5 (Radford et al. 2016)."""
    if name == "sgd":
        return torch.optim.SGD(network.parameters(), rate)
    return torch.optim.Adam(network.parameters(), rate, betas=(0.5, 0.999), fused=True)


def code_optimizer(name: str, tables: Sequence[CodeTable], rate: float) -> torch.optim.Optimizer:
    """The optimizer of codes that `name` calls for."""
    return CODE_OPTIMIZERS[name](tables, rate)
