"""The paper's steps on a dozen images: what each may change, what it must leave, and what it leaves on record."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from iglo import recipes
from iglo.album import Album
from iglo.backbones import IMAGENET_MEAN
from iglo.checkpoints import CheckpointFolder
from iglo.losses import L1, PIXEL_DISTANCES, Perceptual
from iglo.model import Model, decode, encode
from iglo.observers import Previews
from iglo.recipes import learn_all, learn_encoder, learn_subset, make_distance, start_model
from tests.tiny import RUNTIME, rounds_of, same_bits, tiny_images, tiny_params

IMAGES, PARAMS = tiny_images(14), tiny_params()
SUBSETS = [np.array([1, 4, 6, 9]), np.array([0, 2, 12, 13]), np.array([3, 5, 7, 8, 10, 11])]


def stage(model: Model, index: int, params=PARAMS, checkpoints=None):
    return learn_subset(model, IMAGES, SUBSETS[index], L1(), index, params, RUNTIME, checkpoints)


@pytest.fixture(scope="module")
def stages():
    """Copies of the model at the start, after each subset and after the full set."""
    model = start_model(IMAGES, PARAMS, RUNTIME)
    kept = [copy.deepcopy(model)]
    for index in range(3):
        stage(model, index)
        kept.append(copy.deepcopy(model))
    learn_all(model, IMAGES, L1(), PARAMS, RUNTIME)
    return [*kept, model]


def everything(model: Model) -> dict:
    record = {"log": model.log, "learned_in": model.learned_in.tolist(), "album": model.album.state_dict()}
    return {"weights": dict(model.state_dict()), **record}


def changed_rows(before: Model, after: Model) -> set[int]:
    return set((before.codes != after.codes).any(1).nonzero()[:, 0].tolist())


# --- The start ---


@pytest.mark.parametrize("init", ["pca", "normal"])
def test_the_start_is_on_the_sphere_and_the_same_from_the_same_seed(init):
    model, again, other = (start_model(IMAGES, tiny_params(latent__init=init, seed=s), RUNTIME) for s in (0, 0, 1))
    assert model.codes.shape == (14, 6) and not model.learned_in.any() and not len(model.album.ids)
    torch.testing.assert_close(model.codes.norm(dim=1).cpu(), torch.full((14,), 6**0.5), rtol=1e-5, atol=0)
    assert same_bits(everything(model), everything(again))
    assert not same_bits(model.codes, other.codes)


def test_the_pca_start_looks_at_the_images_and_the_normal_one_does_not():
    for init, looks in (("pca", True), ("normal", False)):
        params = tiny_params(latent__init=init)
        codes = [start_model(images, params, RUNTIME).codes for images in (IMAGES, tiny_images(14, seed=1))]
        assert torch.equal(*codes) is not looks
    params = tiny_params(latent__constraint="none")
    first = start_model(IMAGES, params, RUNTIME).codes[:, 0].cpu().numpy()
    flat = IMAGES.reshape(14, -1) / 255
    component = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(first, component)[0, 1]) > 0.99


@pytest.mark.parametrize("name", PIXEL_DISTANCES)
def test_the_distance_is_the_one_that_is_named(name):
    assert type(make_distance(tiny_params(loss__name=name), RUNTIME)) is PIXEL_DISTANCES[name]


def test_the_perceptual_distance_is_frozen_and_has_as_many_blocks_as_asked_for(monkeypatch):
    asked = []

    def two_convolutions(*arguments):
        asked.append(arguments)
        return torch.nn.ModuleList([torch.nn.Conv2d(3, 2, 3), torch.nn.Conv2d(2, 2, 3)]).requires_grad_(False)

    monkeypatch.setattr(recipes, "vgg_blocks", two_convolutions)
    distance = make_distance(tiny_params(loss__name="perceptual", loss__blocks=2), RUNTIME)
    assert isinstance(distance, Perceptual) and asked == [("vgg16", "random", 2, 0)]
    assert distance.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    assert not any(parameter.requires_grad for parameter in distance.parameters())


# --- Subset after subset ---


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_subset_moves_its_own_codes_and_the_generator_and_no_other_code(stages, index):
    before, after = stages[index], stages[index + 1]
    assert changed_rows(before, after) == set(SUBSETS[index])
    pairs = zip(before.generator.parameters(), after.generator.parameters(), strict=True)
    assert not any(torch.equal(*pair) for pair in pairs)
    assert set(np.flatnonzero(after.learned_in == index + 1)) == set(SUBSETS[index])
    assert set(np.flatnonzero(after.learned_in)) == {id for subset in SUBSETS[: index + 1] for id in subset}


def test_the_log_names_the_terms_of_every_stage(stages):
    terms = {}
    for row in stages[-1].log:
        terms.setdefault(row["stage"], []).append([*row][3:])
    later = ["reconstruction", "preservation"]
    names = {"staged 1": ["reconstruction"], "staged 2": later, "staged 3": later}
    epochs = {name: [names[name]] * 3 for name in names}
    assert terms == epochs | {"full": [["reconstruction", "continuity"]] * 2}


def test_preservation_keeps_what_was_learned():
    """With a weight of 0, the earlier images are forgotten."""
    errors = []
    for alpha in (5.0, 0.0):
        params = tiny_params(
            staged__alpha=alpha, generator__ema=0.0, optimizer__generator_rate=0.01, rounds=rounds_of(40)
        )
        model = start_model(IMAGES, params, RUNTIME)
        stage(model, 0, params)
        stage(model, 1, params)
        shown = decode(model.generator, model.codes[torch.from_numpy(SUBSETS[0])], RUNTIME)
        errors.append(np.abs(shown - IMAGES[SUBSETS[0]] / 255).mean())
        assert ("preservation" in model.log[-1]) is (alpha > 0)
    assert errors[0] < 0.7 * errors[1]


def test_no_stream_is_a_global_one(stages):
    torch.manual_seed(12345)
    np.random.seed(12345)
    model = start_model(IMAGES, PARAMS, RUNTIME)
    before = torch.get_rng_state()
    stage(model, 0)
    assert torch.equal(before, torch.get_rng_state())
    assert same_bits(everything(model), everything(stages[1]))


def test_the_album_shows_the_same_images_along_the_stages(stages):
    album, model = stages[-1].album, stages[-1]
    assert len(album.ids) == len(set(album.ids.tolist())) == 12
    assert set(album.ids[:4].tolist()) == set(SUBSETS[0])
    epochs = {"staged 1": (1, 2, 3), "staged 2": (1, 2, 3), "staged 3": (1, 2, 3), "full": (1, 2)}
    assert album.places == [(name, epoch) for name in epochs for epoch in epochs[name]]
    shown = decode(model.generator, model.codes[album.ids], RUNTIME)
    np.testing.assert_allclose(album.frames[-1].numpy(), shown * 255, atol=0.51)


@pytest.mark.parametrize(("index", "rows"), [(1, SUBSETS[0]), (2, np.concatenate(SUBSETS[:2])), (4, np.arange(14))])
def test_batch_norm_is_settled_on_the_codes_that_were_used(stages, index, rows):
    model = stages[index]
    with torch.no_grad():
        expected = model.generator.body[0](model.codes[torch.from_numpy(rows)][:, :, None, None]).mean((0, 2, 3))
    torch.testing.assert_close(model.generator.body[1].running_mean, expected, rtol=1e-4, atol=1e-7)


def test_what_is_learned_is_the_average():
    kept = {}
    for decay in (0.0, 0.99):
        model = start_model(IMAGES, tiny_params(generator__ema=decay), RUNTIME)
        start = model.generator.state_dict()["body.0.weight"].clone()
        stage(model, 0, tiny_params(generator__ema=decay))
        kept[decay] = (model.generator.state_dict()["body.0.weight"] - start).norm()
    assert kept[0.99] < 0.8 * kept[0.0]


def test_a_round_without_epochs_learns_nothing_but_is_on_record():
    params = tiny_params(rounds=rounds_of(0))
    model, start = (start_model(IMAGES, params, RUNTIME) for _ in range(2))
    progress = stage(model, 0, params)
    assert progress.presented == 0 and torch.equal(model.codes, start.codes)
    assert (model.learned_in[SUBSETS[0]] == 1).all() and model.album.places == [("staged 1", 0)]


# --- The full set ---


def test_the_full_set_moves_every_code(stages):
    assert changed_rows(stages[3], stages[4]) == set(range(14))
    torch.testing.assert_close(stages[4].codes.norm(dim=1).cpu(), torch.full((14,), 6**0.5), rtol=1e-5, atol=0)
    np.testing.assert_array_equal(stages[4].learned_in, stages[3].learned_in)


@pytest.mark.parametrize(
    ("alpha", "beta", "sigma", "weights"),
    [
        (1.0, 0.7, 0.3, {"reconstruction": 1.0, "continuity": 0.7}),
        (0.0, 0.7, 0.3, {"continuity": 0.7}),
        (1.0, 0.7, 0.0, {"reconstruction": 1.7}),
        (0.0, 0.7, 0.0, {"reconstruction": 0.7}),
        (1.0, 0.0, 0.3, {"reconstruction": 1.0}),
    ],
)
def test_without_noise_or_its_weight_training_is_plain(monkeypatch, stages, alpha, beta, sigma, weights):
    seen = SimpleNamespace()

    def stop(model, objective, *_, **__):
        seen.objective = objective
        raise InterruptedError

    monkeypatch.setattr(recipes, "fit", stop)
    with pytest.raises(InterruptedError):
        params = tiny_params(alpha=alpha, beta=beta, sigma=sigma)
        learn_all(copy.deepcopy(stages[3]), IMAGES, L1(), params, RUNTIME)
    assert seen.objective.weights == pytest.approx(weights)


def test_a_stage_that_is_killed_and_resumed_from_its_folder_is_the_same(stages, tmp_path, monkeypatch):
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    (tmp_path / "model").mkdir()
    stages[1].save(tmp_path / "model")
    checkpoints, epochs = CheckpointFolder(tmp_path / "run"), []
    take = Previews.after_epoch

    def killed(self, model, epoch):
        take(self, model, epoch)
        epochs.append(epoch)
        if epochs == [1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Previews, "after_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        stage(Model.load(tmp_path / "model", RUNTIME), 1, checkpoints=checkpoints)
    resumed = Model.load(tmp_path / "model", RUNTIME)
    stage(resumed, 1, checkpoints=checkpoints)
    assert epochs == [1, 2, 2, 3]  # from the step before it was killed
    assert same_bits(everything(resumed), everything(stages[2]))


# --- The encoder ---


@pytest.fixture
def learned(stages):
    return copy.deepcopy(stages[-1])


def split(monkeypatch, model: Model) -> tuple[set[int], set[int]]:
    """Ids that the encoder trains on, and those that choose its epoch."""
    kept, held = [], []

    def fit(model, objective, batches, optimizers, observers, **_):
        kept.extend(batches.parts["current"].ids.tolist())
        observers[0].score()
        raise InterruptedError

    def mean_value(term, model, targets, ids, runtime):
        held.extend(ids.tolist())

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(recipes, "fit", fit)
        patch.setattr(recipes, "_mean_value", mean_value)
        learn_encoder(model, IMAGES, PARAMS, RUNTIME)
    return set(kept), set(held)


def test_held_out_images_choose_the_epoch_and_teach_nothing(monkeypatch, learned):
    kept, held = split(monkeypatch, copy.deepcopy(learned))
    assert len(held) == 4 and not kept & held and kept | held == set(range(14))
    weights, scores = [], []
    for spoilt in (None, min(held), min(kept)):
        images, model = IMAGES.copy(), copy.deepcopy(learned)
        if spoilt is not None:
            images[spoilt] = 255 - images[spoilt]
        progress = learn_encoder(model, images, tiny_params(encoder__epochs=1), RUNTIME)
        weights.append({name: value.clone() for name, value in model.encoder.state_dict().items()})
        scores.append(progress.rows[0]["held_out"])
    assert same_bits(weights[0], weights[1]) and not same_bits(weights[0], weights[2])
    assert len(set(scores)) == 3


def test_the_encoder_learns_and_leaves_generator_and_codes_alone(learned):
    before = {name: value.clone() for name, value in learned.state_dict().items()}
    params = tiny_params(encoder__epochs=60, encoder__rate=0.005, encoder__schedule="constant")
    progress = learn_encoder(learned, IMAGES, params, RUNTIME)
    after = learned.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    losses = [row["code_regression"] for row in progress.rows]
    assert losses[-1] < 0.5 * losses[0] and learned.log[-1]["stage"] == "encoder" and len(losses) == 60
    similar = torch.cosine_similarity(encode(learned.encoder, IMAGES, learned.shape, RUNTIME), learned.codes.cpu())
    assert similar.median() > 0.9


def test_the_encoder_is_that_of_its_best_epoch(monkeypatch, learned):
    scores, seen = [3.0, 1.0, 2.0], []

    def mean_value(term, model, *_):
        seen.append({name: value.clone() for name, value in model.encoder.state_dict().items()})
        return scores[len(seen) - 1]

    monkeypatch.setattr(recipes, "_mean_value", mean_value)
    progress = learn_encoder(learned, IMAGES, PARAMS, RUNTIME)
    assert [row["held_out"] for row in progress.rows] == [row["held_out"] for row in learned.log[-3:]] == scores
    assert same_bits(dict(learned.encoder.state_dict()), seen[1]) and not same_bits(seen[1], seen[2])


def test_an_album_of_few_images_shows_them_all():
    album = recipes._empty_album(np.array([2]), 5, seed=0)
    assert isinstance(album, Album) and sorted(album.ids.tolist()) == [0, 1, 2, 3, 4] and album.ids[0] == 2
