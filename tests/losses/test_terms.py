"""Terms and their weighted sum, written out by hand over a generator that is one matrix."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from iglo.losses.distances import L1, L2
from iglo.losses.terms import (
    Autoencoding,
    CodeDecay,
    CodeDistance,
    CodePenalty,
    CodeRegression,
    Continuity,
    Objective,
    Preservation,
    Reconstruction,
    RenderedPairs,
    SubBatch,
    rendered,
)
from iglo.models.codes import Codes, CodeTable
from iglo.models.geometry import Euclidean, Sphere
from iglo.models.networks import Generator, initialise
from iglo.training.optimizers import RowAdam
from tests.tiny import generator, same_bits


class Matrix(nn.Module):
    """Codes (B, 3) to images (B, 1, 2, 2)."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, generator=generator(1)))
        self.batches = []

    def forward(self, codes):
        self.batches.append(len(codes))
        return (codes @ self.weight).sigmoid().view(-1, 1, 2, 2)


class Line(nn.Sequential):
    """Images (B, 1, 2, 2) to codes (B, 3)."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(4, 3))
        self[1].weight.data = torch.randn(3, 4, generator=generator(5))
        self.batches = []

    def forward(self, images):
        self.batches.append(len(images))
        return super().forward(images)


@pytest.fixture
def model():
    codes = Codes(image=CodeTable(torch.randn(8, 3, generator=generator()), Euclidean(1.0)))
    return SimpleNamespace(codes=codes, generator=Matrix(), encoder=Line())


@pytest.fixture
def batch():
    images = torch.rand(8, 1, 2, 2, generator=generator(2))
    ids = {"current": torch.tensor([1, 4, 6]), "earlier": torch.tensor([0, 7])}
    return {source: SubBatch(rows, images[rows], [images[rows]]) for source, rows in ids.items()}


def test_the_total_is_the_weighted_sum_of_means(model, batch):
    objective = Objective([(2.0, Reconstruction()), (0.5, Preservation())], L1())
    total, terms, images_seen = objective(model, batch, generator())
    means = {}
    for name, source in (("reconstruction", "current"), ("preservation", "earlier")):
        codes = model.codes.tables["image"].weight[batch[source].ids]
        means[name] = (Matrix()(codes) - batch[source].images).abs().mean()
    assert list(terms) == list(objective.weights) == list(means)
    for name, mean in means.items():
        assert terms[name].item() == pytest.approx(mean.item()) and not terms[name].requires_grad
    expected = 2 * means["reconstruction"] + 0.5 * means["preservation"]
    assert total.item() == pytest.approx(expected.item()) and total.requires_grad
    assert images_seen == 5 and model.generator.batches == [5]  # in one pass


def test_a_term_of_weight_0_is_left_out(model, batch):
    class Forbidden:
        name = source = "forbidden"

        def codes(self, *_):
            raise AssertionError

    class Direct(Forbidden):
        codes = property()  # no such attribute

        def __call__(self, *_):
            raise AssertionError

    objective = Objective([(0.0, Forbidden()), (1.0, Reconstruction()), (0, Direct())], L2())
    assert list(objective.weights) == ["reconstruction"]
    _, terms, images_seen = objective(model, batch, generator())
    assert list(terms) == ["reconstruction"] and images_seen == 3


def test_preservation_moves_the_generator_but_no_code(model, batch):
    codes = model.codes.tables["image"].weight
    Objective([(1.0, Preservation())], L1())(model, batch, generator())[0].backward()
    assert codes.grad is None and model.generator.weight.grad.any()
    Objective([(1.0, Preservation()), (1.0, Reconstruction())], L1())(model, batch, generator())[0].backward()
    assert codes.grad.coalesce().indices()[0].tolist() == [1, 4, 6]


def test_continuity_without_noise_is_reconstruction(model, batch):
    gradients = []
    for term in (Continuity(0.0), Reconstruction()):
        model.codes.zero_grad()
        total, _, _ = Objective([(1.0, term)], L1())(model, batch, generator())
        total.backward()
        gradients.append((total, model.codes.tables["image"].weight.grad.to_dense()))
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_continuity_adds_fresh_noise_that_is_not_projected_back(model, batch):
    term, codes = Continuity(0.5), model.codes(batch["current"].ids)
    noisy = [term.codes(model, batch, generator(step)) for step in (3, 3, 4)]
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])
    torch.testing.assert_close(noisy[0] - codes, 0.5 * torch.randn(3, 3, generator=generator(3)))
    objective = Objective([(1.0, Reconstruction()), (1.0, term)], L1())
    _, terms, images_seen = objective(model, batch, generator(3))
    expected = (Matrix()(noisy[0]) - batch["current"].images).abs().mean()
    assert images_seen == 6 and terms["continuity"].item() == pytest.approx(expected.item())
    assert terms["continuity"] != terms["reconstruction"]


@pytest.mark.parametrize(("end", "sigmas"), [(None, [2, 2, 2]), (0.5, [2, 1.25, 0.5]), (0.0, [2, 1, 0])])
def test_noise_falls_linearly(model, batch, end, sigmas):
    codes = model.codes(batch["current"].ids).detach()
    term, noise = Continuity(2.0, end), torch.randn(3, 3, generator=generator(3))
    for progress, sigma in zip((0, 0.5, 1), sigmas, strict=True):
        found = term.codes(model, batch, generator(3), progress).detach() - codes
        torch.testing.assert_close(found, sigma * noise, rtol=1e-5, atol=1e-6)
    objective = Objective([(1.0, term)], L1())
    late, early = (objective(model, batch, generator(3), progress)[0].item() for progress in (0.5, 0.0))
    expected = (Matrix()(codes + sigmas[1] * noise) - batch["current"].images).abs().mean()
    assert late == pytest.approx(expected.item(), rel=1e-5) and (late != early) is (end is not None)


def test_preservation_may_have_noise_and_any_source(model, batch):
    term, codes = Preservation(0.5, source="current"), model.codes(batch["current"].ids).detach()
    found = term.codes(model, batch, generator(3))
    torch.testing.assert_close(found - codes, 0.5 * torch.randn(3, 3, generator=generator(3)))
    assert not found.requires_grad
    assert torch.equal(Preservation(source="current").codes(model, batch, None), codes)  # no noise is drawn at σ = 0


# --- Terms with an encoder ---

CODE_DISTANCE = CodeDistance(2.0, 3.0)


def test_a_code_distance_has_a_value_per_image():
    a, b = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [0.0, 0.0]])
    assert CODE_DISTANCE(a, b).tolist() == [2 * 1.5 + 3 * 2.5, 0]


def test_code_regression_teaches_the_encoder_alone(model, batch):
    total, terms, images_seen = Objective([(1.0, CodeRegression(CODE_DISTANCE))])(model, batch, None)
    images = batch["current"]
    difference = model.encoder(images.images) - model.codes.tables["image"].weight[images.ids]
    expected = 2 * difference.abs().mean() + 3 * difference.square().mean()
    assert total.item() == pytest.approx(expected.item()) and images_seen == 3
    total.backward()
    gradient = torch.autograd.grad(expected, model.encoder[1].weight)[0]
    torch.testing.assert_close(model.encoder[1].weight.grad, gradient)
    assert model.codes.tables["image"].weight.grad is None and list(terms) == ["code_regression"]


@pytest.mark.parametrize("geometry", [Euclidean(1.0), Sphere(2.0)])
def test_autoencoding_teaches_generator_and_encoder(model, batch, geometry):
    model.codes.tables["image"].geometry = geometry
    images, networks = batch["current"], nn.ModuleList([model.generator, model.encoder])
    total, terms, images_seen = Objective([(1.0, Autoencoding())], L2())(model, batch, None)
    drawn = model.generator(geometry.project(model.encoder(images.images)))
    expected = (drawn - images.images).square().mean()
    assert total.item() == pytest.approx(expected.item()) and images_seen == 3 and list(terms) == ["autoencoding"]
    total.backward()
    weights = list(networks.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(expected, weights), strict=True):
        assert gradient.any()
        torch.testing.assert_close(weight.grad, gradient)
    assert model.codes.tables["image"].weight.grad is None


def test_the_encoder_sees_a_batch_once_for_all_terms(model, batch):
    objective = Objective([(1.0, Autoencoding()), (1.0, CodeRegression(CODE_DISTANCE)), (1.0, CodePenalty())], L1())
    total, terms, images_seen = objective(model, batch, None)
    assert model.encoder.batches == [3] and model.generator.batches == [3]
    assert images_seen == 3  # rendered images alone count
    total.backward()
    together = model.encoder[1].weight.grad.clone()
    model.encoder.zero_grad()
    for term in (Autoencoding(), CodeRegression(CODE_DISTANCE), CodePenalty()):
        fresh = {name: SubBatch(each.ids, each.images, each.target) for name, each in batch.items()}
        Objective([(1.0, term)], L1())(model, fresh, None)[0].backward()
    torch.testing.assert_close(model.encoder[1].weight.grad, together)
    codes = model.encoder(batch["current"].images)
    assert terms["code_penalty"].item() == pytest.approx(codes.square().mean().item())


def test_each_sub_batch_is_encoded_once(model, batch):
    seen = [each.encoded(model.encoder) for each in batch.values()]
    assert [len(codes) for codes in seen] == [3, 2] and model.encoder.batches == [3, 2]
    assert batch["current"].encoded(model.encoder) is seen[0]


def test_rendered_pairs_are_of_noisy_codes_where_codes_may_lie(model, batch):
    model.codes.tables["image"].geometry = Sphere(2.0)
    objective = Objective([(1.0, RenderedPairs(CODE_DISTANCE, 0.5))])
    total, terms, images_seen = objective(model, batch, generator(3))
    codes = model.codes.tables["image"].weight[batch["current"].ids].detach()
    codes = Sphere(2.0).project(codes + 0.5 * torch.randn(3, 3, generator=generator(3)))
    with torch.no_grad():
        difference = model.encoder(model.generator(codes)) - codes
    expected = 2 * difference.abs().mean() + 3 * difference.square().mean()
    assert total.item() == pytest.approx(expected.item(), rel=1e-5) and images_seen == 3
    assert list(terms) == ["rendered_pairs"]
    total.backward()
    assert model.encoder[1].weight.grad.any() and model.generator.weight.grad is None
    assert model.codes.tables["image"].weight.grad is None


@pytest.mark.parametrize("training", [True, False])
def test_rendered_pairs_leave_the_generator_as_it_is(training):
    """Its batch-norm statistics and mode too; the images are those of evaluation mode."""
    network = initialise(Generator(3, 16, 1, 2), generator()).train(training)
    network(torch.randn(8, 3, generator=generator(1)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    codes = Codes(image=CodeTable(torch.randn(8, 3, generator=generator()), Euclidean(1.0)))
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    batch = {"current": SubBatch(torch.tensor([1, 4, 6]), torch.zeros(3, 1, 16, 16), [])}
    model = SimpleNamespace(codes=codes, generator=network, encoder=encoder)
    Objective([(1.0, RenderedPairs(CODE_DISTANCE, 1.0))])(model, batch, generator())[0].backward()
    assert same_bits(dict(network.state_dict()), before) and network.training is training
    assert all(module.training is training for module in network.modules())
    assert all(weight.grad is None for weight in network.parameters()) and encoder[1].weight.grad.any()
    codes = torch.randn(4, 3, generator=generator(2))
    whole, alone = rendered(network, codes), rendered(network, codes[:1])
    torch.testing.assert_close(whole[:1], alone)


def test_decay_is_the_squared_length_of_the_codes_of_one_table_and_moves_only_those_of_the_batch(batch):
    start = torch.randn(8, 3, generator=generator())
    label = CodeTable(torch.ones(2, 3), Euclidean(1.0), torch.arange(8) % 2)
    image = CodeTable(start.clone(), Euclidean(1.0))
    model = SimpleNamespace(codes=Codes(label=label, image=image))
    objective = Objective([(5.0, CodeDecay("image"))])
    optimizer = RowAdam([label, image], 0.05)
    for step in range(200):
        total, terms, _ = objective(model, batch, generator())
        total.backward()
        if step == 0:
            rows = start[[1, 4, 6]]
            assert terms["decay"].item() == pytest.approx(rows.square().sum().item() / 3)
            assert image.weight.grad.coalesce().indices()[0].tolist() == [1, 4, 6] and label.weight.grad is None
            torch.testing.assert_close(image.weight.grad.to_dense()[[1, 4, 6]], 5 * 2 * rows / 3)
        optimizer.step()
        optimizer.zero_grad()
    others = [0, 2, 3, 5, 7]
    assert torch.equal(image.weight[others], start[others]) and label.weight.eq(1).all()
    assert image.weight[[1, 4, 6]].abs().max() < 0.2


def test_a_rank_has_its_share_of_the_mean(model, batch):
    """Two of three images are on this rank, so its share of the mean is two thirds of its own mean."""
    images = batch["current"]
    whole = {"current": SubBatch(images.ids[:2], images.images[:2], [images.target[0][:2]], 3)}
    total, terms, images_seen = Objective([(2.0, Reconstruction())], L1())(model, whole, None)
    expected = (model.generator(model.codes(images.ids[:2])) - images.images[:2]).abs().mean() * 2 / 3
    assert terms["reconstruction"].item() == pytest.approx(expected.item()) and images_seen == 3
    assert total.item() == pytest.approx(2 * expected.item())
