"""The report of invented runs: two rows, two seeds; its numbers are computed by hand."""

import json
import math
import re
import shutil

import numpy as np
import pytest

from iglo.comparison.claims import CLAIMS, Claim, claim_line
from iglo.comparison.figures import CAPTIONS, STEPS
from iglo.comparison.formats import WORDS, best_rows, words_of
from iglo.comparison.judges import prior_judge_lines, prior_ranks
from iglo.comparison.report import write_report
from iglo.comparison.runs import (
    Folders,
    Measured,
    Row,
    first_crossing,
    flat_numbers,
    load_runs,
    paired_difference,
    summary,
    values_by_seed,
)
from iglo.comparison.tables import PRIORS, Table, table_legend, table_lines
from iglo.errors import UserError
from iglo.files.io import write_json
from iglo.latent import priors

ROWS = (
    Row("paper_as_run", "the paper", "as it was run", "paper_as_run"),
    Row("glo", "ours", "with other rates", "glo"),
)
SEEDS = (3, 4)
TITLES = {row.name: row.title for row in ROWS}
PSNR = {("paper_as_run", 3): 20.0, ("paper_as_run", 4): 21.0, ("glo", 3): 23.0, ("glo", 4): 22.0}
KD = {("paper_as_run", 3): 0.2, ("paper_as_run", 4): 0.3, ("glo", 3): 0.1, ("glo", 4): 0.1}
CURVES = {  # PSNR at 0, 100 and 200 images seen
    ("paper_as_run", 3): (10, 15, 20),
    ("paper_as_run", 4): (10, 15, 21),
    ("glo", 3): (10, 18, 22),  # reaches 20 dB half-way between 100 and 200
    ("glo", 4): (10, 18, 20),  # never reaches 21 dB
}
IMAGE = (8, 8, 3)


def write_run(root, row, seed):
    folder = root / "measured" / f"{row}-{seed}"
    folder.mkdir(parents=True)
    psnr = PSNR[row, seed]
    rng = np.random.default_rng([seed, len(row)])
    quality = {"l1": 0.1, "psnr": psnr, "ssim": 0.5, "lpips_own_trained_on": 9.0, "lpips_net_ab12": 0.3}
    quality |= {"recognised_net_ab12": 0.4, "se": {"recognised_net_ab12": 0.01}}
    steps = {str(step): {"psnr": 15 + step / 100, "lpips_net_ab12": 0.2} for step in STEPS}
    samples = {"kd": KD[row, seed], "fd": 5.0, "precision": 0.5, "recall": 0.4, "novelty": 1.2}
    samples = {f"{name}_net_ab12": value for name, value in samples.items()} | {"se": {"kd_net_ab12": 0.02}}
    numbers = {
        "images_seen": 200,
        "prior": "gmm" if (row, seed) == ("glo", 4) else "imle",
        "train": {"recon": quality, "encoder": quality},
        "test": {"encoder": quality},
        "interpolation": {"ppl_net_ab12": 10 * seed, "jerkiness_net_ab12": 2.0, "midpoint_realism_net_ab12": 1.1},
        "samples": samples,
        "midpoints": samples,
        "off_code": {"samples_net_ab12": 3.0},
        "priors": {name: {"kd_net_ab12": 0.1 * rank} for rank, name in enumerate(PRIORS)},
        "other_judges": {
            "poor_net": {
                "priors": {name: {"kd_poor_net": 5.0 - rank} for rank, name in enumerate(PRIORS)},
                "samples": {"kd_poor_net": 7.0 if row == "glo" else 3.0},
            }
        },
    }
    if row == "glo":
        numbers["inversion"] = {"encoder": steps, "random": steps}
    write_json(folder / "numbers.json", numbers)
    for stage in ("learn", "encoder", "measure"):
        timing = {"seconds": 20.0, "images_per_s": 10.0, "peak_mib": 100.0}
        write_json(root / "times" / stage / f"{row}-{seed}.json", timing)
    points = zip((0, 100, 200), (0, 10, 20), CURVES[row, seed], strict=True)
    lines = ["images_seen,seconds,psnr", *(",".join(map(str, point)) for point in points)]
    (root / "curves").mkdir(exist_ok=True)
    (root / "curves" / f"{row}-{seed}.csv").write_text("\n".join(lines) + "\n")
    shapes = {"reconstructions": (12,), "encoder_train": (12,), "encoder_test": (12,), "samples": (48,)}
    for name, shape in {**shapes, "prior_samples": (len(PRIORS), 12), "paths": (4, 21)}.items():
        np.save(folder / f"{name}.npy", rng.integers(0, 256, (*shape, *IMAGE), np.uint8))
    np.save(folder / "neighbours.npy", rng.integers(0, 20, (12, 3)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    folder = root / "measured"
    for row, seed in PSNR:
        write_run(root, row, seed)
    bound = {"kd_net_ab12": 0.01, "fd_net_ab12": 1.5, "precision_net_ab12": 0.7, "recall_net_ab12": 0.6}
    counts = {"train": 20, "validation": 6, "test": 12, "samples": 48, "midpoints": 40, "reconstructions": 20}
    about = {"feature_network": "net_ab12", "other_judges": ["poor_net"], "trained_on": "own", "machine": "two cores"}
    about["counts"] = counts
    split = {"coverage": 0.9, "coverage_random": 0.6, "distance": 1.0, "distance_random": 2.0}
    numbers = {**about, "image_size": 8, "budget": 200, "real": bound, "noise": bound, "split": split}
    (folder / "reference").mkdir()
    write_json(folder / "reference" / "numbers.json", numbers)
    for name in ("train", "test"):
        np.save(folder / "reference" / f"{name}.npy", np.zeros((12, *IMAGE), np.uint8))
    return folders_in(root)


def folders_in(root):
    return Folders(root / "measured", root / "curves", root / "times")


@pytest.fixture(scope="module")
def values(folders):
    return values_by_seed(load_runs(folders, ROWS, SEEDS))


def write(folder, folders):
    (folder / "figures").mkdir(parents=True)
    claims = [
        Claim("Ours is sharper", ("glo", "train.recon.psnr"), "difference at least", 0.0, 22),
        Claim("Its samples are nearer", ("glo", "samples.kd"), "difference at most", ("paper_as_run", "samples.kd"), 0),
        Claim("It beats what was not run", ("glo", "samples.kd"), "difference at most", ("nobody", "samples.kd"), 0),
        Claim("A blind judge recognises", ("glo", "midpoints.recognised"), "difference at least", 0.0, 0),
    ]
    training_images = np.zeros((20, *IMAGE), np.uint8)
    measured = Measured.load(folders, ROWS, SEEDS)
    return write_report(folder / "report.md", folder / "figures", measured, training_images, claims, "Because.")


@pytest.fixture(scope="module")
def written(folders, tmp_path_factory):
    """The folder of a report and the metrics returned."""
    folder = tmp_path_factory.mktemp("written")
    return folder, write(folder, folders)


# --- The report ---


def test_every_figure_is_drawn_and_linked(written):
    folder, _ = written
    assert {path.stem for path in (folder / "figures").iterdir()} == set(CAPTIONS)
    links = re.findall(r"\]\((.*?)\)", (folder / "report.md").read_text())
    assert [*links] == [f"figures/{name}.png" for name in CAPTIONS]


def test_the_report_has_the_numbers_computed_by_hand(written):
    report = (written[0] / "report.md").read_text()
    assert "| the paper | 20.50 ± 0.71 | **0.500 ± 0.000** |" in report
    assert (
        "| ours | **22.50 ± 0.71** | **0.500 ± 0.000** | **0.300 ± 0.000** | **0.400 ± 0.000** | 150 (1 of 2" in report
    )
    assert "| ours | imle (1 of 2), gmm (1 of 2) | **0.100 ± 0.000** |" in report
    assert "| *floor: real images* | – | 0.0100 | – | 0.700 | 0.600 |" in report
    assert "the kernel distance of samples has a standard error of 0.0200" in report
    assert "| ours | **0 ± 0** | 0.100 ± 0.000 | 0.200 ± 0.000 |" in report  # the best prior of a row
    # differences of two seeds are shown with the standard error, the deviation over √2
    assert "| the paper | -2.00 ± 1.00 |" in report and "| **+0.150" not in report and "| +0.150 ± 0.050 |" in report
    sharper = "Ours is sharper (PSNR of training images: ours 22.50 ± 0.71; asked for: at least 22 dB)."
    assert f"- **holds**, with every seed: {sharper}" in report
    assert report.endswith("## Why\n\nBecause.\n")


def test_a_claim_about_what_was_not_run_or_not_seen_is_left_out(written):
    report = (written[0] / "report.md").read_text()
    assert "It beats what was not run" not in report and "A blind judge recognises" not in report


def test_every_metric_of_a_claim_has_words():
    assert {side[1] for claim in CLAIMS for side in (claim.left, claim.right) if isinstance(side, tuple)} <= {*WORDS}


def test_two_judges_stand_side_by_side(written):
    report = (written[0] / "report.md").read_text()
    assert "| `gaussian` | 0.200 ± 0.000 | 3.0 | 3.00 ± 0.00 | 5.0 |" in report
    assert "| `imle` | 0.400 ± 0.000 | 5.0 | 1.00 ± 0.00 | 3.0 |" in report
    kept = "| Its samples are nearer | holds (-0.150 ± 0.050) | does not hold (4.00"
    assert kept in report and "| prior | judge: ours | judge: mean rank | other judge: ours |" in report
    assert "(judge: net_ab12; other judge: poor_net)" in report


def test_runs_of_an_earlier_version_have_fewer_priors():
    values = {"glo": {f"priors.{name}.kd": np.array([rank]) for rank, name in enumerate(PRIORS[:5])}}
    assert prior_ranks(values) == dict(zip(PRIORS[:5], range(1, 6), strict=True))
    lines = prior_judge_lines(values, {"glo": "ours"}, {"": "judge"})
    assert "`imle`" in lines[-1] and len(lines) == 2 + 5


def test_metrics_are_finite_means_and_sample_deviations(written):
    metrics = written[1]
    assert metrics["glo"]["train.recon.psnr"] == {"mean": 22.5, "std": pytest.approx(math.sqrt(0.5))}
    assert metrics["paper_as_run"]["timing.learn.seconds"] == {"mean": 20.0, "std": 0.0}
    assert "images_seen_to_target" not in metrics["glo"] and "samples.se.kd" not in metrics["glo"]
    json.dumps(metrics, allow_nan=False)


def test_the_same_runs_give_the_same_bytes(written, folders, tmp_path):
    write(tmp_path / "again", folders)
    files = [path for path in written[0].rglob("*") if path.is_file()]
    assert len(files) == len(CAPTIONS) + 1
    for path in files:
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(written[0])).read_bytes(), path.name


# --- Runs and numbers ---


def test_a_missing_run_is_named(folders):
    with pytest.raises(UserError, match=r"glo-5: .* not been measured"):
        load_runs(folders, ROWS[1:], (3, 5))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("curves/glo-3.csv", "images_seen,psnr\n0,1\n"),
        ("curves/glo-3.csv", ""),
        ("measured/glo-3/paths.npy", ""),
        ("times/learn/glo-3.json", ""),
    ],
)
def test_a_broken_file_is_named(folders, tmp_path, name, content):
    shutil.copytree(folders.measured.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=name):
        load_runs(folders_in(tmp_path), ROWS[1:], (3,))


def test_a_metric_is_of_the_first_feature_network_that_was_not_trained_on():
    nested = {"a": {"lpips_x_trained_on": 1, "lpips_y": 2, "lpips_z": 3}, "psnr": 4, "kd_x_trained_on": 5}
    assert flat_numbers(nested) == {"a.lpips": 2, "psnr": 4}


@pytest.mark.parametrize(("level", "x"), [(5, 0), (10, 0), (15, 50), (20, 100), (19, 90), (25, math.inf)])
def test_the_first_crossing_is_interpolated_between_points(level, x):
    assert first_crossing(np.array([0, 100, 200, 300]), np.array([10, 20, 12, 22]), level) == x


def test_a_row_is_compared_with_the_target_of_the_same_seed(values):
    assert values["paper_as_run"]["images_seen_to_target"].tolist() == [200, 200]
    assert values["glo"]["images_seen_to_target"].tolist() == [150, math.inf]
    assert values["glo"]["seconds_to_target"].tolist() == [15, math.inf]


def test_one_seed_has_no_standard_deviation():
    assert summary({"a": {"psnr": np.array([1.5])}}) == {"a": {"psnr": {"mean": 1.5, "std": None}}}
    assert paired_difference(np.array([1.5]), np.array([1.0])) == (0.5, None)


def test_what_runs_of_one_seed_share_leaves_a_paired_difference():
    shared, own = np.array([0.0, 100.0, 7.0]), np.array([1.0, 2.0, 3.0])
    mean, error = paired_difference(shared + own, shared)
    assert mean == pytest.approx(2) and error == pytest.approx(1 / math.sqrt(3))


def test_the_tables_know_every_prior():
    assert PRIORS == priors.PRIORS


# --- Tables ---


@pytest.mark.parametrize(
    ("metric", "best"), [("psnr", "high"), ("lpips", "low"), ("novelty", "low"), ("seconds", None)]
)
def test_the_best_of_a_column_is_bold(metric, best):
    values = {"low": {metric: np.array([0.8, 0.9])}, "high": {metric: np.array([1.5, 1.6])}, "absent": {}}
    assert best_rows(values, metric) == ({best} if best else set())
    titles = {name: name for name in values}
    _, _, *lines = table_lines(Table("", {metric: "number"}, ""), values, titles, {})
    assert [line.split(" | ")[0].strip("| ") for line in lines if "**" in line] == ([best] if best else [])
    assert lines[-1] == "| absent | – |"


def test_a_row_that_does_not_always_reach_the_target_is_not_the_best():
    values = {"a": {"images_seen_to_target": np.array([1, math.inf])}, "b": {"images_seen_to_target": np.array([7, 9])}}
    assert best_rows(values, "images_seen_to_target") == {"b"}


def test_a_legend_speaks_of_the_columns_that_are_there():
    table = Table(
        "", {"psnr": "PSNR", "off_code.samples": "ratio"}, "Images.", notes={"off_code.samples": "Ratio: {target}."}
    )
    assert table_legend(table, {"a": {"psnr": np.ones(2)}}, TITLES) == "Images."
    assert table_legend(table, {"a": {"off_code.samples": np.ones(2)}}, TITLES) == "Images. Ratio: the paper."


# --- Claims ---

OURS, PAPER = ("glo", "train.recon.psnr"), ("paper_as_run", "train.recon.psnr")  # 23, 22 and 20, 21 dB


@pytest.mark.parametrize(
    ("operator", "threshold", "verdict"),
    [
        ("difference at least", 1, "**holds**, with every seed"),  # the differences are 3 and 1 dB
        ("difference at least", 2, "**holds** on the mean, but with 1 of 2 seeds only"),
        ("difference at least", 2.5, "**does not hold** on the mean, though with 1 of 2 seeds"),
        ("difference at least", 4, "**does not hold**"),
        ("difference at most", 3, "**holds**, with every seed"),
        ("difference at most", 0.5, "**does not hold**"),
        ("ratio at most", 1.2, "**holds**, with every seed"),
        ("ratio at most", 1, "**does not hold**"),
    ],
)
def test_a_claim_is_checked_for_each_seed_and_on_the_mean(values, operator, threshold, verdict):
    line = claim_line(Claim("Ours wins", OURS, operator, PAPER, threshold), values, TITLES)
    assert line.startswith(f"{verdict}: Ours wins (PSNR of training images: ours 22.50 ± 0.71; the paper 20.50 ± 0.71;")
    quantity = "difference 2.00 ± 1.00" if "difference" in operator else "ratio 1.10 ± 0.05"  # standard errors
    assert f"; {quantity}" in line


def test_a_claim_fails_where_a_target_is_never_reached(values):
    reached = [(name, "images_seen_to_target") for name in TITLES]
    line = claim_line(Claim("Sooner", reached[1], "ratio at most", reached[0], 0.75), values, TITLES)
    assert line.startswith("**does not hold** on the mean, though with 1 of 2 seeds")
    line = claim_line(Claim("Sooner", reached[1], "difference at most", reached[1], 9), values, TITLES)
    assert line.startswith("**does not hold**")


@pytest.mark.parametrize("absent", [("nobody", "train.recon.psnr"), ("glo", "train.recon.nothing")])
def test_a_claim_on_a_missing_row_or_metric_is_not_measured(values, absent):
    line = claim_line(Claim("Ours wins", PAPER, "difference at least", absent, 1), values, TITLES)
    assert line.startswith("**not measured**: Ours wins (missing: ") and words_of(absent[1]) in line
