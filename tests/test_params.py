"""Every committed file loads, and whatever is wrong with one is one sentence with the key, the need and the value."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from iglo.errors import UserError
from iglo.params import ClassContentParams, Comparison, Params, load_params, parse_params
from tests.tiny import ROOT

FILES = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]


def refusal(path: Path, values) -> str:
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_params(path)
    message = str(error.value)
    assert "\n" not in message and re.search(r"[.?]$", message) and not re.search(r"[.?!] [A-Z]", message), message
    return message


def changed(params: dict, key: str, value) -> dict:
    params = copy.deepcopy(params)
    *sections, name = (int(part) if part.isdigit() else part for part in key.split("."))
    inner = params
    for section in sections:
        inner = inner[section]
    inner[name] = value
    return params


def keys(values, prefix: str = "") -> set[str]:
    """Dotted keys; those of a list's items under `*`."""
    if isinstance(values, dict):
        return {key for name, value in values.items() for key in {prefix + name} | keys(value, f"{prefix}{name}.")}
    if isinstance(values, list):
        return {key for value in values for key in keys(value, f"{prefix}*.")}
    return set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_committed_file_loads_and_has_the_same_keys(path, params):
    assert isinstance(load_params(path), Params)
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert keys(values) == keys(params)
    assert all(keys(item) == keys(params["rounds"][0]) for item in values["rounds"])


@pytest.mark.parametrize(
    ("key", "value", "need"),
    [
        ("seed", True, "a whole number, got True"),
        ("seed", 1.0, "a whole number, got 1.0"),
        ("seed", "0", "a whole number, got '0'"),
        ("seed", None, "a whole number, got None"),
        ("seed", -1, "at least 0, got -1"),
        ("alpha", True, "a finite number, got True"),
        ("alpha", "much", "a finite number, got 'much'"),
        ("alpha", float("nan"), "a finite number, got nan"),
        ("beta", "nan", "a finite number, got nan"),
        ("beta", "inf", "a finite number, got inf"),
        ("sigma", float("inf"), "a finite number, got inf"),
        ("sigma", -0.1, "at least 0, got -0.1"),
        ("sigma_end", -0.1, "at least 0, got -0.1"),
        ("method", "gan", "one of glo, incremental, got 'gan'"),
        ("sampler", "gan", "one of best, normal, gaussian_diag, gaussian, gmm, imle, got 'gan'"),
        ("precision", "fp16", "one of fp32, tf32, bf16, got 'fp16'"),
        ("data", None, "a mapping of keys to values, got None"),
        ("data.path", 3, "a text, got 3"),
        ("data.shuffle", "yes", "true or false, got 'yes'"),
        ("data.shuffle", 1, "true or false, got 1"),
        ("data.classes", "frog", "a list, got 'frog'"),
        ("data.classes", ["frog", 6], "a text, got 6"),
        ("data.image_size", 48, "a power of two from 16 to 128, got 48"),
        ("data.image_size", 8, "a power of two from 16 to 128, got 8"),
        ("data.image_size", 256, "a power of two from 16 to 128, got 256"),
        ("data.channels", 2, "1 or 3, got 2"),
        ("data.train", 0, "at least 1, got 0"),
        ("data.test", 0, "at least 1, got 0"),
        ("latent.dimension", 0, "at least 1, got 0"),
        ("latent.radius", 0, "greater than 0, got 0.0"),
        ("latent.constraint", None, "one of none, ball, sphere, got None"),
        ("generator.width", 0, "at least 1, got 0"),
        ("generator.ema", 1, "at least 0 and less than 1, got 1.0"),
        ("loss.blocks", 6, "from 1 to 5, got 6"),
        ("loss.blocks", 0, "from 1 to 5, got 0"),
        ("optimizer.generator_rate", 0, "greater than 0, got 0.0"),
        ("optimizer.code_rate", -1e-3, "greater than 0, got -0.001"),
        ("optimizer.schedule", True, "one of constant, linear, cosine, got True"),
        ("optimizer.name", "lamb", "one of adam, dense_adam, sgd, got 'lamb'"),
        ("optimizer.reshuffle", None, "true or false, got None"),
        ("staged.beta", 0, "greater than 0, got 0.0"),
        ("staged.earlier_batch", 0, "at least 1, got 0"),
        ("full.batch_size", 0, "at least 1, got 0"),
        ("full.epochs", -1, "at least 0, got -1"),
        ("encoder.held_out", 1.0, "greater than 0 and less than 1, got 1.0"),
        ("encoder.held_out", 0, "greater than 0 and less than 1, got 0.0"),
        ("encoder.mode", "both", "one of codes, joint, got 'both'"),
        ("encoder.epochs", 0, "at least 1, got 0"),
        ("encoder.pairs", -1, "at least 0, got -1"),
        ("encoder.pairs_sigma", None, "a finite number, got None"),
        ("joint.epochs", -1, "at least 0, got -1"),
        ("joint.rate", 0, "greater than 0, got 0.0"),
        ("joint.keep_weight", -0.5, "at least 0, got -0.5"),
        ("joint.flip", 1, "true or false, got 1"),
        ("joint.shift", -1, "at least 0, got -1"),
        ("joint.gain", 1.5, "from 0 to 1, got 1.5"),
        ("rounds", {"id": 1}, "a list, got {'id': 1}"),
        ("rounds", [], "at least one round, got an empty list"),
        ("rounds.1", 3, "a mapping of keys to values, got 3"),
        ("rounds.1.clusters", 0, "at least 1, got 0"),
        ("rounds.1.per_cluster", None, "a number, since rounds follow, got None"),
        ("rounds.2.per_cluster", 4, "the last round takes all that is left, got 4"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_need(params, tmp_path, key, value, need):
    message = refusal(tmp_path / "params.yaml", changed(params, key, value))
    key = key + ".1" if value == ["frog", 6] else key
    assert message.startswith(f"{key}: must ") and need in message


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("sed", "sed: unknown key; did you mean seed?"),
        ("optimizer.generater_rate", "optimizer.generater_rate: unknown key; did you mean optimizer.generator_rate?"),
        ("rounds.1.cluster", "rounds.1.cluster: unknown key; did you mean rounds.1.clusters?"),
        ("data.xyzzy", "data.xyzzy: unknown key."),
    ],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(params, tmp_path, key, message):
    assert refusal(tmp_path / "params.yaml", changed(params, key, 1)) == message


def test_any_missing_key_is_named(params, tmp_path):
    params.pop("launch")  # which DVC asks for
    for section, values in params.items():
        for key in [None, *(values if isinstance(values, dict) else ())]:
            less = copy.deepcopy(params)
            del (less if key is None else less[section])[key or section]
            name = section if key is None else f"{section}.{key}"
            assert refusal(tmp_path / "params.yaml", less).startswith(f"{name}: missing;")
    del params["rounds"][1]["epochs"]
    assert refusal(tmp_path / "params.yaml", params).startswith("rounds.1.epochs: missing;")


@pytest.mark.parametrize("value", [None, 2, " "])
def test_a_launch_that_starts_nothing_is_refused(params, tmp_path, value):
    message = refusal(tmp_path / "params.yaml", changed(params, "launch", value))
    assert message == f"launch: must be the command that starts a stage, such as python, got {value!r}."


@pytest.mark.parametrize(("index", "key", "value"), [(0, "id", 2), (1, "id", 3), (1, "after", 0), (2, "after", 1)])
def test_rounds_are_numbered_in_order(params, tmp_path, index, key, value):
    message = refusal(tmp_path / "params.yaml", changed(params, f"rounds.{index}.{key}", value))
    assert message.startswith(f"rounds.{index}: must be numbered in order, id {index + 1} after {index}, got id ")


@pytest.mark.parametrize("pair", [("alpha", "beta"), ("encoder.l1", "encoder.l2")])
def test_two_weights_are_not_both_zero(params, tmp_path, pair):
    for key in pair:
        params = changed(params, key, 0)
    message = refusal(tmp_path / "params.yaml", params)
    assert message == f"{pair[0]}, {pair[1]}: at least one must be greater than 0, got 0 and 0."
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed(params, pair[0], 0.5)))
    load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "'1e-3'"])
def test_rates_may_be_written_with_an_exponent(tmp_path, text):
    """YAML 1.1 reads 1e-3 as a text."""
    lines = re.sub(r"(generator_rate:) \S+", rf"\1 {text}", FILES[0].read_text(encoding="utf-8"))
    (tmp_path / "params.yaml").write_text(lines, encoding="utf-8")
    assert load_params(tmp_path / "params.yaml").optimizer.generator_rate == 1e-3


def test_whole_numbers_serve_as_numbers_and_null_as_none(params, tmp_path):
    for key, value in (("sigma", 2), ("latent.radius", None), ("data.test", None), ("data.classes", ["frog", "ship"])):
        params = changed(params, key, value)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    loaded = load_params(tmp_path / "params.yaml")
    assert type(loaded.sigma) is float and loaded.sigma == 2
    assert loaded.latent.radius is loaded.data.test is None and loaded.data.classes == ("frog", "ship")


def test_a_file_that_is_none(tmp_path):
    assert "not valid YAML" in refusal(tmp_path / "params.yaml", "seed: [0\nalpha: }")
    assert refusal(tmp_path / "params.yaml", "").startswith("params: must be a mapping")
    with pytest.raises(UserError, match=r"nowhere\.yaml: cannot read the params file \(No such file"):
        load_params(tmp_path / "nowhere.yaml")
    (tmp_path / "params.yaml").write_bytes("# Frösche\nseed: 0\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"params\.yaml: not valid YAML"):
        load_params(tmp_path / "params.yaml")


# --- The comparison ---

COMPARISONS = [ROOT / "comparison" / "params.yaml", *sorted((ROOT / "comparison" / "presets").glob("*.yaml"))]


@pytest.fixture
def comparison() -> dict:
    return yaml.safe_load(COMPARISONS[0].read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.stem)
def test_every_arm_of_a_comparison_is_its_base_changed(path):
    comparison = load_params(path, Comparison)
    base = comparison.params()
    assert load_params(path) == base == parse_params(comparison.base)
    for name, arm in comparison.arms.items():
        params = comparison.params(name, 7)
        expected = copy.deepcopy(comparison.base) | {"seed": 7}
        for key, change in arm.changes.items():
            expected[key] = {**expected[key], **change} if isinstance(change, dict) else change
        assert params == parse_params(expected)
    assert comparison.params() == base and comparison.params(seed=7) != base


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("run", ["glo", "gan"], r"run: must name arms among [^\n]*, got 'gan'\."),
        ("joint", ["gan"], r"joint: must name arms among [^\n]*, got 'gan'\."),
        ("seeds", [0, 0], r"seeds: must be one or more different numbers, got \[0, 0\]\."),
        ("seeds", [], r"seeds: must be one or more different numbers, got \[\]\."),
        ("budget", 0, r"budget: must be at least 1, got 0\."),
        ("measure.steps", [10, 50], r"measure\.steps: must start with 0 and increase, got \[10, 50\]\."),
        ("measure.steps", [0, 50, 10], r"measure\.steps: must start with 0 and increase, got \[0, 50, 10\]\."),
        ("arms.glo.learner", "gan", r"arms\.glo\.learner: must be one of stages, autoencoder, got 'gan'\."),
        ("arms.glo.changes", {"sede": 1}, r"arms\.glo\.changes: sede: unknown key; did you mean seed\?"),
        (
            "arms.glo.changes",
            {"optimizer": {"code_rate": 0}},
            r"arms\.glo\.changes: optimizer\.code_rate: must be greater than 0, got 0\.0\.",
        ),
    ],
)
def test_a_wrong_comparison_is_refused(comparison, tmp_path, key, value, message):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed(comparison, key, value)), encoding="utf-8")
    for kind in (Comparison, None):  # the first stages of a comparison read its base
        with pytest.raises(UserError, match=f"^{message}$"):
            load_params(path, kind)


def test_a_comparison_without_its_base_is_refused_as_a_comparison(comparison, tmp_path):
    comparison["bases"] = comparison.pop("base")
    assert refusal(tmp_path / "params.yaml", comparison) == "bases: unknown key; did you mean base?"


# --- Class and content ---

CLASS_CONTENTS = [ROOT / "disentangle" / "params.yaml", *sorted((ROOT / "disentangle" / "presets").glob("*.yaml"))]


@pytest.fixture
def class_content() -> dict:
    return yaml.safe_load(CLASS_CONTENTS[0].read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CLASS_CONTENTS, ids=lambda path: path.stem)
def test_every_file_of_class_and_content_loads_and_has_the_same_keys(path, class_content):
    loaded = load_params(path)
    assert isinstance(loaded, ClassContentParams) and loaded == load_params(path, ClassContentParams)
    assert keys(yaml.safe_load(path.read_text(encoding="utf-8"))) == keys(class_content)
    assert loaded.last_sigma == loaded.sigma


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("combin", "film", "combin: unknown key; did you mean combine?"),
        ("latent.clas_dimension", 5, "latent.clas_dimension: unknown key; did you mean latent.class_dimension?"),
        ("combine", "adain", "combine: must be one of concat, film, got 'adain'."),
        ("data.fit", "crop", "data.fit: must be one of resize, pad, got 'crop'."),
        ("sigma", -0.1, "sigma: must be at least 0, got -0.1."),
        ("optimizer.class_rate", 0, "optimizer.class_rate: must be greater than 0, got 0.0."),
        ("probe.converted", 1, "probe.converted: must be at least 2, got 1."),
        ("sweep.sigma", [0.1, -1], "sweep.sigma.1: must be at least 0, got -1.0."),
        ("sweep.loss", ["l1", "l3"], "sweep.loss.1: must be one of perceptual, l1, l2, l1_l2, lap_l1, got 'l3'."),
        ("joint.shift", 32, "joint.shift: must be less than data.image_size, got 32."),
        (
            "data.test",
            400,
            "data.test: must be more than probe.unseen + judge.held_out, since the rest is what the judge learns from, "
            "got 400.",
        ),
    ],
)
def test_a_mistake_in_class_and_content_is_named(class_content, tmp_path, key, value, message):
    assert refusal(tmp_path / "params.yaml", changed(class_content, key, value)) == message


def test_a_missing_key_of_class_and_content_is_named_whichever_it_is(class_content, tmp_path):
    for key in class_content:
        less = {name: value for name, value in class_content.items() if name != key}
        assert refusal(tmp_path / "params.yaml", less).startswith(f"{key}: missing;")


@pytest.mark.parametrize("test", [401, None])
def test_test_images_that_are_enough_are_not_refused(class_content, test):
    assert parse_params(changed(class_content, "data.test", test), ClassContentParams).data.test == test
