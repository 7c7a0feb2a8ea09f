"""Selects the most important numbers of a run, to compare runs."""

from fnmatch import fnmatchcase

HEADLINE = (
    "train.recon.psnr",
    "train.encoder.psnr",
    "test.encoder.psnr",
    "interpolation.ppl_*",
    "interpolation.jerkiness_*",
    "interpolation.midpoint_realism_*",
    "samples.kd_*",
    "samples.precision_*",
    "samples.recall_*",
    "samples.novelty_*",
    "train.recon.ssim",
    "train.recon.lpips_*",
    "test.encoder.ssim",
    "test.encoder.lpips_*",
    "memorisation.pixels.share_closer",
)
"""Dotted keys; * is the name of the network that measured."""


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
        elif any(fnmatchcase(prefix + key, name) for name in HEADLINE):
            chosen[key] = value
    return chosen
