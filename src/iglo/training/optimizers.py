"""The optimizers of networks and of codes. After a step, an optimizer of codes projects them by their geometry."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from iglo.models.codes import CodeTable
from iglo.runtime.eager import SGD, Adam, EagerOptimizer


class RowOptimizer(EagerOptimizer):
    """Base of optimizers that move only the rows of the batch, and then project these rows."""

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
        """Computes what to subtract from codes[rows], (R, d).

        Args:
            rows: (R,) int64. A row may occur twice, then with the same gradient.
            gradient: (R, d) the gradient of codes[rows].
            group: the options of the optimizer, such as `lr`.
        """
        raise NotImplementedError


def _row_sums(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Reads a sparse gradient: its rows (R,), and the gradient of each row, (R, d).

    If a row occurs twice, both entries have the sum. (`coalesce` returns each row once, but it waits for the GPU.)
    """
    rows, values = gradient._indices()[0], gradient._values()
    slots = torch.searchsorted(rows.sort().values, rows)  # equal rows have the same slot
    return rows, torch.zeros_like(values).index_add_(0, slots, values)[slots]


class RowAdam(RowOptimizer):
    """Adam (Kingma & Ba 2015) on the rows of the batch. Each row has its own step count.

    A dense Adam would also move the rows outside the batch, along old momenta. torch's SparseAdam does not move them,
    but it corrects the bias with one step count for all rows. The first step of a row that first occurs late in the
    training would then be about three times too long.
    """

    def __init__(
        self, tables: Sequence[CodeTable], lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ):
        super().__init__(tables, {"lr": lr, "betas": betas, "eps": eps})

    def _move(self, codes: Tensor, rows: Tensor, gradient: Tensor, group: dict) -> Tensor:
        state, dimension = self.state[codes], codes.shape[1]
        if not state:
            # For each row: its number of steps, and the means of its gradient and of the square of its gradient.
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


class DenseAdam(Adam):
    """Adam on all rows: rows outside the batch have a zero gradient and still move along their momenta.

    The published code of the paper does this. It is here for the comparison.
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
    """Plain gradient descent on the rows of the batch, as in minimal GLO."""

    def __init__(self, tables: Sequence[CodeTable], lr: float):
        super().__init__(tables, {"lr": lr})

    def _move(self, codes: Tensor, rows: Tensor, gradient: Tensor, group: dict) -> Tensor:
        return group["lr"] * gradient


CODE_OPTIMIZERS = {"adam": RowAdam, "dense_adam": DenseAdam, "sgd": RowSGD}


def network_optimizer(name: str, network: nn.Module, rate: float) -> Optimizer:
    """Makes the optimizer of a network: SGD, or Adam with β₁ = 0.5 as in DCGAN (Radford et al. 2016)."""
    if name == "sgd":
        return SGD(network.parameters(), rate)
    return Adam(network.parameters(), rate, betas=(0.5, 0.999), fused=True)


def code_optimizer(name: str, tables: Sequence[CodeTable], rate: float) -> Optimizer:
    """Makes the optimizer of codes: adam, dense_adam or sgd."""
    return CODE_OPTIMIZERS[name](tables, rate)
