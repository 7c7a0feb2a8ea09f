"""The sections of the page of a run, with a caption for each figure."""

FIGURES = (  # title, introduction, and a caption for every file
    (
        "At a glance",
        "",
        {
            "overview.png": "Top: training images, and the generator's images of their codes. Middle: paths from one "
            "training image to another. Bottom: test images, and the images that encoder and generator make of "
            "them. Good: the second row and the last row look like the rows above them, and every image of a path "
            "could be real.",
        },
    ),
    (
        "Training",
        "The generator's images of the same codes during training. The label S1 means that an image is in the first "
        "subset, S2 in the second.",
        {
            "learning.gif": "One frame for each recorded epoch. Good: the images become sharp and equal to the "
            "originals below, and stay so when a new stage begins.",
            "stages.png": "One row after every stage. Good: PSNR (in dB) grows from stage to stage, and images of "
            "early subsets stay good. The last stage may lose a little: it also learns to be smooth between codes.",
            "stage-staged-*.png": "The stage that learns one subset, epoch by epoch.",
            "stage-*.png": "A later stage, epoch by epoch.",
            "losses.png": "The terms of the loss, on a logarithmic scale. Each stage starts at a dashed line. Good: "
            "every curve falls within its stage. A jump at the start of a stage is normal, because new images come in.",
        },
    ),
    (
        "Images from codes",
        "Each original is followed by its reconstruction.",
        {
            "reconstructions.png": "Training images from their own learned codes. Good: the eye sees no difference.",
            "encoder-train.png": "Training images from the codes of the encoder. Good: nearly as above.",
            "encoder-test.png": "Test images, which were not used for training, from the codes of the encoder. "
            "Good: the same content, perhaps a little less sharp.",
        },
    ),
    (
        "Between codes",
        "Codes move in even steps from the code of one training image to that of another.",
        {
            "interpolation.gif": "Several paths, forward and back. Good: one shape turns into the other without a "
            "jump, and never looks like two images on top of each other.",
            "interpolations.png": "The same paths, image by image.",
            "midpoints.png": "Pairs of training codes, drawn at random, and the image halfway between them, on "
            "the path straight on and on the path along the graph of codes. Good: the midpoint could be a real image, "
            "and is not its two ends on top of each other.",
        },
    ),
    (
        "New images",
        "Codes are drawn at random, and the generator makes images of them. No image was chosen by hand.",
        {
            "samples.png": "Samples of the chosen prior. Good: they look like training images, and differ.",
            "priors.png": "Samples of every prior (a way to draw codes). The first has the smallest kernel distance to "
            "the validation images.",
        },
    ),
    (
        "Are they copies?",
        "",
        {
            "neighbours.png": "Each sample, and below it the nearest training images. Good: similar, but not the same.",
            "nearness-*.png": "Distances to the nearest training image. Good: samples lie where test images lie. "
            " Samples that are far to the left are copies.",
        },
    ),
    (
        "The split into subsets",
        "",
        {
            "split.png": "Each point is a training image; the axes are the two directions in which images differ most. "
            "The chosen images are learned first. Good: they cover the whole cloud.",
            "chosen.png": "Some of the chosen images, a row for each cluster. Good: images in a row are alike, "
            "and rows differ.",
        },
    ),
)
