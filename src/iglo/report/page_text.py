"""The text of a run's page: its template, a caption for every figure, and the meaning of every measure."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Measure:
    """A kind of number.

    Attributes:
        title: the head of its column.
        meaning: one or two sentences.
        better: which values are better, in words.
        aim: the value of a perfect run, or of real images.
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
        """This measure with `feature_network` as its network."""
        return replace(self, feature_network=feature_network)

    def shown(self, value: float | None) -> str:
        """The value as text; a dash if it was not measured."""
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
    "lpips": Measure("LPIPS", "Distance of two images, measured in the features of a network.", "lower is better", "0"),
    "ppl": Measure("path length", "How fast images change along a path.", "lower is better"),
    "jerkiness": Measure(
        "jerkiness",
        "Largest step of a path, divided by its mean step.",
        "nearer to 1 is better",
        "1",
        ".2f",
    ),
    "midpoint_realism": Measure(
        "midpoint realism",
        "Distance from the middle of a path to the nearest training image, divided by that of reconstructions.",
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
        "Distance between two Gaussians, one fitted to the samples and one to the held-out images.",
        "lower is better",
        "0",
    ),
    "precision": Measure("precision", "Share of samples that look real.", "higher is better", "1", ".3f"),
    "recall": Measure(
        "recall", "Share of held-out images that are similar to samples.", "higher is better", "1", ".3f"
    ),
    "novelty": Measure(
        "novelty",
        "Distance from samples to the nearest training image, divided by that of held-out images. Near 0: copies.",
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

FIGURES = (  # title, introduction, and a caption for every file
    (
        "At a glance",
        "",
        {
            "overview.png": "Top: training images, and the generator's images of their codes. Middle: paths from one "
            "training image to another. Bottom: held-out images, and the images that encoder and generator make of "
            "them. Good: the second row and the last row look like the rows above them, and every image of a path "
            "could be real.",
        },
    ),
    (
        "How images are learned",
        "The same training images, drawn by the generator as learning goes on. The label S1 says that an image is "
        "in the first subset, S2 in the second.",
        {
            "learning.gif": "One frame for each recorded epoch. Good: the drawn images become sharp and equal to the "
            "originals below, and stay so when a new stage begins.",
            "stages.png": "One row after every stage. Good: the dB grow from stage to stage, and images of early "
            "subsets stay good. The last stage may lose a little: it also learns to be smooth between codes.",
            "stage-staged-*.png": "The stage that learns one subset, epoch by epoch.",
            "stage-*.png": "A later stage, epoch by epoch.",
            "losses.png": "The minimised terms, on a logarithmic scale. Each stage starts at a dashed line. Good: "
            "every curve falls within its stage. A jump where a stage starts is normal: new images come in.",
        },
    ),
    (
        "Images from codes",
        "Each original is followed by its reconstruction.",
        {
            "reconstructions.png": "Training images from their own learned codes. Good: the eye sees no difference.",
            "encoder-train.png": "Training images from the codes that the encoder finds. Good: nearly as above.",
            "encoder-test.png": "Held-out images, which were not used to learn, from the codes that the encoder finds. "
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
        },
    ),
    (
        "New images",
        "Codes are drawn at random, and the generator makes images of them. None was picked by hand.",
        {
            "samples.png": "Samples of the chosen prior. Good: they look like training images, and differ.",
            "priors.png": "Samples of every prior (a way to draw codes). The best by kernel distance is first.",
        },
    ),
    (
        "Are they copies?",
        "",
        {
            "neighbours.png": "Each sample, and below it the nearest training images. Good: similar, but not the same.",
            "nearness-*.png": "Distances to the nearest training image. Good: samples lie where held-out images "
            "lie. Samples far to the left would be copies.",
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

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>iglo: a run on {{ data }}</title>
<style>
:root { color-scheme: light; --ink: #222; --soft: #595959; --line: #d8d8d8; --accent: #0b5a8a; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; background: #fff; color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; list-style: none; margin: 1rem 0 0; padding: 0; }
figure { margin: 1.5rem 0; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: .4rem; color: var(--soft); max-width: 46rem; }
code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 1rem 0 .25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; white-space: nowrap; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, .text { text-align: left; }
thead th { font-weight: 600; }
thead small { display: block; font-weight: 400; color: var(--soft); }
tbody th { font-weight: 400; }
tr.aim th, tr.aim td, tfoot th, tfoot td { color: var(--soft); font-style: italic; border-bottom: 0; }
dl { margin: .5rem 0 2rem; color: var(--soft); font-size: .93rem; max-width: 52rem; }
dl div { margin: .15rem 0; }
dt, dd { display: inline; margin: 0; }
dt { font-weight: 600; }
details summary { cursor: pointer; }
</style>
</head>
<body>
<header>
<h1>A run of iglo</h1>
<p>Images: {{ data }}, {{ size }} pixels. An image is x, and its learned code is z. The generator G makes an image from
a code; the encoder E finds the code of an image. Held-out images are not used to learn.</p>
<nav aria-label="Contents"><ul>
{% for title, intro, pictures in sections %}
<li><a href="#section-{{ loop.index }}">{{ title }}</a></li>
{% endfor %}
<li><a href="#numbers">Numbers</a></li><li><a href="#params">Parameters</a></li><li><a href="#times">Times</a></li>
</ul></nav>
</header>
<main>
{% for title, intro, pictures in sections %}
<section aria-labelledby="section-{{ loop.index }}">
<h2 id="section-{{ loop.index }}">{{ title }}</h2>
{% if intro %}
<p>{{ intro }}</p>
{% endif %}
{% for picture in pictures %}
<figure>
{% if picture.still %}
<picture><source media="(prefers-reduced-motion: reduce)" srcset="{{ picture.still }}">
{% endif %}
<img src="{{ picture.source }}" width="{{ picture.width }}" height="{{ picture.height }}" alt="{{ picture.name }}: \
{{ picture.caption }}">
{% if picture.still %}
</picture>
{% endif %}
<figcaption><code>{{ picture.name }}</code> {{ picture.caption }}</figcaption>
</figure>
{% endfor %}
</section>
{% endfor %}
<section aria-labelledby="numbers">
<h2 id="numbers">Numbers</h2>
<p>A dash means: not defined, or not measured because there are too few images.</p>
{% for table in tables %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.title }}">
<table>
<caption>{{ table.title }}</caption>
<thead><tr><th scope="col"></th>
{% for measure in table.measures %}
<th scope="col">{{ measure.title }}<small>{{ measure.better }}</small></th>
{% endfor %}
</tr></thead>
<tbody>
{% for name, cells in table.rows %}
<tr{{ ' class="aim"'|safe if name == "ideal" }}><th scope="row">{{ name }}</th>
{% for cell in cells %}
<td>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
<dl>
{% for measure in table.measures if measure.meaning %}
<div><dt>{{ measure.title }}:</dt> <dd>{{ measure.meaning }}</dd></div>
{% endfor %}
{% if table.feature_networks %}
<div><dt>Network that measured:</dt> <dd><code>{{ table.feature_networks|join(", ") }}</code></dd></div>
{% endif %}
</dl>
{% endfor %}
</section>
<section aria-labelledby="params">
<h2 id="params">Parameters</h2>
<details><summary>All {{ params|length }} parameters of this run</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Parameters">
<table>
<caption>Parameters</caption>
<thead><tr><th scope="col">key</th><th scope="col" class="text">value</th></tr></thead>
<tbody>
{% for key, value in params %}
<tr><th scope="row"><code>{{ key }}</code></th><td class="text"><code>{{ value }}</code></td></tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
</section>
<section aria-labelledby="times">
<h2 id="times">Times</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Times">
<table>
<caption>What each stage took</caption>
<thead><tr><th scope="col">stage</th><th scope="col">seconds</th><th scope="col">images per second</th>\
<th scope="col">memory, MiB<small>at its peak</small></th></tr></thead>
<tbody>
{% for stage, time in times %}
<tr><th scope="row">{{ stage }}</th><td>{{ "%.1f"|format(time.seconds) }}</td>\
<td>{{ "{:,.0f}".format(time.images_per_s) if time.images_per_s else "–" }}</td>\
<td>{{ "{:,}".format(time.peak_mib) if time.peak_mib else "–" }}</td></tr>
{% endfor %}
</tbody>
<tfoot><tr><th scope="row">in all</th><td>{{ "%.1f"|format(times|sum(attribute="1.seconds")) }}</td><td></td><td></td>\
</tr></tfoot>
</table>
</div>
<p>The stage that writes this page is not listed, because it was still running. Times depend on the machine.</p>
</section>
</main>
</body>
</html>
"""
