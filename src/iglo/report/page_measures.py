"""The meaning of every measure, for the page of a run."""

from dataclasses import dataclass, replace


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

    def shown(self, value: float | None) -> str:
        """Returns the value as text, or a dash if it was not measured."""
        return "–" if value is None else format(value, self.form)


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
    "kd": Measure(
        "kernel distance",
        "Distance between all samples and all held-out images. With fewer than 2,048 images, use this measure and "
        "not the Fréchet distance.",
        "lower is better",
        "0",
    ),
    "fd": Measure(
        "Fréchet distance",
        "Distance between two Gaussians: one is fitted to the samples, one to the held-out images.",
        "lower is better",
        "0",
    ),
    "precision": Measure("precision", "Share of samples that look real.", "higher is better", "1", ".3f"),
    "recall": Measure(
        "recall", "Share of held-out images that are similar to samples.", "higher is better", "1", ".3f"
    ),
    "novelty": Measure(
        "novelty",
        "Distance from samples to the nearest training image, divided by the same for held-out images. Near 0: copies.",
        "nearer to 1 is better",
        "1",
        ".2f",
    ),
    "share_closer": Measure(
        "share closer",
        "Share of samples that are nearer to a training image than 99 % of the held-out images are. 1: all are copies.",
        "lower is better",
        "0.01",
        ".3f",
    ),
    "coverage": Measure("coverage", "Share of clusters with an image in the subset.", "higher is better", "1", ".3f"),
    "distance": Measure(
        "distance", "Mean distance from a training image to the nearest image of the subset.", "lower is better"
    ),
}
