"""The meaning of every measure, for the page of a run."""

import math
from dataclasses import dataclass, replace

MOST_DECIMALS = 5  # smaller numbers are written with a power of ten


@dataclass(frozen=True)
class Measure:
    """A measure.

    Attributes:
        title: the title of its column.
        meaning: one or two sentences.
        better: which values are better, in words.
        aim: the value of a perfect run or of real images.
        form: the format of its values.
        feature_network: the name of the network that measured, if any.
    """

    title: str
    meaning: str = ""
    better: str = ""
    aim: str = ""
    form: str = ".3g"
    feature_network: str | None = None

    def by(self, feature_network: str | None) -> "Measure":
        """Returns this measure with another feature network."""
        return replace(self, feature_network=feature_network)

    def shown(self, value: float | None, error: float | None = None) -> str:
        """Returns the value and its standard error as text, or a dash if it was not measured."""
        return "–" if value is None else with_error(value, error, self.form)


def with_error(value: float, error: float | None, form: str) -> str:
    """Returns a value and its standard error as text, such as `0.123 ± 0.012`.

    Args:
        error: None: not known.
        form: the format of both; `.3g` shows as many decimals as the error has with two digits.
    """
    if error is None or not math.isfinite(error):
        return format(value, form)
    if form.endswith("g") and error > 0:
        decimals = max(0, 1 - math.floor(math.log10(error)))
        if decimals <= MOST_DECIMALS:
            form = f".{decimals}f"
    return f"{value:{form}} ± {error:{form.replace('.3g', '.2g')}}"


MEASURES = {
    "l1": Measure("L1", "Mean absolute difference of pixels in [0, 1].", "lower is better", "0"),
    "psnr": Measure(
        "PSNR, dB",
        "Peak signal-to-noise ratio. Above about 30 dB the eye hardly sees a difference.",
        "higher is better",
        form=".2f",
    ),
    "ssim": Measure("SSIM", "Structural similarity.", "higher is better", "1", ".3f"),
    "lpips": Measure("LPIPS", "Distance between two images in the features of a network.", "lower is better", "0"),
    "ppl": Measure("path length", "Perceptual path length: how fast images change along a path.", "lower is better"),
    "jerkiness": Measure(
        "jerkiness",
        "Largest step of a path, divided by its mean step.",
        "nearer to 1 is better",
        "1",
        ".2f",
    ),
    "midpoint_realism": Measure(
        "midpoint realism",
        "Distance from the middle of a path to the nearest training image, divided by the same for reconstructions.",
        "nearer to 1 is better",
        "1",
        ".2f",
    ),
    "feature_path_length": Measure(
        "path length in features",
        "Length of a path in the network's features, the mean over paths.",
        "lower is better",
    ),
    "feature_jerkiness": Measure(
        "jerkiness in features",
        "Largest step of a path in the network's features, divided by its mean step.",
        "nearer to 1 is better",
        "1",
        ".2f",
    ),
    "ghost_index_real": Measure(
        "ghost index of real images",
        "The same for a test image in the place of the midpoint: images that are alike share some detail.",
        form=".3f",
    ),
    "ghost_index_graph": Measure(
        "ghost index along the graph",
        "The same for midpoints of the same pairs along the graph of codes. Read the copy rate of these midpoints too.",
        "nearer to that of real images is better",
        form=".3f",
    ),
    "ghost_index": Measure(
        "ghost index",
        "How much of the fine detail of a midpoint is the mixed detail of its two ends. 1: one image lies on top of "
        "the other. 0: the midpoint has detail of its own.",
        "nearer to that of real images is better",
        form=".3f",
    ),
    "validation_kd": Measure(
        "kernel distance, validation",
        "The number that chose: the distance between samples, which are not those of the other columns, and the "
        "validation images.",
        "lower is better",
        "0",
    ),
    "kd": Measure(
        "kernel distance",
        "Distance between the features of the set and those of the test images. Compare it with that of real images "
        "and of noise.",
        "lower is better",
        "0",
    ),
    "fd": Measure(
        "Fréchet distance",
        "Distance between two Gaussians: one is fitted to the features of the set, one to those of the test images.",
        "lower is better",
        "0",
    ),
    "kid_inception": Measure(
        "KID", "The kernel distance in the features of Inception, as it is published.", "lower is better", "0"
    ),
    "fid_inception": Measure(
        "FID", "The Fréchet distance in the features of Inception, as it is published.", "lower is better", "0"
    ),
    "off_code": Measure(
        "off-code ratio",
        "Kernel distance of the set, divided by that of reconstructions. 1: images between and beside the codes are as "
        "real as those of the codes.",
        "nearer to 1 is better",
        "1",
        ".2f",
    ),
    "recognised": Measure(
        "recognised",
        "Mean probability that the network gives to the classes of real images. Compare it with that of real images.",
        "higher is better",
        form=".3f",
    ),
    "confidence": Measure(
        "confidence",
        "Mean of the largest probability that the network gives to a class, whichever it is.",
        "higher is better",
        "1",
        ".3f",
    ),
    "precision": Measure(
        "precision",
        "Share of the set that looks real: it lies nearer to a test image than that image's third nearest.",
        "higher is better",
        "1",
        ".3f",
    ),
    "recall": Measure(
        "recall", "Share of test images that are similar to images of the set.", "higher is better", "1", ".3f"
    ),
    "density": Measure(
        "density",
        "In how many neighbourhoods of test images an image of the set lies, as a share of what real images have. "
        "Unlike precision, it does not trust a single odd test image.",
        "nearer to 1 is better",
        "1",
        ".2f",
    ),
    "coverage": Measure(
        "coverage",
        "Share of test images with an image of the set in their neighbourhood.",
        "higher is better",
        "1",
        ".3f",
    ),
    "novelty": Measure(
        "novelty",
        "Distance from the set to the nearest training image, divided by the same for test images. Near 0: copies.",
        "nearer to 1 is better",
        "1",
        ".2f",
    ),
    "copy_rate_test": Measure(
        "copy rate of test images",
        "The same for test images, which are no copies.",
        form=".3f",
    ),
    "copy_rate_real": Measure(
        "copy rate of validation images",
        "The same for validation images, which are no copies.",
        form=".3f",
    ),
    "copy_rate": Measure(
        "copy rate",
        "Share of the set whose nearest training image is less than a third as far as the second nearest.",
        "lower is better",
        "0",
        ".3f",
    ),
    "checkerboard": Measure(
        "checkerboards",
        "Power in patterns of period two pixels, divided by that of test images. Blurred images have less than 1.",
        "nearer to 1 is better",
        "1",
        ".2f",
    ),
    "share_closer": Measure(
        "share closer",
        "Share of samples that are nearer to a training image than 99 % of the test images are. 1: all are copies.",
        "lower is better",
        "0.01",
        ".3f",
    ),
    "mean_distance": Measure(
        "mean distance",
        "Distance from the images of a path to the nearest true line.",
        "lower is better",
        "0",
    ),
    "smoothness": Measure(
        "smoothness",
        "How unevenly the angle of the line turns along a path.",
        "lower is better",
        "0",
    ),
    "subset_coverage": Measure(
        "coverage of clusters", "Share of clusters with an image in the subset.", "higher is better", "1", ".3f"
    ),
    "subset_distance": Measure(
        "distance", "Mean distance from a training image to the nearest image of the subset.", "lower is better"
    ),
}
