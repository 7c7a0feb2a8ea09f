"""Codes: tables side by side, where they may lie, their folder; and their start against an SVD."""

import math

import numpy as np
import pytest
import torch

from iglo.models import codes
from iglo.models.codes import Codes, CodeTable, Shard, normal_codes, pca_codes
from iglo.models.config import TableConfig
from iglo.models.geometry import Ball, Euclidean, Sphere
from iglo.training.optimizers import RowAdam
from tests.ranks import Rank
from tests.tiny import RUNTIME, generator, peak_bytes, same_bits, tiny_images

FREE = Euclidean(1.0)


def table_of(count=6, dimension=4, geometry=FREE, keys=None, noisy=True) -> CodeTable:
    return CodeTable(geometry.sample(count, dimension, generator()), geometry, keys, noisy)


def test_images_of_a_label_share_a_code():
    labels = torch.tensor([0, 1, 1, 0, 2])
    table = Codes(image=table_of(5, 3), label=table_of(3, 2, keys=labels))
    before = table(torch.arange(5)).detach()
    assert before.shape == (5, 5) and table.dimension == 5
    assert torch.equal(before[1, 3:], before[2, 3:]) and not torch.equal(before[0, 3:], before[1, 3:])


def test_the_columns_of_each_table_are_projected_by_its_geometry():
    table = Codes(ball=table_of(5, 3, Ball(0.5)), free=table_of(5, 2), sphere=table_of(5, 4, Sphere(2.0)))
    codes = torch.randn(7, 9, generator=generator()).requires_grad_(True)
    projected = table.project(codes)
    expected = [Ball(0.5).project(codes[:, :3]), codes[:, 3:5], Sphere(2.0).project(codes[:, 5:])]
    assert torch.equal(projected, torch.cat(expected, dim=1)) and not torch.equal(projected[:, :3], codes[:, :3])
    projected.sum().backward()
    assert codes.grad[:, 3:5].eq(1).all() and codes.grad.ne(0).any(1).all()


def test_starting_codes_are_not_projected():
    """Projecting what is projected changes last bits: a model that is loaded would not be the one that was saved."""
    codes = torch.randn(5, 4, generator=generator())
    assert torch.equal(CodeTable(codes, Sphere(2.0)).weight, codes)


def test_noise_has_its_scale_and_its_stream():
    table, codes = Codes(image=table_of(dimension=10)), torch.zeros(2000, 10, requires_grad=True)
    noise = table.noise(codes, 0.3, generator(1))
    assert noise.std().item() == pytest.approx(0.3, rel=0.02) and not noise.requires_grad
    assert torch.equal(noise, table.noise(codes, 0.3, generator(1)))
    assert not torch.equal(noise, table.noise(codes, 0.3, generator(2)))


def test_noise_reaches_only_noisy_tables_and_its_stream_is_the_same_for_all():
    codes, stream = torch.zeros(50, 7), 0.3 * torch.randn(50, 7, generator=generator(1))
    quiet = Codes(label=table_of(3, 2, noisy=False), image=table_of(50, 3), other=table_of(5, 2, noisy=False))
    plain = Codes(label=table_of(3, 2), image=table_of(50, 3), other=table_of(5, 2))
    assert torch.equal(plain.noise(codes, 0.3, generator(1)), stream)
    noise = quiet.noise(codes, 0.3, generator(1))
    assert torch.equal(noise[:, 2:5], stream[:, 2:5]) and not noise[:, :2].any() and not noise[:, 5:].any()


def test_a_batch_moves_its_labels_and_its_images_and_no_other_code():
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    table = Codes(label=table_of(3, 2, keys=labels), image=table_of(6, 3))
    slopes = torch.randn(3, 5, generator=generator(1))
    before = [part.weight.detach().clone() for part in table.tables.values()]
    (table(torch.tensor([0, 3, 4])) * slopes).sum().backward()
    label, image = (part.weight.grad.to_dense() for part in table.tables.values())
    torch.testing.assert_close(label, torch.stack([slopes[0, :2] + slopes[1, :2], slopes[2, :2], torch.zeros(2)]))
    assert torch.equal(image[[0, 3, 4]], slopes[:, 2:]) and not image[[1, 2, 5]].any()
    RowAdam(list(table.tables.values()), 0.1).step()
    moved = [part.weight - start for part, start in zip(table.tables.values(), before, strict=True)]
    for step, gradient in zip(moved, (label, image), strict=True):
        torch.testing.assert_close(step, -0.1 * gradient.sign(), rtol=1e-4, atol=1e-6)


CONFIGS = {"label": TableConfig(2, FREE, shared=True, noisy=False), "image": TableConfig(3, Sphere(2.0))}


def labelled() -> Codes:
    """Six images of three labels."""
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    return Codes(label=table_of(3, 2, keys=labels, noisy=False), image=table_of(6, 3, Sphere(2.0)))


def test_values_and_codes_of_some_images_are_rows_of_the_same_codes():
    codes = labelled()
    expected = torch.cat([codes.tables["label"].weight[[0, 1, 2, 0, 1, 2]], codes.tables["image"].weight], dim=1)
    assert torch.equal(codes.values, expected) and not codes.values.requires_grad
    some = codes.of(np.array([5, 0]))
    assert torch.equal(some, expected[[5, 0]]) and not some.requires_grad


def test_codes_are_saved_and_loaded_with_their_tables(tmp_path):
    codes = labelled()
    codes.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"label_codes.npy", "label_keys.npy", "image_codes.npy"}
    back = Codes.load(tmp_path, CONFIGS, RUNTIME)
    assert same_bits(dict(back.state_dict()), dict(codes.state_dict())) and torch.equal(back.values, codes.values)
    for name, config in CONFIGS.items():
        table = back.tables[name]
        assert (table.geometry, table.noisy, table.weight.by_image) == (
            config.geometry,
            config.noisy,
            not config.shared,
        )


def test_each_rank_saves_and_loads_its_own_rows(tmp_path):
    whole = Sphere(2.0).sample(7, 3, generator())
    for rank in Rank.of(3):
        block = rank.local_slice(7)
        table = CodeTable(whole[block].clone(), Sphere(2.0), shard=Shard(block.start, 7))
        Codes(image=table).save(tmp_path, rank.is_main)
    for ranks in (1, 2, 3):
        for rank in Rank.of(ranks):
            codes, ids = Codes.load(tmp_path, {"image": CONFIGS["image"]}, rank), rank.local_ids(np.arange(7), 7)
            assert torch.equal(codes.values, whole[rank.local_slice(7)]) and torch.equal(
                codes.of(ids[-1:]), whole[ids[-1:]]
            )
            assert codes.tables["image"].shard == Shard(rank.local_slice(7).start, 7)


def test_recombined_codes_have_the_shared_code_of_another_image():
    codes = labelled()
    before, after = codes.values, codes.recombine(codes.values, generator())
    assert torch.equal(before[:, 2:], after[:, 2:]) and not torch.equal(before[:, :2], after[:, :2])
    assert torch.equal(before[:, :2].sort(dim=0).values, after[:, :2].sort(dim=0).values)
    plain = Codes(image=table_of())
    assert torch.equal(plain.recombine(plain.values, generator()), plain.values)


def test_pca_codes_are_principal_components_of_the_images():
    images, geometry = tiny_images(40, channels=3), Euclidean(3.0)
    codes = pca_codes(images, 5, geometry, generator()).numpy()
    flat = images.reshape(40, -1) / 255
    components = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:5]
    expected = (flat - flat.mean(0)) @ components.T
    for axis in range(5):
        assert abs(np.corrcoef(codes[:, axis], expected[:, axis])[0, 1]) > 0.99
    np.testing.assert_allclose(codes.std(0) / codes.std(), expected.std(0) / expected.std(), rtol=0.02)


def test_codes_are_the_same_from_chunks_as_at_once(monkeypatch):
    images = tiny_images(40)
    at_once = pca_codes(images, 5, FREE, generator())
    monkeypatch.setattr(codes, "PCA_CHUNK", 7)
    torch.testing.assert_close(pca_codes(images, 5, FREE, generator()), at_once, rtol=1e-4, atol=1e-5)


def test_memory_holds_a_chunk_of_images_at_a_time(monkeypatch, mapped_images):
    monkeypatch.setattr("iglo.models.codes.PCA_CHUNK", 256)
    monkeypatch.setattr("iglo.models.codes.PCA_IMAGES", 200)
    codes, peak = peak_bytes(lambda: pca_codes(mapped_images, 5, FREE, generator()))
    assert codes.shape == (len(mapped_images), 5) and peak < mapped_images.nbytes / 4


@pytest.mark.parametrize("geometry", [FREE, Ball(3.0), Sphere(3.0)])
@pytest.mark.parametrize("dimension", [5, 60])
def test_pca_codes_have_the_radius_as_their_length(geometry, dimension):
    codes = pca_codes(tiny_images(20), dimension, geometry, generator())
    assert codes.shape == (20, dimension) and codes.dtype == torch.float32
    length = codes.square().sum(1).mean().sqrt().item()
    if isinstance(geometry, Ball):
        assert 0.7 * geometry.radius < length and codes.norm(dim=1).max() <= geometry.radius * (1 + 1e-6)
    else:
        assert length == pytest.approx(geometry.radius, rel=0.001)
    assert codes.std(0).min() > 0  # beyond the rank too, codes differ
    assert torch.equal(codes, pca_codes(tiny_images(20), dimension, geometry, generator()))


def test_pca_codes_of_large_images_are_those_of_block_means():
    small = tiny_images(20).repeat(2, 1).repeat(2, 2)
    signs = np.random.default_rng(0).choice([-20, 20], (20, 32, 32, 1)).repeat(4, 1).repeat(4, 2)
    fine = signs * np.where(np.indices((128, 128)).sum(0) % 2, 1, -1)[None, :, :, None]  # gone in a block's mean
    large = (small.repeat(4, 1).repeat(4, 2).clip(20, 235) + fine).astype(np.uint8)
    codes = [pca_codes(images, 4, FREE, generator()) for images in (small.clip(20, 235), large)]
    torch.testing.assert_close(*codes, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_identical_images_have_codes_too():
    codes = pca_codes(np.zeros((4, 16, 16, 1), np.uint8), 6, Sphere(3.0), generator())
    torch.testing.assert_close(codes.norm(dim=1), torch.full((4,), 3.0), rtol=1e-5, atol=0)


def test_normal_codes_are_draws_of_the_prior():
    codes = normal_codes(3000, 8, Euclidean(math.sqrt(8)), generator())
    assert codes.std().item() == pytest.approx(1, rel=0.02)
