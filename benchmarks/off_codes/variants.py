"""The variants: each differs from its base in one thing, in a few cases two, and says what was expected and why."""

from benchmarks.off_codes.options import Variant

VARIANTS = [
    Variant(
        "plain",
        None,
        {},
        "The reference: plain GLO with the perceptual loss, codes from the PCA of pixels, d = 100.",
    ),
    Variant(
        "chamfer-4",
        "plain",
        {"realism_weight": 3.0, "realism": "chamfer", "levels": "4"},
        "Better midpoints, because images between codes are drawn to the nearest real image in deep features.",
    ),
    Variant(
        "features-32",
        "plain",
        {"dimension": 32, "start": "features"},
        "Better midpoints and samples, at a lower PSNR: in few dimensions there is less empty space between codes, and "
        "near codes mean similar content.",
    ),
    Variant(
        "dimension-16",
        "plain",
        {"dimension": 16},
        "Better midpoints and samples in proportion to reconstructions, at a lower PSNR, because 16 dimensions hold "
        "less empty space between codes than 100.",
    ),
    Variant(
        "augmented",
        "plain",
        {"augmented": 0.5},
        "Better images off the codes and better inverted test images, because each code learns from more images.",
    ),
    Variant(
        "pixels-20",
        "plain",
        {"pixel_weight": 20.0},
        "A higher PSNR, because the errors of features are about fifty times those of pixels, so that pixels hardly "
        "count; images off the codes may get blurred.",
    ),
    Variant(
        "pixels-60",
        "plain",
        {"pixel_weight": 60.0},
        "A still higher PSNR than with weight 20, and blurred images off the codes.",
    ),
    Variant(
        "pixels-20-batch-32",
        "pixels-20",
        {"batch": 32},
        "A higher PSNR, because the same budget gives more than twice as many steps.",
    ),
    Variant(
        "pixels-20-noise",
        "pixels-20",
        {"noise": 0.5, "noise_weight": 1.0},
        "A lower ghost index and better midpoints, because the continuity term asks near codes for similar images; a "
        "lower PSNR, because half of the budget goes to noisy codes.",
    ),
    Variant(
        "pixels-20-features",
        "pixels-20",
        {"start": "features"},
        "Better midpoints at little cost in PSNR, because near codes start with similar content and not with similar "
        "colours at the same place.",
    ),
    Variant(
        "pixels-60-batch-32",
        "pixels-20-batch-32",
        {"pixel_weight": 60.0},
        "A higher PSNR, as with batches of 75, and midpoints that are no nearer to test images.",
    ),
    Variant(
        "pixels-40-batch-16",
        "pixels-20-batch-32",
        {"pixel_weight": 40.0, "batch": 16},
        "A higher PSNR and better images everywhere, because the same budget gives twice as many steps.",
    ),
    Variant(
        "pixels-40-batch-32-style",
        "pixels-20-batch-32",
        {"pixel_weight": 40.0, "generator": "style"},
        "Better images off the codes, because a style generator has no checkerboards and its codes act on every layer.",
    ),
    Variant(
        "pixels-60-rate-2",
        "pixels-60",
        {"network_rate": 2e-3},
        "A higher PSNR, because so short a training does not converge.",
    ),
    Variant(
        "pixels-40-batch-16-both",
        "pixels-40-batch-16",
        {"start": "both"},
        "The PSNR of a start from pixels, and the midpoints of a start from features.",
    ),
    Variant(
        "pixels-40-batch-16-noise",
        "pixels-40-batch-16",
        {"noise": 0.5, "noise_weight": 1.0},
        "As for batches of 75: near codes get similar images, at a lower PSNR; small batches leave enough steps.",
    ),
    Variant(
        "pixels-40-batch-16-neighbours",
        "pixels-40-batch-16",
        {"neighbour_weight": 1.0},
        "Better mixes of neighbours and midpoints than with isotropic noise, because this noise leads to where codes "
        "lie.",
    ),
    Variant(
        "pixels-40-batch-16-dimension-32",
        "pixels-40-batch-16",
        {"dimension": 32},
        "Better midpoints and samples, at a lower PSNR, because there is less empty space between codes.",
    ),
    Variant(
        "pixels-40-twice",
        None,
        {"budget": 48_000, "pixel_weight": 40.0},
        "Twice the budget with batches of 75: as good as half the budget with batches of 32, if steps count.",
    ),
]
