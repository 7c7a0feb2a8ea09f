"""Optimisation of codes: images are independent, losses fall, and the generator does not change."""

import copy

import numpy as np
import pytest
import torch

from iglo.errors import UserError
from iglo.latent.inversion import Inverted, Search, invert, optimise_codes
from iglo.losses.distances import L1, L2, LaplacianL1
from iglo.models.codes import Codes, CodeTable
from iglo.models.config import GLOConfig
from iglo.models.glo import GLOModel, encode, recalibrate_bn, render
from iglo.models.networks import initialise
from iglo.runtime.eager import Adam
from tests.tiny import RUNTIME, generator, same_bits, tiny_images

IMAGES = tiny_images(6)


def make(constraint: str = "sphere", radius: float | None = None) -> GLOModel:
    """Returns a model with random weights, ten times as large as usual, so that its images have contrast."""
    config = GLOConfig(6, 16, 1, 4, constraint, radius)
    network = RUNTIME.to_device(initialise(config.generator(), generator()))
    with torch.no_grad():
        for weights in network.parameters():
            if weights.dim() == 4:
                weights.mul_(10)
    geometry = config.geometry()
    codes = Codes(image=CodeTable(geometry.sample(6, 6, generator(1)), geometry))
    recalibrate_bn(network, geometry.sample(100, 6, generator(2)).to(RUNTIME.device))
    return GLOModel(config, network, codes.to(RUNTIME.device))


@pytest.fixture
def model():
    return make()


def optimise(model: GLOModel, images: np.ndarray, start: torch.Tensor, steps: list[int], distance=None, **options):
    """Optimises by plain Adam, from one start for each image; returns the codes after each of `steps`."""
    options = {"rate": 5e-2, "betas": (0.9, 0.999), "schedule": "constant", "tolerance": 0} | options
    distance, search = (distance or L1()).to(RUNTIME.device), Search(steps[-1], record=tuple(steps), **options)
    found = optimise_codes(model, images, start[:, None], distance, RUNTIME, search)
    return [found.recorded[step] for step in steps]


def rendered(model: GLOModel, codes: torch.Tensor) -> np.ndarray:
    return np.round(render(model.generator, codes, RUNTIME) * 255).astype(np.uint8)


def test_images_do_not_influence_each_other(model):
    start = model.codes.values.cpu()
    (together,) = optimise(model, IMAGES, start, [5])
    (pieces,) = optimise(model, IMAGES, start, [5], batch_size=4)
    others = IMAGES.copy()
    others[[0, 2, 3, 4, 5]] = 255 - others[[0, 2, 3, 4, 5]]
    (beside_others,) = optimise(model, others, start, [5])
    (alone,) = optimise(model, IMAGES[1:2], start[1:2], [5])
    torch.testing.assert_close(pieces, together, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone[0], together[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(beside_others[1], together[1], rtol=0, atol=1e-5)
    assert (beside_others[0] - together[0]).abs().max() > 0.01


@pytest.mark.parametrize("distance", [L1(), L2(), LaplacianL1()], ids=["l1", "l2", "lap_l1"])
def test_the_loss_of_every_image_falls(model, distance):
    images = rendered(model, model.config.geometry().sample(6, 6, generator(4)))
    targets = torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2)
    losses = []
    for codes in optimise(model, images, model.codes.values.cpu(), [0, 10, 60], distance):
        drawn = torch.from_numpy(render(model.generator, codes, RUNTIME)).permute(0, 3, 1, 2)
        losses.append(distance.cpu().compare(distance.represent(drawn), distance.represent(targets)))
    first, middle, last = losses
    assert (middle < first).all() and (last < middle).all() and last.mean() < 0.5 * first.mean()


def test_step_0_is_the_start(model):
    start = model.codes.values.cpu() * torch.linspace(0.5, 2, 6)[:, None]  # off the sphere: not even projected
    kept = start.clone()
    first, _ = optimise(model, IMAGES, start, [0, 3])
    assert torch.equal(first, kept) and torch.equal(start, kept)


def test_recording_changes_nothing(model):
    start = model.codes.values.cpu()
    _, two, five = optimise(model, IMAGES, start, [0, 2, 5])
    assert torch.equal(five, *optimise(model, IMAGES, start, [5]))
    assert torch.equal(two, *optimise(model, IMAGES, start, [2])) and not torch.equal(two, five)


def test_it_is_adam_with_projection(model):
    """The loop written out: torch's Adam at a constant rate, the projection after each step."""
    start, geometry = model.codes.values.cpu(), model.config.geometry()
    codes = start.to(RUNTIME.device).clone().requires_grad_(True)
    adam = torch.optim.Adam([codes], 5e-2 * geometry.radius / 6**0.5)
    targets = torch.from_numpy(IMAGES).to(RUNTIME.device).permute(0, 3, 1, 2).float() / 255
    for _ in range(5):
        loss = (model.generator.eval()(codes) - targets).abs().mean((1, 2, 3)).sum()
        (codes.grad,) = torch.autograd.grad(loss, codes)
        adam.step()
        codes.data.copy_(geometry.project(codes.detach()))
    (found,) = optimise(model, IMAGES, start, [5])
    torch.testing.assert_close(found, codes.detach().cpu(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("constraint", "radius"), [("sphere", None), ("sphere", 1.0), ("ball", 0.5), ("none", 1.0)])
def test_codes_stay_in_their_geometry(constraint, radius):
    model = make(constraint, radius)
    start = model.codes.values.cpu()
    lengths = torch.cat(optimise(model, IMAGES, start, [1, 7, 30], rate=0.3)).norm(dim=1)
    if constraint == "sphere":
        torch.testing.assert_close(lengths, torch.full((18,), radius or 6**0.5), rtol=1e-5, atol=0)
    else:
        assert (lengths.max().item() <= radius * (1 + 1e-6)) is (constraint == "ball")


def test_the_rate_is_scaled_to_the_radius():
    for radius in (6**0.5, 0.1):
        model = make("none", radius)
        start = model.codes.values.cpu()
        (found,) = optimise(model, IMAGES, start, [1], rate=0.02)
        expected = torch.full((6, 6), 0.02 * radius / 6**0.5)
        torch.testing.assert_close((found - start).abs(), expected, rtol=1e-2, atol=0)


def test_the_code_of_a_rendered_image_is_found_again_from_nearby(model):
    codes = model.codes.values.cpu()
    images = rendered(model, codes)
    away = torch.randn(codes.shape, generator=generator(3)) * 0.2
    start = model.config.geometry().project(codes + away)
    (found,) = optimise(model, images, start, [150], L2(), rate=0.01)
    assert ((found - codes).norm(dim=1) < 0.1 * (start - codes).norm(dim=1)).all()


def test_the_model_does_not_change(model):
    before, flags = copy.deepcopy(model.state_dict()), [weights.requires_grad for weights in model.parameters()]
    optimise(model, IMAGES, model.codes.values, [3])
    assert same_bits(dict(model.state_dict()), dict(before))
    assert [weights.requires_grad for weights in model.parameters()] == flags
    assert all(weights.grad is None for weights in model.parameters())
    model.generator.requires_grad_(False)  # a frozen generator stays frozen
    optimise(model, IMAGES, model.codes.values, [1])
    assert not any(weights.requires_grad for weights in model.generator.parameters())


# --- The methods: encoder, optimize, hybrid ---


@pytest.fixture
def whole(model):
    """A model whose encoder reads codes, badly."""
    model.encoder = RUNTIME.to_device(initialise(model.config.encoder(4), generator(5)))
    return model


def inverted(model: GLOModel, images: np.ndarray = IMAGES, method="hybrid", seed=0, **options) -> Inverted:
    distance = L2().to(RUNTIME.device)
    return invert(model, images, distance, RUNTIME, method=method, search=Search(**options), seed=seed)


def loss_of(model: GLOModel, codes: torch.Tensor, images: np.ndarray) -> torch.Tensor:
    drawn = render(model.generator, codes, RUNTIME)
    return torch.from_numpy(np.square(drawn - images / np.float32(255)).mean((1, 2, 3)))


def test_the_method_encoder_gives_the_code_of_the_encoder(whole):
    found = inverted(whole, method="encoder")
    assert torch.equal(found.codes, encode(whole.encoder, IMAGES, whole.config, RUNTIME))
    assert not found.steps.any()


@pytest.mark.parametrize("method", ["encoder", "hybrid", "optimize"])
def test_the_loss_belongs_to_the_codes_and_codes_lie_in_their_geometry(whole, method):
    found = inverted(whole, method=method, steps=20)
    torch.testing.assert_close(found.loss, loss_of(whole, found.codes, IMAGES), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found.codes.norm(dim=1), torch.full((6,), 6**0.5), rtol=1e-5, atol=0)


def test_hybrid_is_never_worse_than_the_encoder(whole):
    losses = [inverted(whole, method="encoder").loss]
    losses += [inverted(whole, steps=steps, rate=3.0).loss for steps in (1, 30)]  # a rate that is far too high
    assert (losses[1] <= losses[0]).all() and (losses[2] < losses[0]).any()


def test_the_best_of_several_starts_goes_on(whole):
    one, four = (inverted(whole, method="optimize", steps=100, restarts=restarts) for restarts in (1, 4))
    assert four.loss.mean() < one.loss.mean()
    tried = inverted(whole, method="optimize", steps=10, restarts=4, tolerance=0)  # one step of trial, then one start
    assert len(tried.codes) == 6 and tried.steps.max() <= 10


def test_a_code_that_does_not_improve_stops(whole):
    never = inverted(whole, steps=200, tolerance=0)
    soon = inverted(whole, steps=200, tolerance=1.0)
    assert soon.steps.max() <= 10 < never.steps.max()
    assert (never.loss <= soon.loss).all()


def test_codes_depend_on_the_seed_and_not_on_the_batch_size(whole):
    options = {"method": "optimize", "steps": 20, "tolerance": 0.05}
    together, pieces = inverted(whole, **options), inverted(whole, batch_size=4, **options)
    torch.testing.assert_close(pieces.codes, together.codes, rtol=0, atol=1e-4)
    assert torch.equal(inverted(whole, **options).codes, together.codes)
    assert not torch.equal(inverted(whole, seed=1, **options).codes, together.codes)


def test_each_batch_optimises_its_own_starts_only(whole, monkeypatch):
    """With the starts of all images in each batch, memory and time would grow with the square of the images."""
    lengths, step = set(), Adam.step

    def watched(self):
        step(self)
        lengths.update(len(state["exp_avg"]) for state in self.state.values())

    monkeypatch.setattr(Adam, "step", watched)
    found = inverted(whole, tiny_images(11), method="optimize", steps=3, restarts=2, batch_size=4)
    assert lengths == {2 * 4, 2 * 3} and len(found.codes) == len(found.loss) == len(found.steps) == 11


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "hybird"}, "must be one of encoder, hybrid, optimize, got 'hybird'"),
        ({"steps": 0}, "steps: must be at least 1, got 0"),
        ({"method": "optimize", "restarts": 0}, "restarts: must be at least 1, got 0"),
    ],
)
def test_impossible_requests_are_refused(whole, options, words):
    with pytest.raises(UserError, match=words):
        inverted(whole, **options)


def test_without_an_encoder_only_optimize_works(model):
    with pytest.raises(UserError, match="'hybrid' needs an encoder"):
        inverted(model)
    assert len(inverted(model, method="optimize", steps=1).codes) == 6
