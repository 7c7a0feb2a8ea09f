"""The variants: each differs from its base in one thing, in some cases several, and says what was expected and why."""

from benchmarks.off_codes.options import Variant

NEW = {"pixel_weight": 60.0, "batch": 32, "network_rate": 4e-3}  # what helped 800 frogs

VARIANTS = [
    Variant(
        "plain",
        None,
        {},
        "The reference: plain GLO with the perceptual loss, codes from the PCA of pixels, d = 100.",
        seeds=(0, 1, 2),
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
        "A higher PSNR, because the errors of features are many times those of pixels, so that pixels hardly "
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
        "pixels-60-rate-4",
        "pixels-60-rate-2",
        {"network_rate": 4e-3},
        "No further gain, or an unstable training.",
    ),
    Variant(
        "pixels-60-batch-32-rate-2",
        "pixels-60-batch-32",
        {"network_rate": 2e-3},
        "A higher PSNR and better images everywhere, as the higher rate gave with batches of 75.",
    ),
    Variant(
        "pixels-60-batch-32-rate-2-style",
        "pixels-60-batch-32-rate-2",
        {"generator": "style"},
        "Better images off the codes and a lower ghost index, as with the lower rate.",
    ),
    Variant(
        "new",
        "pixels-60-batch-32-rate-2",
        {"network_rate": 4e-3},
        "Better images off the codes, as with batches of 75.",
        seeds=(0, 1, 2),
    ),
    Variant(
        "more-plain",
        None,
        {"images": 1500, "budget": 48_000, "measured": 400},
        "The reference for more images at about the same number of epochs.",
    ),
    Variant("more-new", "more-plain", NEW, "The gain of 800 frogs holds for more images."),
    Variant(
        "frogs-64-new",
        None,
        {"data": "frogs-64", "size": 64, "budget": 16_000} | NEW,
        "The ratios to reconstructions are those of 32×32 pixels.",
    ),
    Variant(
        "emoji-new",
        None,
        {"data": "emoji"} | NEW,
        "The ratios to reconstructions are those of frogs, because nothing in the settings is about frogs.",
    ),
]
