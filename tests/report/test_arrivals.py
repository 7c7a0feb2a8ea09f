"""The figures of an arrival: which images they show, and their labels."""

import numpy as np
import pytest

from iglo.params.sections import Parts
from iglo.report import arrivals
from tests.evaluation.arrived import NEW, arrived
from tests.evaluation.stand_ins import networks
from tests.tiny import RUNTIME


@pytest.fixture
def drawn(monkeypatch):
    """What would be drawn, by the name of the file: arguments after the path."""
    kept = {}
    for place, name in ((arrivals, "draw_grid"), (arrivals.plots, "save_changes")):
        monkeypatch.setattr(place, name, lambda path, *rest: kept.update({path.name: rest}))
    return kept


def report(folder, **options):
    run = arrived(**options)
    return run, arrivals.write_arrival_report(folder, run, networks(), RUNTIME)


def is_among(images, originals):
    return all(any(np.array_equal(image, each) for each in originals) for image in images)


def test_images_before_and_after(drawn, tmp_path):
    run, values = report(tmp_path)
    rows, title = drawn["arrival.png"]
    labels, images = zip(*rows, strict=True)
    psnr = {
        "before: G(z)": values["earlier"]["train"]["before"],
        "after: G(z)": values["earlier"]["train"]["after"],
        "before: G(E(x))": values["new"]["train"]["before"],
    }
    assert [labels[1], labels[2], labels[4]] == [f"{name}\n{each['psnr']:.1f} dB" for name, each in psnr.items()]
    assert labels[::3] == ("earlier training images", "new training images", "new test images") and "new" in title
    assert labels[5] == f"after: G(z)\n{values['new']['train']['after']['psnr']:.1f} dB"
    assert labels[7:] == tuple(
        f"{when}: G(E(x))\n{values['new']['test'][when]['psnr']:.1f} dB" for when in ("before", "after")
    )
    for row, originals in zip(images[::3], (run.earlier.part("train"), run.new.train, run.new.test), strict=True):
        assert is_among(row, originals)
    assert [len(row) for row in images] == 3 * [12] + 3 * [NEW.train] + 3 * [NEW.test]
    assert (tmp_path / "samples.png").exists()


def test_a_line_for_each_group(drawn, tmp_path):
    report(tmp_path, new=Parts(1, 0, 0))
    changes, labels, _ = drawn["forgetting.png"]
    assert [*changes] == ["first run, 12 images", "old, 6 images", "new, 1 image"] and "new" in labels.title
    assert len(drawn["arrival.png"][0]) == 6


def test_without_the_earlier_images(drawn, tmp_path):
    _, values = report(tmp_path, gone=(0, 1))
    rows, _ = drawn["arrival.png"]
    psnr = values["earlier"]["train"]["against_renders"]["psnr"]
    labels = [label for label, _ in rows]
    assert labels[:2] == ["earlier training images: G(z) before", f"G(z) after\n{psnr:.1f} dB to before"]
    assert len(labels) == 8 and [*drawn["forgetting.png"][0]] == ["new, 8 images"]
