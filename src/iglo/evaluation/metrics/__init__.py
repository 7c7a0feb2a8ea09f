"""The measures of iglo as functions: images, features or distances in, finite floats in float64 out."""

from iglo.evaluation.metrics.distributions import (
    FEWEST_FOR_DISTANCE,
    FEWEST_FOR_DISTANCE_ERROR,
    frechet_distance,
    kernel_distance,
    kernel_distance_error,
    off_code_ratio,
    paired_kernel_distance,
    subset_kernel_distance,
)
from iglo.evaluation.metrics.errors import bootstrap_error, half_sample_error, mean_error, ratio_error
from iglo.evaluation.metrics.neighbours import (
    FEWEST_FOR_DENSITY,
    FEWEST_FOR_NEIGHBOUR_ERRORS,
    FEWEST_FOR_PRECISION,
    copies,
    density_coverage,
    nearest,
    neighbour_errors,
    novelty,
    precision_recall,
    share_closer,
)
from iglo.evaluation.metrics.paths import ghost_index, jerkiness, midpoint_realism, path_length
from iglo.evaluation.metrics.recognition import confidence, recognised, top_classes
from iglo.evaluation.metrics.reconstruction import l1, psnr, psnr_of_each, ssim
from iglo.evaluation.metrics.spectrum import nyquist_share
from iglo.evaluation.metrics.split import cluster_coverage, mean_nearest
