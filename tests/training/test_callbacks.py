"""Callbacks: the average against its formula, snapshots at their epochs, the best epoch."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from iglo.models.codes import Codes, CodeTable
from iglo.models.geometry import Euclidean
from iglo.models.snapshots import Snapshots
from iglo.training.callbacks import EMA, Best, SnapshotCallback
from tests.tiny import RUNTIME, generator, same_bits


@pytest.fixture
def network():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def move(network: nn.Sequential, step: int) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(step)))
    network.train()(torch.randn(8, 3, generator=generator(step)))


@pytest.mark.parametrize("decay", [0.9, 0.5, 0.0])
def test_the_average_is_exponential_with_a_short_start(network, decay):
    """After n steps its decay is (1 + n) / (10 + n) or, once that is greater, the one asked for."""
    ema, expected = EMA(network, decay), None
    for step in range(12):
        move(network, step)
        ema.after_step(None)
        now = [parameter.detach().double() for parameter in network.parameters()]
        pairs, kept = zip(expected or now, now, strict=True), min(decay, (1 + step) / (10 + step))
        expected = [kept * old + (1 - kept) * new for old, new in pairs]
    averaged = ema.network
    for got, want in zip(averaged.parameters(), expected, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-6)
    assert same_bits(dict(averaged.named_buffers()), dict(network.named_buffers()))
    assert averaged is not network
    if decay == 0:
        assert same_bits(averaged.state_dict(), network.state_dict())


def test_a_network_without_batch_norm_is_averaged():
    network = nn.Linear(3, 4)
    ema = EMA(network, 0.0)
    nn.init.ones_(network.weight)
    ema.after_step(None)
    assert same_bits(ema.network.state_dict(), network.state_dict())


def test_the_average_does_not_remember_the_start(network):
    """At a constant decay, 0.999 ** 50, that is 95 %, of it would be left."""
    ema, weight = EMA(network, 0.999), network[0].weight.data
    for value in [1.0] + [0.0] * 50:
        weight.fill_(value)
        ema.after_step(None)
    assert ema.network[0].weight.max() < 1e-6


def test_a_resumed_average_is_the_same(network):
    through, first = EMA(network, 0.8), EMA(network, 0.8)
    for step in range(6):
        if step == 3:
            second = EMA(network, 0.8)
            second.load_state_dict(first.state_dict())
            first = second
        move(network, step)
        through.after_step(None)
        first.after_step(None)
    assert same_bits(through.state_dict(), first.state_dict())


class Look(nn.Module):
    """Codes (B, 4) as images of 2×2, black in training mode."""

    def forward(self, codes):
        return codes.view(-1, 1, 2, 2) * (not self.training)


def test_snapshots_of_the_same_images_are_taken_at_round_epochs():
    codes = torch.rand(6, 4, generator=generator())
    model = SimpleNamespace(codes=Codes(image=CodeTable(codes, Euclidean(1.0))).to(RUNTIME.device))
    look, snapshots = Look(), Snapshots(torch.tensor([4, 1]))
    snapshot_callback = SnapshotCallback(snapshots, look, "staged 1", RUNTIME, 12)
    for epoch in range(1, 201):
        snapshot_callback.after_epoch(model, epoch)
    assert snapshots.places == [("staged 1", epoch) for epoch in (1, 2, 5, 10, 20, 50, 100, 200)]
    frame = (codes[[4, 1]] * 255).round().byte().view(2, 2, 2, 1)
    assert all(torch.equal(kept, frame) for kept in snapshots.frames) and look.training
    snapshot_callback.take(model, 200)
    assert len(snapshots.frames) == len(snapshots.places) == 8  # in the place of the older one
    back = Snapshots(torch.zeros(0))
    back.load_state_dict(snapshots.state_dict())
    assert same_bits(vars(back), vars(snapshots))


def test_the_best_epoch_is_the_one_with_the_lowest_score(network):
    scores, modes, weights = iter([3.0, 1.0, 2.0, 1.0]), [], []

    def score():
        modes.append(network.training)
        return next(scores)

    best = Best(network, score)
    for epoch in (1, 2, 3, 4):
        move(network, epoch)
        weights.append({name: value.clone() for name, value in network.state_dict().items()})
        if epoch == 3:  # goes on in another process
            best, old = Best(network, score), best
            best.load_state_dict(old.state_dict())
        best.after_epoch(network, epoch)
    best.restore()
    assert best.scores == [3, 1, 2, 1]
    assert same_bits(dict(network.state_dict()), weights[1])
    assert modes == [False] * 4 and network.training
