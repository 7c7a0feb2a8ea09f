"""The comparison: its params, and its whole pipeline on sixty tiny images."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from iglo.comparison import learning
from iglo.comparison.claims import CLAIMS
from iglo.comparison.learning import random_subsets
from iglo.comparison.real import RealImages, load_real, make_judges
from iglo.data.store import ImageStore
from iglo.errors import UserError
from iglo.latent.priors import PRIORS, fit_prior
from iglo.models.glo import GLOModel, render
from iglo.params.comparison import Comparison
from iglo.params.pipeline import parse_params
from iglo.params.reading import load_params
from iglo.randomness import torch_generator
from tests import chain, pipeline
from tests.tiny import RUNTIME

FILE = pipeline.ROOT / "comparison" / "dvc.yaml"
RUNS = "comparison/runs"


def values() -> dict:
    """The committed params made tiny: three methods, two seeds."""
    changed = yaml.safe_load((FILE.parent / "params.yaml").read_text(encoding="utf-8"))
    small = {"points": 2, "images": 8, "inverted": 3, "steps": [0, 2], "rate": 0.05, "code_penalty": 0.1}
    small["other_judges"] = [{"network": "alexnet", "weights": "random"}]
    own = {"seeds": [0, 1], "budget": 300, "run": ["paper_as_run", "incremental_random", "autoencoder"]}
    changed |= own | {
        "joint": ["incremental_random"],
        "measure": small,
        "base": chain.params(**{"joint.epochs": 1, "encoder.mode": "joint"}),
    }
    changed["methods"]["autoencoder"]["changes"]["prior"] = "normal"
    for method in changed["methods"].values():
        method["changes"].pop("rounds", None)
    return changed


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A folder in which every stage of the comparison has run."""
    folder = tmp_path_factory.mktemp("compared")
    chain.write_images(folder / chain.IMAGES)
    (folder / "comparison").mkdir()
    (folder / "comparison" / "params.yaml").write_text(yaml.safe_dump(values()), encoding="utf-8")
    (folder / "comparison" / "discussion.md").write_text("Because.", encoding="utf-8")
    with chain.few_rounds():
        for stage in pipeline.stages(FILE, values()):
            chain.run(folder, stage)
    return folder


def test_the_report_has_every_row_and_its_figures(compared):
    text = (compared / "comparison/report.md").read_text()
    for title in ("paper, as run", "incremental, random subsets", "autoencoder", "incremental, random subsets, joint"):
        assert f"| {title} |" in text
    assert "Because." in text and "±" in text
    metrics = json.loads((compared / "comparison/metrics.json").read_text())
    assert all(row["train.recon.psnr"]["std"] is not None for row in metrics.values())
    assert {"reconstructions.png", "samples.png", "psnr-images-seen.png", "neighbours.png"} <= {
        path.name for path in (compared / "comparison/figures").iterdir()
    }


def test_without_images_the_error_names_the_presets(tmp_path, capsys):
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "params.yaml").write_text(yaml.safe_dump(values()), encoding="utf-8")
    (check,) = (stage for stage in pipeline.stages(FILE, values()) if stage.name == "check")
    with pytest.raises(SystemExit):
        chain.run(tmp_path, check)
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"error: base.data.path: no folder '{chain.IMAGES}'; ")
    assert "`cp presets/digits.yaml params.yaml`" in message and (FILE.parent / "presets" / "digits.yaml").is_file()


def test_every_method_has_the_same_budget(compared):
    """To the nearest epoch of the last stage, in which the generator sees at most 96 images."""
    for path in sorted((compared / RUNS / "curves").iterdir()):
        with path.open(newline="") as file:
            last = list(csv.DictReader(file))[-1]
        numbers = json.loads((compared / RUNS / "measured" / path.stem / "numbers.json").read_text())
        assert numbers["images_seen"] == int(last["images_seen"])
        assert abs(numbers["images_seen"] - 300) <= 48


def test_the_curve_of_an_autoencoder_renders_codes_on_the_device(monkeypatch):
    """The encoder gives codes on the CPU, wherever the generator is."""
    monkeypatch.setattr(learning, "encode", lambda encoder, images, config, runtime: torch.zeros(len(images), 2))
    curve = object.__new__(learning.Curve)
    curve.model, curve.targets = SimpleNamespace(encoder=torch.nn.Identity(), config=None), np.zeros((3, 4, 4, 1))
    curve.runtime = SimpleNamespace(device=torch.device("meta"))
    assert curve._codes().device == curve.runtime.device


def test_an_autoencoder_keeps_its_own_encoder(compared):
    learned, encoded = (
        GLOModel.load(compared / RUNS / part / "autoencoder-1", RUNTIME) for part in ("learned", "encoded")
    )
    for key, weights in learned.encoder.state_dict().items():
        assert np.array_equal(weights, encoded.encoder.state_dict()[key])


def test_seeds_change_the_codes_and_not_the_shown_images(compared):
    first, second = (
        np.load(compared / RUNS / "learned" / f"paper_as_run-{seed}" / "image_codes.npy") for seed in (0, 1)
    )
    assert not np.array_equal(first, second)
    shown = np.load(compared / RUNS / "measured/reference/train.npy")
    images = ImageStore.open(compared / RUNS / "images").train
    assert all(any(np.array_equal(one, image) for image in images) for one in shown)


def numbers_of(folder, run):
    return json.loads((folder / RUNS / "measured" / run / "numbers.json").read_text())


def leaf(values, name):
    """The only number of a section whose key begins with `name`."""
    (found,) = (value for key, value in values.items() if key.startswith(f"{name}_"))
    return found


def test_a_method_without_a_prior_takes_the_best_one_on_validation_images(compared):
    numbers = numbers_of(compared, "paper_as_run-1")
    distances = {name: leaf(each["validation"], "kd") for name, each in numbers["priors"].items()}
    assert tuple(distances) == PRIORS and numbers["prior"] == min(distances, key=distances.get)
    assert numbers_of(compared, "autoencoder-1")["prior"] == "normal"  # as its changes say


def test_each_judge_sees_the_same_images_in_its_own_way(compared):
    numbers = numbers_of(compared, "incremental_random_joint-0")
    (other,) = numbers["other_judges"].values()
    for section in ("samples", "midpoints", "reconstructions"):
        assert leaf(numbers[section], "kd") != leaf(other[section], "kd")
    assert "random_alexnet" in numbers["other_judges"] and set(other["priors"]) == set(PRIORS)
    assert {*numbers["inversion"]["random"]} == {"0", "2"}


def test_real_images_are_seen_once_and_alike(compared):
    """What `reference` has written is what the judge sees."""
    comparison = parse_params(values(), Comparison)
    store, judges = ImageStore.open(compared / RUNS / "images"), make_judges(comparison, RUNTIME)
    for judge, known in zip(judges, load_real(compared / RUNS / "measured/reference", judges), strict=True):
        seen = RealImages.see(judge, store)
        assert np.array_equal(seen.train, known.train) and np.array_equal(seen.test.features, known.test.features)
        assert (seen.validation.probabilities is None) == (known.validation.probabilities is None)


@pytest.mark.parametrize("method", ["paper_as_run", "autoencoder"])
def test_samples_are_drawn_by_the_reported_prior(compared, method):
    model, prior = (
        GLOModel.load(compared / RUNS / "encoded" / f"{method}-1", RUNTIME),
        numbers_of(compared, f"{method}-1"),
    )
    name, settings = prior["prior"], {}
    if name == "neighbours":
        settings = {key: prior["priors"][name]["validation"][key] for key in ("k", "noise")}
    codes = fit_prior(name, model.codes.values, model.config.geometry(), 1, **settings)
    codes = codes.draw(16, torch_generator(0, "samples"))  # run 1, and the seed of the evaluation
    expected = (render(model.generator, codes, RUNTIME) * 255).round().astype(np.uint8)
    assert np.array_equal(np.load(compared / RUNS / "measured" / f"{method}-1" / "samples.npy"), expected)


def test_random_subsets_have_the_same_lengths_and_all_ids():
    subsets = [np.array([0, 3]), np.array([1, 2, 5, 7]), np.array([4, 6, 8])]
    drawn = random_subsets(subsets, 0)
    assert [len(part) for part in drawn] == [2, 4, 3]
    assert sorted(np.concatenate(drawn)) == list(range(9))
    assert any(not np.array_equal(a, b) for a, b in zip(drawn, subsets, strict=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": ["gloo"]}, "run: must name methods among .*got 'gloo'"),
        ({"joint": ["glo"], "run": ["continuity"]}, "joint: must name methods among continuity, got 'glo'"),
        ({"seeds": [1, 1]}, "seeds: must be one or more different numbers"),
        ({"budget": 0}, "budget: must be at least 1, got 0"),
        ({"base": chain.params(**{"data.validation": 0})}, "base.data.validation: must be at least 1"),
    ],
)
def test_a_mistake_in_the_comparison_is_named(change, said):
    with pytest.raises(UserError, match=said):
        parse_params(values() | change, Comparison)


def test_methods_share_their_images_and_their_evaluation():
    broken = values()
    broken["methods"]["glo"]["changes"] = {"evaluate": {"samples": 5}}
    with pytest.raises(UserError, match=r"methods\.glo\.changes\.evaluate: must be left out"):
        parse_params(broken, Comparison)


def test_a_misspelt_change_names_its_method():
    broken = values()
    broken["methods"]["glo"]["changes"] = {"sigmaa": 1.0}
    with pytest.raises(UserError, match=r"methods\.glo\.changes: .*sigmaa: unknown key; did you mean"):
        parse_params(broken, Comparison)


@pytest.mark.parametrize(
    "path", [FILE.parent / "params.yaml", *FILE.parent.glob("presets/*.yaml")], ids=lambda p: p.stem
)
def test_the_committed_params_run_every_method_with_three_seeds(path):
    comparison = load_params(path, Comparison)
    assert set(comparison.run) == set(comparison.methods) and len(comparison.seeds) >= 3
    assert comparison.params("glo", 2).seed == 2 and comparison.params("glo").method == "glo"


def test_every_claim_is_about_a_committed_method():
    methods = load_params(FILE.parent / "params.yaml", Comparison).methods.keys()
    rows = {side[0] for claim in CLAIMS for side in (claim.left, claim.right) if isinstance(side, tuple)}
    assert {row.removesuffix("_joint") for row in rows} <= methods
