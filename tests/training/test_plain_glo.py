"""Plain GLO learns nothing in the rounds, and sees as many images as the incremental method sees in all stages."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from iglo.training.glo_stages import images_seen_in_all_stages, learn_all, learn_subset
from iglo.training.loop import RunState
from iglo.training.trainer import Trainer
from tests.tiny import rounds_of, same_bits, tiny_images, tiny_params, tiny_trainer

IMAGES, GLO = tiny_images(14), tiny_params(method="glo")
SUBSETS = [np.array([1, 4, 6, 9]), np.array([0, 2, 12, 13]), np.array([3, 5, 7, 8, 10, 11])]


def begin(params) -> Trainer:
    return tiny_trainer(IMAGES, params)


def learn_whole(params) -> tuple[Trainer, list[RunState]]:
    """All stages, one after the other."""
    trainer = begin(params)
    return trainer, [*(learn_subset(trainer, subset, i) for i, subset in enumerate(SUBSETS)), learn_all(trainer)]


def test_plain_glo_learns_nothing_before_the_full_set():
    trainer, start, incremental = begin(GLO), begin(GLO), begin(tiny_params(rounds=rounds_of(0)))
    for index, subset in enumerate(SUBSETS):
        learn_subset(incremental, subset, index)
        assert learn_subset(trainer, subset, index) == RunState()
    history, expected = trainer.history, incremental.history
    assert same_bits(dict(trainer.model.state_dict()), dict(start.model.state_dict())) and not history.log
    np.testing.assert_array_equal(history.subset_id, expected.subset_id)
    assert torch.equal(history.snapshots.ids, expected.snapshots.ids) and not history.snapshots.places


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sigma": 0.0},
        {"alpha": 0.0},
        {"staged__alpha": 0.0},
        {"staged__earlier_batch": 35, "staged__current_batch": 50, "full__batch_size": 75},
        {"rounds": tuple(replace(item, epochs=epochs) for item, epochs in zip(rounds_of(1), (0, 4, 2), strict=True))},
    ],
    ids=["all", "no noise", "noise alone", "nothing kept", "one batch", "epochs that differ"],
)
def test_plain_glo_sees_as_many_images_as_all_stages(changes):
    changes = {"full__epochs": 1, "rounds": rounds_of(2), **changes}
    images_seen = sum(state.images_seen for state in learn_whole(tiny_params(**changes))[1])
    params = tiny_params(method="glo", **changes)
    assert images_seen_in_all_stages([4, 4, 6], params) == images_seen
    trainer, states = learn_whole(params)
    epoch = states[-1].rows[0]["images_seen"]
    assert abs(states[-1].images_seen - images_seen) <= epoch / 2
    assert {row["stage"] for row in trainer.history.log} == {"full"}
    assert not torch.equal(begin(params).model.codes.values, trainer.model.codes.values)


def test_plain_glo_has_no_noise():
    params = tiny_params(method="glo", full__epochs=1, rounds=rounds_of(0), beta=0.7, sigma=0.3)
    log = learn_whole(params)[0].history.log
    assert [*log[-1]] == ["stage", "epoch", "images_seen", "loss", "reconstruction"]
    assert log[-1]["images_seen"] == 30  # two epochs of three batches of five, as one of clean and noisy codes
