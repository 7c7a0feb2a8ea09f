"""Selects the most important numbers of a run, or of an arrival, to compare runs."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

HEADLINE = (
    "train.recon.psnr",
    "train.encoder.psnr",
    "test.encoder.psnr",
    "samples.kd_*",
    "midpoints.kd_*",
    "graph_midpoints.kd_*",
    "reconstructions.kd_*",
    "real.kd_*",
    "noise.kd_*",
    "samples.recognised_*",
    "midpoints.recognised_*",
    "graph_midpoints.recognised_*",
    "reconstructions.recognised_*",
    "test.images.recognised_*",
    "off_code.samples_*",
    "off_code.midpoints_*",
    "off_code.graph_midpoints_*",
    "interpolation.ghost_index",
    "interpolation.ghost_index_graph",
    "interpolation.ghost_index_real",
    "interpolation.ppl_*",
    "interpolation.jerkiness_*",
    "interpolation.midpoint_realism_*",
    "lines.mean_distance",
    "lines.smoothness",
    "samples.se.kd_*",
    "samples.precision_*",
    "samples.recall_*",
    "samples.density_*",
    "samples.coverage_*",
    "samples.novelty_*",
    "samples.copy_rate_*",
    "graph_midpoints.copy_rate_*",
    "samples.fid_inception",
    "samples.kid_inception",
    "memorisation.features_*.copy_rate_test",
    "memorisation.pixels.share_closer",
    "train.recon.ssim",
    "train.recon.lpips_*",
    "test.encoder.ssim",
    "test.encoder.lpips_*",
    "counts.train",
    "counts.validation",
    "counts.test",
    "counts.samples",
    "counts.midpoints",
)
"""Dotted keys, the most important first; * is the name of the network that measured."""


OF_ARRIVAL = (
    "forgetting.train.*",
    "forgetting.test.*",
    "first_run.forgetting.psnr",
    "learning.train.*",
    "learning.test.*",
    "transfer.psnr",
    "earlier.train.after.psnr",
    "earlier.train.against_renders.psnr",
    "earlier.test.after.psnr",
    "new.train.after.psnr",
    "new.test.after.psnr",
    "reference.scratch.psnr",
    "reference.worse.psnr",
    "samples.before.kd_*",
    "samples.after.kd_*",
    "cost.*",
    "counts.first_run",
    "counts.earlier_arrivals",
    "counts.known",
    "counts.new.*",
)
"""The same for the numbers of an arrival."""


def headline(values: dict, names: Sequence[str] = HEADLINE, prefix: str = "") -> dict:
    """Returns the most important numbers of `values`, nested and in the order of `values`.

    Args:
        names: their dotted keys.
        prefix: the dotted key of `values` in all metrics, ending with a dot.
    """
    chosen = {}
    for key, value in values.items():
        if isinstance(value, dict):
            if inner := headline(value, names, f"{prefix}{key}."):
                chosen[key] = inner
        elif any(_matches(prefix + key, name) for name in names):
            chosen[key] = value
    return chosen


def _matches(key: str, name: str) -> bool:
    parts, wanted = key.split("."), name.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
