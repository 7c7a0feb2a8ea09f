"""Optimizers of codes against torch's own on a dense matrix: whose rows move, by how much, and where they end."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from iglo.models.codes import Codes, CodeTable
from iglo.models.geometry import Ball, Euclidean, Sphere
from iglo.runtime.eager import SGD, Adam
from iglo.training.optimizers import CODE_OPTIMIZERS, DenseAdam, RowAdam, RowSGD, code_optimizer, network_optimizer
from tests.tiny import generator, same_bits

FREE = Euclidean(1.0)
KINDS = list(CODE_OPTIMIZERS.values())
NOW_AND_THEN = [[1, 3], [3, 4], [1], [4, 4, 1], [0], [3, 3]]  # the rows of every batch; 2 and 5 never come


def table(count=6, dimension=4, geometry=FREE) -> CodeTable:
    return CodeTable(geometry.sample(count, dimension, generator()), geometry)


def train(codes: CodeTable, batches: list[list[int]], kind=RowAdam, rate=0.1, optimizer=None, first=0):
    """Steps along random gradients, those of a code's row at a step being the same in every run."""
    optimizer = optimizer or kind([codes], rate)
    for step, ids in enumerate(batches, first):
        (codes(torch.tensor(ids)) * slopes(step, codes)[ids]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def slopes(step: int, codes: CodeTable) -> torch.Tensor:
    return torch.randn(codes.weight.shape, generator=generator(step)) * (1 + step)


def gradients(codes: CodeTable, batches: list[list[int]]) -> list[torch.Tensor]:
    """The dense gradient of every step of `train`: a row counts as often as its image is in the batch."""
    counts = [torch.tensor([ids.count(row) for row in range(len(codes.weight))])[:, None] for ids in batches]
    return [slopes(step, codes) * count for step, count in enumerate(counts)]


def dense(kind, start: torch.Tensor, gradients: list[torch.Tensor], rate=0.1, geometry=FREE) -> torch.Tensor:
    """A dense matrix that torch's own optimizer moves, projected after every step."""
    codes = nn.Parameter(start.detach().clone())
    optimizer = kind([codes], rate)
    for gradient in gradients:
        codes.grad = gradient.clone()
        optimizer.step()
        codes.data = geometry.project(codes.data)
    return codes.detach()


# --- All of them ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("geometry", [FREE, Ball(0.5), Sphere(2.0)])
def test_only_rows_that_were_in_a_batch_move(kind, geometry):
    codes = table(geometry=geometry)
    before = codes.weight.detach().clone()
    train(codes, NOW_AND_THEN, kind, 0.01)
    moved = (codes.weight.detach() - before).abs().amax(1)
    assert (moved[[0, 1, 3, 4]] > 1e-3).all()
    if kind is DenseAdam:  # which projects all rows, and so may change last bits
        assert (moved[[2, 5]] < 1e-6).all()
    else:
        assert not moved[[2, 5]].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("geometry", "length"), [(Sphere(2.0), 2.0), (Ball(0.5), 0.5)])
def test_rows_are_projected_after_their_step(kind, geometry, length):
    codes = table(geometry=geometry)
    train(codes, [[0, 1]] * 5, kind, rate=1.0)
    lengths = codes.weight[:2].norm(dim=1)
    assert (lengths <= length * (1 + 1e-6)).all()
    if isinstance(geometry, Sphere):
        torch.testing.assert_close(lengths, torch.full((2,), length), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_optimizer_gives_the_same_bits(kind):
    whole, broken = table(geometry=Sphere(2.0)), table(geometry=Sphere(2.0))
    train(whole, NOW_AND_THEN, kind)
    file = io.BytesIO()
    torch.save(train(broken, NOW_AND_THEN[:3], kind).state_dict(), file)
    file.seek(0)
    resumed = kind([broken], 0.1)
    resumed.load_state_dict(torch.load(file))
    train(broken, NOW_AND_THEN[3:], optimizer=resumed, first=3)
    assert same_bits(broken.weight.detach(), whole.weight.detach())
    if kind is not RowSGD:  # the state matters
        fresh = table(geometry=Sphere(2.0))
        train(fresh, NOW_AND_THEN[:3], kind)
        train(fresh, NOW_AND_THEN[3:], kind, first=3)
        assert not torch.equal(fresh.weight, whole.weight)


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_moves_in_its_own_geometry(kind):
    labels = torch.tensor([0, 1, 1, 0, 2])
    image, label = table(5, 3, Sphere(2.0)), CodeTable(FREE.sample(3, 2, generator()), FREE, labels)
    codes = Codes(image=image, label=label)
    before = codes(torch.arange(5)).detach()
    optimizer = kind([image, label], 0.1)
    (codes(torch.tensor([1])) * torch.arange(1.0, 6)).sum().backward()
    optimizer.step()
    after = codes(torch.arange(5)).detach()
    moved = (after - before).abs() > 1e-6
    assert moved[:, :3].any(1).tolist() == [False, True, False, False, False]
    assert moved[:, 3:].any(1).tolist() == [False, True, True, False, False]
    torch.testing.assert_close(after[:, :3].norm(dim=1), torch.full((5,), 2.0), rtol=1e-5, atol=0)


# --- Adam on the batch's rows ---


def test_if_every_row_is_in_every_batch_it_is_adam():
    codes = table()
    expected = dense(torch.optim.Adam, codes.weight, [slopes(step, codes) for step in range(20)])
    train(codes, [list(range(6))] * 20)
    torch.testing.assert_close(codes.weight.detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_row_moves_as_adam_would_move_it_alone():
    codes = table()
    rng = np.random.default_rng(0)
    batches = [sorted(rng.choice(6, 2, replace=False).tolist()) for _ in range(30)]
    batches = [[id for id in ids if id != 5 or step > 20] + [0] * (step % 2) for step, ids in enumerate(batches)]
    expected = codes.weight.detach().clone()
    for row in range(6):
        own = [slopes(step, codes)[row] * ids.count(row) for step, ids in enumerate(batches) if row in ids]
        expected[row] = dense(torch.optim.Adam, expected[row], own)
    train(codes, batches)
    torch.testing.assert_close(codes.weight.detach(), expected, rtol=1e-4, atol=1e-5)


def test_rows_outside_the_batches_have_no_state():
    codes = table()
    state = train(codes, NOW_AND_THEN).state[codes.weight]
    assert all(not values[[2, 5]].any() and values[[0, 1, 3, 4]].any() for values in state.values())
    assert state["moments"][:, 0].tolist() == [1, 3, 0, 3, 2, 0]


def test_the_state_follows_its_codes_to_their_device():
    """Torch leaves a state called `step` where a checkpoint put it, on the CPU."""
    state = train(table(), [[0, 1]]).state_dict()
    elsewhere = table().to("meta")
    resumed = RowAdam([elsewhere], 0.1)
    resumed.load_state_dict(state)
    assert {value.device.type for value in resumed.state[elsewhere.weight].values()} == {"meta"}


# --- Adam on all rows ---


@pytest.mark.parametrize("geometry", [FREE, Ball(0.8), Sphere(2.0)])
def test_dense_adam_is_torchs_adam_on_the_whole_matrix(geometry):
    codes = table(geometry=geometry)
    expected = dense(torch.optim.Adam, codes.weight, gradients(codes, NOW_AND_THEN), geometry=geometry)
    train(codes, NOW_AND_THEN, DenseAdam)
    torch.testing.assert_close(codes.weight.detach(), expected, rtol=1e-6, atol=1e-7)


def test_dense_adam_moves_rows_along_old_momenta():
    codes = table()
    optimizer = train(codes, [[1, 3]], DenseAdam)
    before = codes.weight.detach().clone()
    train(codes, [[4]], optimizer=optimizer, first=1)
    moved = (codes.weight.detach() - before).abs().amin(1)
    assert (moved[[1, 3, 4]] > 0.01).all() and not moved[[0, 2, 5]].any()


# --- Gradient descent on the batch's rows ---


@pytest.mark.parametrize("geometry", [FREE, Ball(0.8), Sphere(2.0)])
def test_row_sgd_is_torchs_sgd(geometry):
    """An image twice in a batch counts twice."""
    codes = table(geometry=geometry)
    expected = dense(torch.optim.SGD, codes.weight, gradients(codes, NOW_AND_THEN), 0.03, geometry)
    train(codes, NOW_AND_THEN, RowSGD, 0.03)
    torch.testing.assert_close(codes.weight.detach(), expected, rtol=1e-5, atol=1e-6)


# --- By name ---


@pytest.mark.parametrize(("name", "kind"), [("adam", RowAdam), ("dense_adam", DenseAdam), ("sgd", RowSGD)])
def test_a_name_gives_the_optimizers_of_codes_and_network(name, kind):
    codes, network = table(), nn.Linear(2, 2)
    of_codes, of_network = code_optimizer(name, [codes], 0.2), network_optimizer(name, network, 0.3)
    assert type(of_codes) is kind and of_codes.param_groups[0]["lr"] == 0.2
    assert type(of_network) is (SGD if name == "sgd" else Adam)
    (group,) = of_network.param_groups
    assert group["lr"] == 0.3 and len(group["params"]) == 2
    assert group.get("betas", (0.5, 0.999)) == (0.5, 0.999) and not group.get("momentum")


@pytest.mark.parametrize(("eager", "usual"), [(Adam, torch.optim.Adam), (SGD, torch.optim.SGD)])
def test_an_optimizer_without_the_compiler_steps_and_resumes_as_that_of_torch(eager, usual):
    ends = []
    for kind in (eager, usual):
        weights = nn.Parameter(torch.randn(3, 4, generator=generator()))
        optimizer = kind([weights], 0.1)
        for step in range(6):
            weights.square().sum().sin().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if step == 2:
                state, optimizer = optimizer.state_dict(), kind([weights], 0.5)
                optimizer.load_state_dict(state)
        assert weights.grad is None and optimizer.param_groups[0]["lr"] == 0.1
        ends.append(weights.detach())
    assert same_bits(*ends)
