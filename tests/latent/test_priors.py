"""Priors: their draws have the statistics of the codes, and their files give the same prior again."""

import dataclasses
import math
from typing import get_args, get_type_hints

import pytest
import torch

from iglo.errors import UserError
from iglo.files.io import read_json, write_json
from iglo.latent.imle import imle_loss, imle_mapping, nearest_noises
from iglo.latent.priors import PRIORS, Prior, PriorChoice, fit_prior
from iglo.models.geometry import Ball, Euclidean, Sphere
from iglo.params.pipeline import Params
from iglo.randomness import torch_generator
from tests.tiny import generator, same_bits

FREE = Euclidean(math.sqrt(3))


pytestmark = pytest.mark.usefixtures("few_rounds")


def skewed_codes(count: int = 200) -> torch.Tensor:
    """(count, 3), the last coordinate constant."""
    return torch.randn(count, 3, generator=generator()) @ torch.tensor([[2.0, 1, 0], [0, 0.5, 0], [0, 0, 0]]) + 5


def two_clusters(count: int = 100) -> torch.Tensor:
    """(count, 3) around (10, 0, 0) and, one in four, around (-10, 0, 0)."""
    codes = 0.1 * torch.randn(count, 3, generator=generator())
    codes[:, 0] += torch.where(torch.arange(count) % 4 == 0, -10.0, 10.0)
    return codes


def test_params_can_name_every_prior_and_best():
    assert get_args(get_type_hints(Params)["prior"]) == ("best", *PRIORS)


@pytest.mark.parametrize("name", PRIORS)
def test_the_same_seed_gives_the_same_draws(name):
    first, again = (fit_prior(name, skewed_codes(), FREE, 0) for _ in range(2))
    drawn = first.draw(20, generator(1))
    assert drawn.dtype == torch.float32 and drawn.shape == (20, 3)
    assert torch.equal(drawn, again.draw(20, generator(1)))
    assert not torch.equal(drawn, first.draw(20, generator(2)))


@pytest.mark.parametrize("name", PRIORS)
def test_every_draw_is_in_the_geometry(name):
    sphere, ball = Sphere(3.0), Ball(0.5)
    lengths = [
        fit_prior(name, geometry.project(skewed_codes()), geometry, 0).draw(500, generator()).norm(dim=1)
        for geometry in (sphere, ball)
    ]
    assert (lengths[0] / 3 - 1).abs().max() < 1e-5
    assert lengths[1].max() < 0.5 * (1 + 1e-5)


def test_normal_does_not_depend_on_the_codes():
    drawn = fit_prior("normal", skewed_codes(), Euclidean(2 * math.sqrt(3)), 0).draw(20_000, generator())
    torch.testing.assert_close(drawn.mean(0), torch.zeros(3), rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.T.cov(), 4 * torch.eye(3), rtol=0.05, atol=0.1)


@pytest.mark.parametrize(("name", "correlated"), [("gaussian", True), ("gaussian_diag", False)])
def test_gaussians_have_the_mean_and_covariance_of_the_codes(name, correlated):
    codes = skewed_codes()
    drawn = fit_prior(name, codes, FREE, 0).draw(20_000, generator(1))
    covariance = codes.T.cov() if correlated else codes.T.cov().diagonal().diag()
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(drawn.T.cov(), covariance, rtol=0.1, atol=0.1)


def test_a_mixture_finds_two_clusters_and_draws_nothing_between_them():
    drawn = fit_prior("gmm", two_clusters(), FREE, 0).draw(1000, generator())
    assert drawn[:, 0].abs().min() > 9
    assert (drawn[:, 0] < 0).float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_imle_leaves_no_code_out(monkeypatch):
    """Looks at the code that is farthest from all samples: an untrained mapping can be near another one by chance."""
    codes, distances = two_clusters(12), []
    for rounds in (0, 150):
        monkeypatch.setattr("iglo.latent.imle.IMLE_ROUNDS", rounds)
        drawn = fit_prior("imle", codes, FREE, 0).draw(200, generator(1))
        distances.append(torch.cdist(codes, drawn).min(1).values.max())
    assert distances[1] < 0.5 * distances[0]


def test_the_loss_of_imle_has_a_gradient_in_every_layer():
    network, codes = imle_mapping(3, generator()), two_clusters(8)
    pool = torch.randn(50, 8, generator=generator(1))
    imle_loss(network, pool[nearest_noises(network, pool, codes)], codes).backward()
    assert all(weights.grad.abs().max() > 0 for weights in network.parameters())


def test_nearest_noises_by_double_loops():
    network, codes, pool = torch.nn.Identity(), two_clusters(7), 10 * torch.randn(9, 3, generator=generator(1))
    expected = [min(range(9), key=lambda i: math.dist(code, pool[i])) for code in codes]
    assert nearest_noises(network, pool, codes, chunk=3).tolist() == expected


@pytest.mark.parametrize("name", PRIORS)
def test_constant_or_very_few_codes_have_priors(name):
    few = [torch.randn(count, 3, generator=generator()) for count in (1, 2, 5)]
    for codes in (*few, *(torch.full_like(each, 2.0) for each in few)):
        for geometry in (FREE, Sphere(3.0)):
            drawn = fit_prior(name, geometry.project(codes), geometry, 0).draw(4, generator())
            assert drawn.isfinite().all(), (len(codes), geometry)


def test_codes_that_are_not_finite_are_refused():
    with pytest.raises(UserError, match="codes: must be finite to fit the prior gmm"):
        fit_prior("gmm", torch.tensor([[0.0, math.nan]]), FREE, 0)


# --- Files ---


@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_is_saved_and_loaded(name, tmp_path):
    prior = fit_prior(name, skewed_codes(), Sphere(3.0), 0)
    prior.save(tmp_path / "prior.safetensors")
    back = Prior.load(tmp_path / "prior.safetensors", Sphere(3.0))
    assert back.name == name and same_bits(back.arrays, prior.arrays)
    assert torch.equal(back.draw(9, generator(1)), prior.draw(9, generator(1)))


@pytest.mark.parametrize("name", PRIORS)
def test_a_damaged_file_is_refused(name, tmp_path):
    prior, path = fit_prior(name, skewed_codes(), FREE, 0), tmp_path / "prior.safetensors"
    first, *others = prior.arrays
    prior.save(path)
    raw = path.read_bytes()
    damaged = {"empty": b"", "truncated": raw[:-10]}
    for kind, wrong in {
        "another name": Prior("gan", prior.arrays, FREE),
        f"without {first}": Prior(name, {key: prior.arrays[key] for key in others}, FREE),
        "NaN": Prior(name, {key: array * math.nan for key, array in prior.arrays.items()}, FREE),
    }.items():
        wrong.save(path)
        damaged[kind] = path.read_bytes()
    path.unlink()
    for kind in ("missing", *damaged):
        if kind in damaged:
            path.write_bytes(damaged[kind])
        with pytest.raises(UserError, match=r"prior\.safetensors: this file has no usable prior; run"):
            Prior.load(path, FREE)
            pytest.fail(f"loaded: {kind}")


def test_a_choice_is_saved_and_loaded(tmp_path):
    priors = {name: fit_prior(name, skewed_codes(), FREE, 0) for name in PRIORS}
    about = {"model": "0123", "feature_network": {"network": "alex", "weights": "random"}}
    distances, errors = ({name: share * len(name) for name in PRIORS} for share in (1.0, 0.1))
    settings = {"k": 5, "noise": 0.3, "copy_rate": 0.01, "tried": [{"k": 5, "noise": 0.3, "copy_rate": 0.01}]}
    PriorChoice(priors, "gmm", distances, errors, about, settings).save(tmp_path)
    back = PriorChoice.load(tmp_path, FREE)
    assert back.chosen == "gmm" and back.kernel_distance["imle"] == 4 and list(back.priors) == list(PRIORS)
    assert back.about == about and back.neighbours == settings and back.standard_error == errors
    assert read_json(tmp_path / "priors.json").keys() == {
        "chosen",
        "kernel_distance",
        "standard_error",
        "neighbours",
        "of",
    }
    dataclasses.replace(back, kernel_distance={}).save(tmp_path)  # with too few images
    assert PriorChoice.load(tmp_path, back.priors["gmm"].geometry).kernel_distance == {}
    write_json(tmp_path / "priors.json", {"chosen": "gmm", "kernel_distance": back.kernel_distance})
    earlier = PriorChoice.load(tmp_path, FREE)  # written by an earlier iglo
    assert earlier.about == earlier.standard_error == earlier.neighbours == {}
    before = {name: distance for name, distance in distances.items() if name != "flow"}  # there were fewer priors
    for broken in (
        {"chosen": "gmm", "kernel_distance": before},
        {"chosen": "gan", "kernel_distance": back.kernel_distance},
        {"chosen": "gmm"},
        [],
    ):
        write_json(tmp_path / "priors.json", broken)
        with pytest.raises(UserError, match=r"priors\.json: this file has no choice of priors"):
            PriorChoice.load(tmp_path, FREE)


def test_a_draw_of_the_gaussian_is_its_formula():
    """Mean + Lε in float64, ε in the order of the random stream: other code relies on these bits."""
    codes = skewed_codes().double()
    root = torch.linalg.cholesky(codes.T.cov() + 1e-6 * torch.eye(3))
    noise = torch.randn(7, 3, generator=torch_generator(0, "samples"), dtype=torch.float64)
    drawn = fit_prior("gaussian", codes.float(), FREE, 0).draw(7, torch_generator(0, "samples"))
    torch.testing.assert_close(drawn, (codes.mean(0) + noise @ root.T).float(), rtol=1e-6, atol=1e-6)
