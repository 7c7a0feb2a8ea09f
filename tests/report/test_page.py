"""The page of a run, read by an HTML parser."""

from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from iglo.report import figures
from iglo.report.page import write_page
from tests.tiny import tiny_params

J = "small_cnn_digits"


def of_set(kd: float, **more: float) -> dict:
    """The numbers of a set of images, named by the judge J."""
    values = {"kd": kd, "fd": 1.5 + kd, **more}
    return {f"{key}_{J}": value for key, value in values.items()} | {"se": {f"kd_{J}": 0.012}}


VALUES = {
    "train": {"recon": {"psnr": 38.221, f"lpips_{J}": 0.00256}, "encoder": {"psnr": 34.237}},
    "test": {"encoder": {"psnr": 29.784, "ssim": 0.97712}, "images": {f"confidence_{J}": 0.98123}},
    "samples": of_set(0.2347, novelty=0.9589, copy_rate=0.0123),
    "midpoints": of_set(0.3456),
    "reconstructions": of_set(0.1234),
    "real": of_set(-0.0011),
    "noise": of_set(7.891),
    "interpolation": {
        f"ppl_{J}": 5.6511,
        f"jerkiness_{J}": 2.5,
        "ghost_index": 0.4321,
        "se": {f"ppl_{J}": 0.123, "ghost_index": 0.0456},
    },
    "off_code": {f"samples_{J}": 1.9, f"midpoints_{J}": 2.8, "se": {f"samples_{J}": 0.21, f"midpoints_{J}": 0.31}},
    "priors": {
        "normal": of_set(0.6789) | {"validation": {f"kd_{J}": 0.5678, "se": {f"kd_{J}": 0.034}}},
        "imle": of_set(0.2347, novelty=0.9589, copy_rate=0.0123) | {"validation": {f"kd_{J}": 0.2468, "se": {}}},
    },
    "memorisation": {
        "pixels": {"novelty": 0.9178, "share_closer": 0.04297, "se": {"novelty": 0.0321}},
        f"features_{J}": {"share_closer": 0.0039, "copy_rate_test": 0.0077, "se": {}},
    },
    "split": {
        "coverage": 1.0,
        "coverage_random": 0.96875,
        "distance": 3.5498,
        "distance_random": 3.6729,
        "se": {"coverage_random": 0.011, "distance_random": 0.027},
    },
    "counts": {"train": 1500, "validation": 147, "test": 150, "samples": 256, "midpoints": 250},
}
SHOWN = ["38.22", "0.00256", "34.24", "29.78", "0.977", "0.981", "5.65 ± 0.12", "0.432 ± 0.046", "0.92 ± 0.03", "0.043"]
SHOWN += [
    "0.235 ± 0.012",
    "0.346 ± 0.012",
    "0.123 ± 0.012",
    "-0.001 ± 0.012",
    "7.891 ± 0.012",
    "1.90 ± 0.21",
    "2.80 ± 0.31",
]
SHOWN += ["0.568 ± 0.034", "0.247", "0.96", "0.004", "0.008", "1.000", "0.969 ± 0.011", "3.55", "3.673 ± 0.027"]
TIMES = {"full": {"seconds": 73.84, "peak_mib": 1824, "images_per_s": 2437.6}, "staged": {"1": {"seconds": 13.3}}}
HOSTILE = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Tags with their attributes, and the texts of cells."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.cells = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data.strip() + " "

    def all(self, tag):
        return [attributes for each, attributes in self.tags if each == tag]


@pytest.fixture
def folder(tmp_path):
    """Figures of every kind: a grid, a wide plot, an animation, and one without a caption."""
    folder = tmp_path / "figures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (12, 32, 32, 3), np.uint8)
    figures.save_grid(folder / "overview.png", [photos] * 6)
    figures.save_learning(folder / "learning.gif", [("1", photos[:2]), ("2", photos[2:4])], photos[:2], 0.5)
    Image.fromarray(rng.integers(0, 256, (900, 1800, 3), np.uint8)).save(folder / "losses.png")
    Image.fromarray(photos[0]).save(folder / "new-kind.png")
    return folder


def page_of(folder, params=None, values=VALUES):
    write_page(folder.parent / "index.html", folder, values, params or tiny_params(), TIMES)
    return (folder.parent / "index.html").read_text(encoding="utf-8")


def test_the_page_needs_no_other_file_and_no_network(folder):
    text = page_of(folder)
    page = Page(text)
    sources = [image["src"] for image in page.all("img")] + [still["srcset"] for still in page.all("source")]
    assert len(sources) == 5 and all(source.startswith("data:image/") for source in sources)
    values = [value for _, attributes in page.tags for value in attributes.values() if value]
    assert not [value for value in values if "://" in value] and "url(" not in text and "@import" not in text
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert all(link["href"][0] == "#" and link["href"][1:] in targets for link in page.all("a"))


def test_the_page_works_with_screen_readers_and_without_motion(folder):
    page = Page(page_of(folder))
    assert page.all("html") == [{"lang": "en"}] and len(page.all("h1")) == 1
    assert all(len(image["alt"]) > 10 and int(image["width"]) <= 900 for image in page.all("img")[:3])
    assert [still["media"] for still in page.all("source")] == ["(prefers-reduced-motion: reduce)"]
    assert len(page.all("caption")) == len(page.all("table"))
    assert all("scope" in head for head in page.all("th"))


def test_the_page_has_every_figure_number_parameter_and_time(folder):
    text = page_of(folder)
    cells = [cell.strip() for cell in Page(text).cells]
    assert all(
        f"<code>{name}</code>" in text for name in ("overview.png", "learning.gif", "losses.png", "new-kind.png")
    )
    assert [number for number in SHOWN if number not in cells] == []
    place = cells.index("in features")
    # novelty and copy rate are taken from the numbers of samples
    assert cells[place + 1 : place + 5] == ["0.96", "0.004", "0.012", "0.008"]
    assert cells[cells.index("sigma") + 1] == "1.0" and cells[cells.index("rounds.2.per_cluster") + 1] == "null"
    assert cells[cells.index("full") :][:4] == ["full", "73.8", "2,438", "1,824"]
    assert cells[cells.index("staged 1") :][:4] == ["staged 1", "13.3", "–", "–"]
    assert cells[cells.index("in all") + 1] == "87.1"


def test_the_page_names_counts_who_chose_and_who_measured(folder):
    text = page_of(folder, tiny_params(prior="best"))
    assert "1,500 training images" in text and "147 validation images" in text and "150 test images" in text
    assert "The prior imle was chosen by the kernel distance of its samples to 147 validation images" in text
    assert "The prior is imle." in page_of(folder, tiny_params(prior="imle"))
    cells = [cell.strip() for cell in Page(text).cells]
    for row in ("real images (validation), the floor, 147 images", "midpoints of random pairs, 250 images"):
        assert row in cells
    assert cells[cells.index("imle (chosen)") + 1 :][:2] == ["0.247", "0.235 ± 0.012"]  # validation, then test


def test_the_page_tells_the_settings_of_neighbours(folder):
    chosen = {f"kd_{J}": 0.2, "k": 5, "noise": 0.3, f"copy_rate_{J}": 0.012, f"copy_rate_real_{J}": 0.0, "se": {}}
    priors = {**VALUES["priors"], "neighbours": of_set(0.3) | {"validation": chosen}}
    text = page_of(folder, values={**VALUES, "priors": priors})
    assert (
        "The prior neighbours has k = 5 and noise 0.3, chosen on validation images: 1.2% of the samples that chose "
        "them are copies of training images, and 0.0% of the validation images." in text
    )
    cells = [cell.strip() for cell in Page(text).cells]
    assert cells[cells.index("neighbours") + 1] == "0.2"


@pytest.mark.parametrize(("count", "biased"), [(150, True), (2048, False)])
def test_few_images_bias_the_frechet_distance(folder, count, biased):
    counts = {**VALUES["counts"], "test": count, "samples": 5000}
    text = page_of(folder, values={**VALUES, "counts": counts})
    assert ("the Fréchet distance is biased" in text) is biased
    cells = Page(text).cells
    heads = [cell for cell in cells if cell.startswith(("kernel distance", "Fréchet distance"))]
    assert heads[0].startswith("kernel distance")  # it leads


def test_stages_come_in_their_order(folder):
    for stage in ("full", "staged-10", "staged-2"):
        Image.new("L", (8, 8)).save(folder / f"stage-{stage}.png")
    text = page_of(folder)
    places = [text.index(f"<code>stage-{stage}.png</code>") for stage in ("staged-2", "staged-10", "full")]
    assert places == sorted(places)


def test_names_of_users_are_escaped(folder):
    params = tiny_params(data__path=HOSTILE, data__source="torchvision", data__classes=(HOSTILE,))
    (folder / "losses.png").rename(folder / f"stage-{HOSTILE.replace('/', '')}.png")
    text = page_of(folder, params)
    assert "<script" not in text and text.count("&lt;script&gt;") >= 4
    page_of(folder, tiny_params(data__path="caf\udce9"))  # a path that is not UTF-8 gives no error


def test_a_run_with_few_measures_has_a_page(folder):
    page = Page(page_of(folder, values={"samples": {}, "priors": {"normal": {}}, "interpolation": {}, "split": {}}))
    assert len(page.all("table")) == 2  # parameters and times


def test_the_page_is_small(folder):
    raw = (folder / "losses.png").stat().st_size
    assert raw > 4_000_000  # noise is the worst case
    assert len(page_of(folder)) < 0.5 * raw
