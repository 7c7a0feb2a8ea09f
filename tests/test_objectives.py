"""Terms and their weighted sum, written out by hand over a generator that is one matrix."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from iglo.geometry import Euclidean
from iglo.latents import Factor, LatentTable
from iglo.losses import L1, L2
from iglo.objectives import CodeRegression, Continuity, Objective, Part, Preservation, Reconstruction
from tests.tiny import generator


class Matrix(nn.Module):
    """Codes (B, 3) to images (B, 1, 2, 2)."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, generator=generator(1)))
        self.batches = []

    def forward(self, codes):
        self.batches.append(len(codes))
        return (codes @ self.weight).sigmoid().view(-1, 1, 2, 2)


@pytest.fixture
def model():
    table = LatentTable(image=Factor(torch.randn(8, 3, generator=generator()), Euclidean(1.0)))
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    return SimpleNamespace(table=table, generator=Matrix(), encoder=encoder)


@pytest.fixture
def batch():
    images = torch.rand(8, 1, 2, 2, generator=generator(2))
    ids = {"current": torch.tensor([1, 4, 6]), "earlier": torch.tensor([0, 7])}
    return {part: Part(rows, images[rows], [images[rows]]) for part, rows in ids.items()}


def test_the_total_is_the_weighted_sum_of_means(model, batch):
    objective = Objective([(2.0, Reconstruction()), (0.5, Preservation())], L1())
    total, terms, presented = objective(model, batch, generator())
    means = {}
    for name, part in (("reconstruction", "current"), ("preservation", "earlier")):
        codes = model.table.factors["image"].codes[batch[part].ids]
        means[name] = (Matrix()(codes) - batch[part].images).abs().mean()
    assert list(terms) == objective.names == list(means)
    for name, mean in means.items():
        assert terms[name].item() == pytest.approx(mean.item()) and not terms[name].requires_grad
    expected = 2 * means["reconstruction"] + 0.5 * means["preservation"]
    assert total.item() == pytest.approx(expected.item()) and total.requires_grad
    assert presented == 5 and model.generator.batches == [5]  # in one pass


def test_a_term_of_weight_0_is_not_built(model, batch):
    class Forbidden:
        name = part = "forbidden"

        def codes(self, *_):
            raise AssertionError

    class Direct(Forbidden):
        codes = property()  # no such attribute

        def __call__(self, *_):
            raise AssertionError

    objective = Objective([(0.0, Forbidden()), (1.0, Reconstruction()), (0, Direct())], L2())
    assert objective.names == ["reconstruction"]
    _, terms, presented = objective(model, batch, generator())
    assert list(terms) == ["reconstruction"] and presented == 3


def test_preservation_moves_the_generator_but_no_frozen_code(model, batch):
    codes = model.table.factors["image"].codes
    Objective([(1.0, Preservation())], L1())(model, batch, generator())[0].backward()
    assert codes.grad is None and model.generator.weight.grad.any()
    Objective([(1.0, Preservation()), (1.0, Reconstruction())], L1())(model, batch, generator())[0].backward()
    assert codes.grad.coalesce().indices()[0].tolist() == [1, 4, 6]


def test_continuity_without_noise_is_reconstruction(model, batch):
    gradients = []
    for term in (Continuity(0.0), Reconstruction()):
        model.table.zero_grad()
        total, _, _ = Objective([(1.0, term)], L1())(model, batch, generator())
        total.backward()
        gradients.append((total, model.table.factors["image"].codes.grad.to_dense()))
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_continuity_adds_fresh_noise_that_is_not_projected_back(model, batch):
    term, codes = Continuity(0.5), model.table(batch["current"].ids)
    noisy = [term.codes(model, batch, generator(step)) for step in (3, 3, 4)]
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])
    torch.testing.assert_close(noisy[0] - codes, 0.5 * torch.randn(3, 3, generator=generator(3)))
    objective = Objective([(1.0, Reconstruction()), (1.0, term)], L1())
    _, terms, presented = objective(model, batch, generator(3))
    expected = (Matrix()(noisy[0]) - batch["current"].images).abs().mean()
    assert presented == 6 and terms["continuity"].item() == pytest.approx(expected.item())
    assert terms["continuity"] != terms["reconstruction"]


def test_code_regression_teaches_the_encoder_alone(model, batch):
    total, terms, presented = Objective([(1.0, CodeRegression(2.0, 3.0))])(model, batch, None)
    part = batch["current"]
    difference = model.encoder(part.images) - model.table.factors["image"].codes[part.ids]
    expected = 2 * difference.abs().mean() + 3 * difference.square().mean()
    assert total.item() == pytest.approx(expected.item()) and presented == 3
    total.backward()
    gradient = torch.autograd.grad(expected, model.encoder[1].weight)[0]
    torch.testing.assert_close(model.encoder[1].weight.grad, gradient)
    assert model.table.factors["image"].codes.grad is None and list(terms) == ["code_regression"]
