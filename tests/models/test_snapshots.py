"""Snapshots: which images they show, and their files."""

import numpy as np
import torch

from iglo.models.snapshots import Snapshots
from tests.tiny import same_bits


def test_snapshots_of_few_images_show_them_all():
    ids = Snapshots.of_random_images(np.array([2]), 5, seed=0).ids.tolist()
    assert sorted(ids) == [0, 1, 2, 3, 4] and ids[0] == 2


def test_snapshots_are_saved_and_loaded(tmp_path):
    snapshots = Snapshots(torch.tensor([4, 1]))
    for epoch in (1, 2):
        snapshots.add("full", epoch, torch.full((2, 3, 3, 1), epoch, dtype=torch.uint8))
    for kept in (snapshots, Snapshots(torch.tensor([], dtype=torch.int64))):
        kept.save(tmp_path)
        assert same_bits(vars(Snapshots.load(tmp_path)), vars(kept))
