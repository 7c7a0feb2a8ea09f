"""Selects the most important numbers of a run, to compare runs."""

from fnmatch import fnmatchcase

HEADLINE = (
    "train.recon.psnr",
    "train.recon.ssim",
    "train.recon.lpips_*",
    "train.encoder.psnr",
    "test.encoder.psnr",
    "test.encoder.ssim",
    "test.encoder.lpips_*",
    "test.images.recognised_*",
    "real.kd_*",
    "noise.kd_*",
    "reconstructions.kd_*",
    "reconstructions.recognised_*",
    "midpoints.kd_*",
    "midpoints.recognised_*",
    "samples.kd_*",
    "samples.se.kd_*",
    "samples.recognised_*",
    "samples.precision_*",
    "samples.recall_*",
    "samples.density_*",
    "samples.coverage_*",
    "samples.novelty_*",
    "samples.copy_rate_*",
    "samples.fid_inception",
    "samples.kid_inception",
    "off_code.samples_*",
    "off_code.midpoints_*",
    "interpolation.ppl_*",
    "interpolation.jerkiness_*",
    "interpolation.midpoint_realism_*",
    "interpolation.ghost_index",
    "interpolation.ghost_index_real",
    "memorisation.pixels.share_closer",
    "memorisation.features_*.copy_rate_test",
    "lines.*",
    "counts.*",
)
"""Dotted keys; * is the name of the network that measured, or any name without a dot."""


def headline(values: dict, prefix: str = "") -> dict:
    """Returns the numbers of `values` that HEADLINE names, nested and in the order of `values`.

    Args:
        prefix: the dotted key of `values` in all metrics, ending with a dot.
    """
    chosen = {}
    for key, value in values.items():
        if isinstance(value, dict):
            if inner := headline(value, f"{prefix}{key}."):
                chosen[key] = inner
        elif any(_matches(prefix + key, name) for name in HEADLINE):
            chosen[key] = value
    return chosen


def _matches(key: str, name: str) -> bool:
    parts, wanted = key.split("."), name.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
