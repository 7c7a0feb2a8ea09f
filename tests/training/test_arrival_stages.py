"""Learning of images that arrive later: what is kept, what may change, and that nothing else does."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from iglo.errors import UserError
from iglo.models.glo import GLOModel, encode, render
from iglo.models.history import ArrivalRecord, History
from iglo.models.norms import FixedNorm, fixed_norms
from iglo.runtime.eager import Adam
from iglo.training.arrival_stages import learn_arrival, refresh_encoder
from iglo.training.checkpoints import CheckpointFolder
from iglo.training.encoder_stages import learn_encoder
from iglo.training.glo_stages import learn_all
from iglo.training.replay import NewImages, codes_between, mixed
from tests.ranks import Rank
from tests.tiny import RUNTIME, same_bits, tiny_images, tiny_params, tiny_trainer

FIRST, NEW = tiny_images(12), tiny_images(5, seed=1)
ALL_AT_ONCE = [np.arange(5)]


def params_of(**changes):
    params = tiny_params(full__epochs=40, optimizer__generator_rate=3e-3)
    small = {"epochs": 3, "polish_epochs": 2, "encoder_epochs": 2, "least_steps": 1, "earlier_batch": 6}
    return replace(params, arrival=replace(params.arrival, current_batch=3, **small | changes))


@pytest.fixture(scope="module")
def learned():
    """The model of a first run on FIRST, with an encoder, and its history."""
    trainer = tiny_trainer(FIRST, params_of())
    learn_all(trainer)
    learn_encoder(trainer)
    return trainer.model, trainer.history


def arrive(learned, keep: str, subsets=ALL_AT_ONCE, images=NEW, checkpoints=None, **changes):
    """A copy of the first model after an arrival, its history, and the images seen."""
    model, history = copy.deepcopy(learned)
    earlier = FIRST if keep == "images" else None
    new = NewImages("late", images, subsets, keep, earlier)
    model, state = learn_arrival(model, history, new, params_of(**changes), RUNTIME, checkpoints)
    return model, history, state


def mean_square(model: GLOModel, rows: slice, images: np.ndarray) -> float:
    return float(np.square(render(model.generator, model.codes.values[rows], RUNTIME) - images / 255).mean())


@pytest.mark.parametrize("keep", ["images", "generated", "none"])
def test_earlier_codes_keep_their_rows_and_their_bits(learned, keep):
    model, _, _ = arrive(learned, keep)
    assert torch.equal(model.codes.values[:12], learned[0].codes.values)
    assert len(model.codes.values) == 17


def test_new_codes_start_at_what_the_encoder_finds(learned):
    model, _, _ = arrive(learned, "generated", epochs=1, polish_epochs=0)
    starts = encode(learned[0].encoder, NEW, model.config, RUNTIME)
    moved = (model.codes.values[12:] - starts).norm(dim=1)
    between = torch.cdist(starts, starts).fill_diagonal_(torch.inf).amin(1)
    assert (moved > 0).all() and (moved < between).all()


def test_replay_keeps_what_is_forgotten_without_it(learned):
    before = mean_square(learned[0], slice(12), FIRST)
    forgotten = {}
    for keep in ("images", "generated", "none"):
        model, _, _ = arrive(learned, keep, epochs=60, earlier_batch=12)
        forgotten[keep] = mean_square(model, slice(12), FIRST) / before
        assert mean_square(model, slice(12, 17), NEW) < 0.6 * mean_square(learned[0], slice(5), NEW)
    assert forgotten["images"] < 1.05 and forgotten["generated"] < 1.35
    assert forgotten["none"] > 1.5 * max(forgotten["images"], forgotten["generated"])


def test_images_needs_all_earlier_images(learned):
    new = NewImages("late", NEW, ALL_AT_ONCE, "images", FIRST[:7])
    with pytest.raises(UserError, match=r"arrivals\.late\.keep: images needs the 12 earlier training images, got 7; "):
        learn_arrival(*copy.deepcopy(learned), new, params_of(), RUNTIME)


def test_codes_between_lie_on_the_sphere_between_others(learned):
    codes = codes_between(learned[0], 50, torch.Generator().manual_seed(0))
    radius = learned[0].config.geometry().radius
    torch.testing.assert_close(codes.norm(dim=1), torch.full((50,), radius))
    assert torch.cdist(codes, learned[0].codes.values).amin(1).median() > 0.05 * radius


def test_subsets_are_learned_in_turn_and_then_all_images(learned):
    _, history, state = arrive(learned, "images", subsets=[np.array([1, 3]), np.array([0, 2, 4])])
    stages = [row["stage"] for row in history.log if row["stage"].startswith("late")]
    assert list(dict.fromkeys(stages)) == ["late subset 1", "late subset 2", "late polish"]
    # 3 epochs of one step for each subset, and 2 of two steps, each with noise and without
    assert state.images_seen == 3 * (2 + 6) + 3 * (3 + 6) + 2 * 2 * 2 * (3 + 6)


def test_few_images_are_learned_in_enough_steps(learned):
    model, _, state = arrive(learned, "generated", images=NEW[:1], subsets=[np.array([0])], least_steps=70)
    assert state.images_seen == 70 * (1 + 6) + 70 * (1 + 1 + 6)
    assert mean_square(model, slice(12, 13), NEW[:1]) < 0.5 * mean_square(learned[0], slice(1), NEW[:1])


def test_batch_norm_stays_as_it_was(learned):
    """So the images do not depend on the batch, and a copy of the model before renders the same."""
    model, _, _ = arrive(learned, "images")
    before, after = (dict(each.generator.named_buffers()) for each in (learned[0], model))
    assert before and same_bits(before, after)
    assert not any(isinstance(module, FixedNorm) for module in model.generator.modules())
    codes = model.codes.values
    with fixed_norms(model.generator.train()):
        alone, together = model.generator(codes[:1]), model.generator(codes)
    torch.testing.assert_close(alone, together[:1])


@pytest.mark.parametrize("keep", ["images", "generated", "none"])
def test_the_encoder_learns_the_new_images_and_nothing_else_changes(learned, keep):
    model, history, _ = arrive(learned, keep, epochs=30)
    before = copy.deepcopy({"generator": model.generator.state_dict(), "codes": model.codes.state_dict()})
    new = NewImages("late", NEW, ALL_AT_ONCE, keep, FIRST if keep == "images" else None)

    def error() -> float:
        codes = encode(model.encoder, NEW, model.config, RUNTIME)
        return float((codes - model.codes.values[12:]).square().mean())

    worse = error()
    state = refresh_encoder(model, history, new, params_of(encoder_epochs=60), RUNTIME)
    assert error() < 0.8 * worse and state.images_seen > 0
    assert same_bits(before, {"generator": model.generator.state_dict(), "codes": model.codes.state_dict()})
    assert all(weights.requires_grad for weights in model.generator.parameters())


def test_a_killed_training_resumes_with_the_same_bits(learned, tmp_path, monkeypatch):
    """It is stopped after every stage of the arrival, and in the middle of each."""
    subsets = [np.array([1, 3]), np.array([0, 2, 4])]
    whole, _, _ = arrive(learned, "generated", subsets)
    monkeypatch.setenv("IGLO_CHECKPOINT_SECONDS", "0")
    step, left = Adam.step, [0]

    def stopping(*arguments, **options):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return step(*arguments, **options)

    monkeypatch.setattr(Adam, "step", stopping)
    folder = CheckpointFolder(tmp_path)
    for done in (2, 3, 2):  # of 3 + 3 + 4 steps
        left[0] = done
        with pytest.raises(KeyboardInterrupt):
            arrive(learned, "generated", subsets, checkpoints=folder)
    left[0] = 3
    resumed, _, _ = arrive(learned, "generated", subsets, checkpoints=folder)
    assert left == [0]
    assert same_bits(dict(whole.state_dict()), dict(resumed.state_dict()))


def test_lists_are_mixed_evenly():
    """So every rank, which has a contiguous part, has its share of each list."""
    places = mixed([12, 5, 0, 3])
    assert sorted(np.concatenate(places)) == list(range(20))
    assert all((np.diff(place) > 0).all() for place in places)
    for rank in Rank.of(2):
        half = rank.local_slice(20)
        shares = [int(((place >= half.start) & (place < half.stop)).sum()) for place in places]
        assert shares[0] == 6 and shares[1] in (2, 3) and shares[3] in (1, 2)


def test_the_history_keeps_arrivals(learned, tmp_path):

    history = copy.deepcopy(learned[1])
    history.save(tmp_path)
    assert "arrivals" not in (tmp_path / "history.json").read_text()  # a first run writes what it always wrote
    history.arrivals.append(ArrivalRecord("late", 12, 5, 1, 1, 0, "images", 99))
    history.save(tmp_path)
    assert History.load(tmp_path).arrivals == history.arrivals
