"""The split into subsets, compared with scikit-learn and brute force, and its rules."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from iglo.errors import UserError
from iglo.params.pipeline import ClusterParams, RoundParams
from iglo.subsets.clustering import (
    CHUNK,
    Clusters,
    assert_partition,
    cluster_images,
    everything,
    fit_kmeans,
    fit_pca,
    nearest_to_centroids,
    select_images,
)
from tests import chain, pipeline

ROUND = RoundParams(id=1, after=0, clusters=5, per_cluster=3, epochs=1)
PARAMS = ClusterParams(components=4, minibatch_above=1000)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=5, size=(5, 20))
    return (centres[rng.integers(5, size=60)] + rng.normal(size=(60, 20)) + 3).astype(np.float32)


# --- PCA ---


def test_pca_is_centred_and_equals_scikit_learn(features):
    points = fit_pca(features, 4, seed=0)
    assert points.shape == (60, 4) and points.dtype == np.float32
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(points, PCA(4).fit_transform(features), rtol=1e-3, atol=1e-3)


def test_pca_of_some_rows_with_fewer_components(features):
    rows = np.array([3, 8, 9])
    np.testing.assert_array_equal(fit_pca(features, 100, 0, rows=rows), fit_pca(features[rows], 100, 0))
    assert fit_pca(features, 100, 0, rows=rows).shape == (3, 3)
    assert fit_pca(features, 100, 0).shape == (60, 20)
    assert fit_pca(features[:1], 100, 0).shape == (1, 1)


@pytest.mark.filterwarnings("error")
def test_pca_of_identical_images_is_zero():
    np.testing.assert_array_equal(fit_pca(np.ones((4, 3), np.float32), 2, 0), np.zeros((4, 2)))


def test_pca_in_batches_finds_the_same_space():
    rng = np.random.default_rng(0)
    scales = np.r_[10, 5, 2, np.full(27, 0.01)]
    features = (rng.normal(size=(700, 30)) * scales + 2).astype(np.float32)
    whole, parts = fit_pca(features, 3, 0), fit_pca(features, 3, 0, large=1)
    assert parts.dtype == np.float32
    np.testing.assert_allclose(whole, parts, atol=0.01)


# --- k-means ---


def test_kmeans_equals_scikit_learn_and_repeats(features):
    labels, centroids = fit_kmeans(features, 5, seed=3, minibatch_above=1000)
    oracle = KMeans(5, n_init=10, random_state=3).fit(features)
    np.testing.assert_array_equal(labels, oracle.labels_)
    np.testing.assert_allclose(centroids, oracle.cluster_centers_, rtol=1e-5)
    again = fit_kmeans(features, 5, seed=3, minibatch_above=1000)
    assert labels.dtype == np.int32 and centroids.tobytes() == again[1].tobytes()


def test_mini_batches_find_well_separated_clusters():
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=400)
    points = np.eye(4, dtype=np.float32)[truth] * 20 + rng.normal(size=(400, 4)).astype(np.float32)
    labels, _ = fit_kmeans(points, 4, seed=0, minibatch_above=100)
    assert len({(a, b) for a, b in zip(truth, labels, strict=True)}) == 4


@pytest.mark.filterwarnings("error")
def test_fewer_distinct_images_than_clusters_leave_clusters_empty():
    labels, centroids = fit_kmeans(np.ones((5, 2), np.float32), 3, seed=0, minibatch_above=10)
    assert set(labels) == {0} and centroids.shape == (3, 2)


# --- The nearest to each centroid ---


def test_nearest_equals_brute_force():
    rng = np.random.default_rng(0)
    points, centroids = rng.normal(size=(50, 3)), rng.normal(size=(6, 3))
    labels = rng.integers(5, size=50)  # cluster 5 is empty
    labels[labels == 2] = 1
    labels[7] = 2  # a cluster of one, fewer than asked for
    expected = []
    for cluster in range(6):
        members = [row for row in range(50) if labels[row] == cluster]
        members.sort(key=lambda row: sum((points[row] - centroids[labels[row]]) ** 2) ** 0.5)
        expected += [(cluster, rank, row) for rank, row in enumerate(members[:4])]
    index, rank, distance = nearest_to_centroids(points, labels, centroids, 4)
    assert list(zip(labels[index], rank, index, strict=True)) == expected
    np.testing.assert_allclose(distance, np.linalg.norm(points[index] - centroids[labels[index]], axis=1))


def test_distances_in_chunks_equal_those_at_once():
    rng, count = np.random.default_rng(0), 2 * CHUNK + 3
    points, centroids = rng.normal(size=(count, 3)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)
    labels = rng.integers(6, size=count)
    index, _, distance = nearest_to_centroids(points, labels, centroids, None)
    at_once = np.linalg.norm(points.astype(np.float64) - centroids[labels], axis=1)
    np.testing.assert_array_equal(distance, at_once[index])


def test_the_lowest_row_comes_first_in_ties_and_none_takes_all():
    points, labels = np.array([[1.0], [-1.0], [1.0], [0.0]]), np.zeros(4, int)
    assert nearest_to_centroids(points, labels, np.zeros((1, 1)), 3).index.tolist() == [3, 0, 1]
    assert nearest_to_centroids(points, labels, np.zeros((1, 1)), None).index.tolist() == [3, 0, 1, 2]


# --- Rounds ---


def test_rounds_split_the_images_into_disjoint_subsets_by_id(features, tmp_path):
    selection, subsets = everything(60), []
    for item in (ROUND, replace(ROUND, id=2, clusters=4), replace(ROUND, id=3, clusters=1, per_cluster=None)):
        clusters = cluster_images(features, selection.rest, item, PARAMS, seed=0)
        clusters.save(tmp_path)
        selection = select_images(Clusters.load(tmp_path), item)
        subsets.append(selection.chosen)
    assert [len(subset) for subset in subsets[:2]] == [15, 12] and len(selection.rest) == 0
    assert_partition(subsets, 60)
    assert all(np.all(np.diff(subset) > 0) for subset in subsets)


def test_the_table_by_cluster_has_ids(features, tmp_path):
    ids = np.arange(10, 60)
    clusters = cluster_images(features, ids, ROUND, PARAMS, seed=0)
    selection = select_images(clusters, ROUND)
    for cluster, rank, image, distance in selection.by_cluster:
        row = np.flatnonzero(ids == image)[0]
        offsets = np.linalg.norm(clusters.points - clusters.centroids[cluster], axis=1)
        assert clusters.labels[row] == cluster and distance == pytest.approx(offsets[row], abs=1e-4)
        assert np.sum(offsets[clusters.labels == cluster] < distance - 1e-4) == rank
    selection.save(tmp_path)
    lines = (tmp_path / "by_cluster.csv").read_text().splitlines()
    assert lines[0] == "cluster,rank,id,distance" and len(lines) == 16


def test_more_clusters_than_images_is_one_sentence(features):
    with pytest.raises(UserError, match=r"^rounds\.1\.clusters: .* images left, 4, got 5; [^\n]*$"):
        cluster_images(features, np.arange(4), replace(ROUND, id=2), PARAMS, seed=0)


def test_a_round_that_leaves_nothing_for_the_next_is_one_sentence(features):
    item = replace(ROUND, per_cluster=60)
    clusters = cluster_images(features, np.arange(60), item, PARAMS, seed=0)
    with pytest.raises(UserError, match=r"^rounds\.0: takes all 60 images .*fewer rounds\.$"):
        select_images(clusters, item)


@pytest.mark.parametrize(
    ("subsets", "words"), [([[0, 1], [1, 2]], "1 repeated, 0 missing"), ([[0], [2]], "0 repeated, 1 missing")]
)
def test_subsets_that_are_no_partition_are_refused(subsets, words):
    with pytest.raises(RuntimeError, match=words):
        assert_partition(subsets, 3)


# --- Too few images, found when they are counted ---


@pytest.mark.parametrize(
    ("clusters", "broken", "message"),
    [
        (17, False, "rounds.0.clusters: must be at most 16, since there are 16 training images, got 17;"),
        (15, True, "rounds.1.clusters: must be at most 0, since there are 15 training images, of which "),
    ],
)
def test_too_many_clusters_are_refused_when_images_are_counted(clusters, broken, message, tmp_path, capsys):
    chain.write_images(tmp_path / chain.IMAGES, 0, 20)
    if broken:
        (tmp_path / chain.IMAGES / "digit-0.png").write_bytes(b"none")
    split = {"rounds.0.clusters": clusters, "rounds.0.per_cluster": 1}
    parts = {"data.train": None, "data.validation": 0, "data.test": 4}
    values = chain.params(**parts, **split, **{"data.on_error": "skip"})
    chain.write_params(tmp_path, values)
    with pytest.raises(SystemExit):
        chain.run(tmp_path, next(stage for stage in pipeline.stages(params=values) if stage.name == "prepare"))
    assert f"error: {message}" in capsys.readouterr().err


def test_one_component_is_enough(features):
    clusters = cluster_images(features, np.arange(60), ROUND, replace(PARAMS, components=1), seed=0)
    assert clusters.points.shape == (60, 1) and len(set(clusters.labels.tolist())) == 5
