"""The few numbers of a run that one compares from run to run."""

from fnmatch import fnmatchcase

HEADLINE = (
    "train.recon.psnr",
    "train.recon.ssim",
    "train.recon.lpips_*",
    "train.encoder.psnr",
    "test.encoder.psnr",
    "test.encoder.ssim",
    "test.encoder.lpips_*",
    "interpolation.ppl_*",
    "interpolation.jerkiness_*",
    "interpolation.midpoint_realism_*",
    "samples.kd_*",
    "samples.precision_*",
    "samples.recall_*",
    "samples.novelty_*",
    "memorisation.pixels.share_closer",
)
"""Dotted names; * stands for the network that measured."""


def headline(values: dict, prefix: str = "") -> dict:
    """The numbers of `values` that HEADLINE names, nested and ordered as there.

    Args:
        prefix: the dotted name of the place of `values` in the whole, with a dot at its end.
    """
    chosen = {}
    for key, value in values.items():
        if isinstance(value, dict):
            if inner := headline(value, f"{prefix}{key}."):
                chosen[key] = inner
        elif any(fnmatchcase(prefix + key, name) for name in HEADLINE):
            chosen[key] = value
    return chosen
