"""What holds for all metrics."""

import inspect
import json

import numpy as np

from iglo.evaluation import metrics


def test_values_are_plain_floats(rng):
    a, b = (rng.random((3, 12, 12, 3)).astype(np.float32) for _ in range(2))
    features = rng.normal(size=(12, 4)).astype(np.float32)
    labels, selected, distances = np.arange(12), np.arange(4), np.arange(1, 9, dtype=np.float32).reshape(4, 2)
    probabilities = rng.dirichlet(np.ones(5), size=3).astype(np.float32)
    values = {
        "l1": metrics.l1(a, b),
        "psnr": metrics.psnr(a, b),
        "ssim": metrics.ssim(a, b),
        "path_length": metrics.path_length(np.ones(3, np.float32), 0.01),
        "jerkiness": metrics.jerkiness(np.ones((2, 4), np.float32)),
        "midpoint_realism": metrics.midpoint_realism(features, features + 1, features),
        "frechet_distance": metrics.frechet_distance(features, features),
        "kernel_distance": metrics.kernel_distance(features, features),
        "kernel_distance_error": metrics.kernel_distance_error(features, features),
        "paired_kernel_distance": metrics.paired_kernel_distance(features, features),
        "subset_kernel_distance": metrics.subset_kernel_distance(features, features, rng, 3, 5),
        "off_code_ratio": metrics.off_code_ratio(0.2, 0.1),
        "precision_recall": metrics.precision_recall(features, features),
        "density_coverage": metrics.density_coverage(features, features),
        "neighbour_errors": metrics.neighbour_errors(features, features, rng, 3),
        "novelty": metrics.novelty(distances, distances),
        "share_closer": metrics.share_closer(distances, distances),
        "mean_error": metrics.mean_error(metrics.copies(distances)),
        "ratio_error": metrics.ratio_error(1.0, 0.1, 2.0, 0.1),
        "bootstrap_error": metrics.bootstrap_error(np.mean, [features], rng, 3),
        "half_sample_error": metrics.half_sample_error(lambda x: (x.mean(), x.std()), [features], rng, 3),
        "cluster_coverage": metrics.cluster_coverage(labels, selected),
        "mean_nearest": metrics.mean_nearest(features, selected),
    }
    arrays = {
        "copies",
        "psnr_of_each",
        "ghost_index",
        "nearest",
        "top_classes",
        "recognised",
        "confidence",
        "nyquist_share",
    }
    functions = {name for name, each in vars(metrics).items() if inspect.isfunction(each)}
    assert values.keys() | arrays == functions
    for name, value in values.items():
        assert {type(each) for each in (value if isinstance(value, tuple) else (value,))} == {float}, name
    assert (
        metrics.recognised(probabilities, np.arange(2)).dtype == metrics.confidence(probabilities).dtype == np.float64
    )
    json.dumps(values, allow_nan=False)
