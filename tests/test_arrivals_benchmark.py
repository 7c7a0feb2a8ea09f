"""The benchmark of arrivals: its tables, and that its processes find what they run."""

import numpy as np

from benchmarks.arrivals import __main__ as command
from benchmarks.arrivals.report import report_text
from iglo.files.io import read_json

RESULTS = command.FOLDER / "results.json"


def group(train: float, test: float, count: int, seen: bool = False) -> dict:
    more = {"distance": 0.1, "kd": 0.01} if seen else {}
    return {"train": {"psnr": train, "count": count, **more}, "test": {"psnr": test, "count": 10, **more}}


def steps(first_at_end: float, new: float) -> list[dict]:
    """A first run on 100 images, and then 50 images."""
    seen = {"images_seen": 1000, "encoder_images_seen": 500, "seconds": 100.0}
    cost = {"images_seen": 300, "encoder_images_seen": 150, "seconds": 30.0, "transfer": {"psnr": 15.0}}
    after = {"first run": group(first_at_end, 21.0, 100, True), "arrival 1": group(new, 22.0, 50)}
    return [{"groups": {"first run": group(30.0, 20.0, 100, True)}, **seen}, {"groups": after, **cost}]


def record() -> dict:
    scratch = {"steps": [{"groups": {"first run": group(28.0, 23.0, 100), "arrival 1": group(31.0, 23.0, 50)}}]}
    return {
        "digits": {
            "0": {"images": {"steps": steps(29.0, 26.0)}, "scratch": scratch},
            "1": {"images": {"steps": steps(29.5, 26.0)}, "scratch": scratch},
        }
    }


def test_the_tables_hold_means_over_images_and_seeds():
    text = report_text(record())
    spread = np.std([1.0, 0.5], ddof=1)
    assert f"| images | 30.00 ± 0.00 | 0.75 ± {spread:.2f} | -1.00 ± 0.00 |" in text
    ends = [(29.0 * 100 + 26.0 * 50) / 150, (29.5 * 100 + 26.0 * 50) / 150]
    assert f"{np.mean(ends):.2f} ± {np.std(ends, ddof=1):.2f}" in text and "| from scratch |  |  |  | 29.00" in text
    # 450 images seen of 1500 · 150 / 100, and 30 of 150 seconds
    assert "| images | arrival 1 | 450 | 2,250 | 0.20 | 0.20 | 30 |" in text


def test_other_processes_find_what_they_run():
    """A process that starts anew does not find what is in __main__."""
    assert {command.run.__module__, command.train_first.__module__} == {"benchmarks.arrivals.tasks"}


def test_the_committed_report_is_of_the_committed_results():
    assert RESULTS.with_name("report.md").read_text(encoding="utf-8") == report_text(read_json(RESULTS))
