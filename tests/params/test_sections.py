"""Every committed file loads, and whatever is wrong with one is one sentence with the key, the need and the value."""

import copy
import re
import time
from pathlib import Path

import pytest
import yaml
from dvc.utils import serialize
from dvc.utils.hydra import apply_overrides

from iglo.errors import UserError
from iglo.params.fields import parse_yaml, shown
from iglo.params.sections import ClassContentParams, Comparison, Params, check_rounds, load_params, parse_params
from tests.tiny import ROOT, peak_bytes

FILES = [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]


LARGE = ["sigma", "sigma_end", "alpha", "beta", "staged.alpha", "staged.beta", "encoder.l1", "encoder.pairs_sigma"]


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
        ("prior", "gan", "one of best, normal, gaussian_diag, gaussian, gmm, imle, got 'gan'"),
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
        ("data.train", 10**399, f"at most {2**63 - 1}, got 1000000"),
        ("sigma", 10**399, "a finite number, got 1000000"),
        ("latent.dimension", 20_000, "at most 4096, got 20000"),
        ("generator.width", 10_000, "at most 1024, got 10000"),
        ("encoder.width", 10_000, "at most 1024, got 10000"),
        ("features.image_size", 100_000, "at most 1024, got 100000"),
        ("features.batch_size", 10**6, "at most 65536, got 1000000"),
        ("full.batch_size", 10**6, "at most 65536, got 1000000"),
        ("full.epochs", 10**12, "at most 1000000, got 1000000000000"),
        ("evaluate.samples", 10**9, "at most 1000000, got 1000000000"),
        ("evaluate.pairs", 10**7, "at most 100000, got 10000000"),
        ("evaluate.steps", 10**6, "at most 1000, got 1000000"),
        ("rounds.0.clusters", 1501, "at most 1500, since there are 1500 training images, got 1501; ask for fewer"),
        (
            "rounds.0.per_cluster",
            23,
            "at most 28, since there are 1500 training images, of which the rounds before take",
        ),
        (
            "rounds.1.per_cluster",
            20,
            "at most 0, since there are 1500 training images, of which the rounds before take",
        ),
        ("data.test", 0, "at least 1, got 0"),
        ("latent.dimension", 0, "at least 1, got 0"),
        ("latent.radius", 0, "greater than 0, got 0.0"),
        ("latent.radius", 1e-40, "from 1e-06 to 1000000.0, got 1e-40"),
        ("latent.radius", 1e308, "from 1e-06 to 1000000.0, got 1e+308"),
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
        *((key, 1e308, "at most 1000000.0, got 1e+308") for key in LARGE),
        ("staged.earlier_batch", 0, "at least 1, got 0"),
        ("full.batch_size", 0, "at least 1, got 0"),
        ("full.epochs", -1, "at least 0, got -1"),
        ("encoder.held_out", 1.0, "greater than 0 and less than 1, got 1.0"),
        ("encoder.held_out", 0, "greater than 0 and less than 1, got 0.0"),
        ("encoder.held_out", 0.9999, "leave at least one of the 1500 training images, got 0.9999; lower it"),
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
    if key.endswith("per_cluster") and isinstance(value, int) and "training images" in need:
        key = f"rounds.{int(key.split('.')[1]) + 1}.clusters"  # the round that may have no images left
    assert message.startswith(f"{key}: must ") and need in message and len(message) < 300


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


@pytest.mark.parametrize("value", [None, 2, " ", ["a"] * 1000])
def test_a_launch_that_starts_nothing_is_refused(params, tmp_path, value):
    message = refusal(tmp_path / "params.yaml", changed(params, "launch", value))
    assert message == f"launch: must be the command that starts a stage, such as python, got {shown(value)}."


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


# --- YAML that is accepted, as by DVC, and YAML that is refused ---


def nested_aliases(first: str, form: str) -> str:
    """Nine levels of nine aliases of the level before: 9⁹ values in less than a kilobyte."""
    lines = [f"a0: &a0 {first}"] + [f"a{i}: &a{i} {form % ', '.join([f'*a{i - 1}'] * 9)}" for i in range(1, 10)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("seed: " + "9" * 5000, r"line 1, column 7: '9999[^']*' cannot be read as a value: Exceeds the limit"),
        ("seed: 0\nalpha: 2001-99-99", r"line 2, column 8: '2001-99-99' cannot be read as a value: month must be in"),
        ("seed: 0x_", r"line 1, column 7: '0x_' cannot be read as a value"),
        ("seed: !!int zz", r"line 1, column 7: 'zz' cannot be read as a value"),
        ("seed: !!int ''", r"line 1, column 7: '' cannot be read as a value"),
        ("seed: !!bool x", r"line 1, column 7: 'x' cannot be read as a value"),
        ("seed: !!timestamp x", r"line 1, column 7: failed to construct timestamp"),
        ("seed: !!python/name:os.system x", r"line 1, column 7: could not determine a constructor"),
        ("seed: =", r"line 1, column 7: could not determine a constructor"),
        ("seed: 1\x00", r"unacceptable character #x0000"),
        ('seed: "\\UFFFFFFFF"', r"too large"),
        ('seed: "\\U00110000"', r"not in range"),
        ("seed: " + "{a: " * 101 + "}" * 101, r"nested too deep"),
        ("seed: &a [*a]", r"an alias within what it names"),
        ("seed: *a", r"line 1, column 7: found undefined alias"),
        ("seed: 0\nalpha: 1\nseed: 1", r"line 3, column 1: found duplicate key .seed."),
        ("data: {path: a, path: b}", r"line 1, column 17: found duplicate key .path."),
        ("--- {}\n--- {}", r"line 2, column 1: but found another document"),
        ("? {a: 1}\n: 2", r"line 1, column 3: found unhashable key"),
    ],
)
def test_whatever_the_reader_raises_is_one_sentence(tmp_path, text, reason):
    assert re.search(rf"params\.yaml: not valid YAML \([^\n]*{reason}", refusal(tmp_path / "params.yaml", text))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5000, "- " * 20_000])
def test_what_is_nested_deep_is_refused_without_reading_it_all(tmp_path, text):
    started = time.perf_counter()
    assert "nested too deep" in refusal(tmp_path / "params.yaml", text)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("text", [nested_aliases("[x, x]", "[%s]"), nested_aliases("{x: 1}", "{<<: [%s]}")])
def test_aliases_do_not_multiply(tmp_path, text):
    message, peak = peak_bytes(lambda: refusal(tmp_path / "params.yaml", text))
    assert message.endswith("params.yaml: aliases must stand for at most 100000 values together, got more.")
    assert peak < 10 * 2**20


def test_a_file_that_is_far_too_long_is_not_read(tmp_path):
    assert refusal(tmp_path / "params.yaml", "#" * 2**20 + "\nseed: 0").endswith(
        "must be a params file of at most 131072 characters, got a longer one."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-" + "9" * 400, f"seed: must be at least -{2**63 - 1}, got -999"),
        ("0x" + "f" * 5000, f"seed: must be at most {2**63 - 1}, got a value that has 20000 bits."),
        ("2001-01-01", "seed: must be a whole number, got datetime.date(2001, 1, 1)."),
        ("{a: [b, {c: !!set {d}}]}", "seed: must be a whole number, got {'a': ['b', {'c': {'d'}}]}."),
        ("x" * 500, "seed: must be a whole number, got 'xxxxxxx"),
        ('"a\\nb"', r"seed: must be a whole number, got 'a\nb'."),
    ],
)
def test_a_value_in_a_message_is_short_and_in_one_line(tmp_path, text, message):
    lines = FILES[0].read_text(encoding="utf-8").replace("\nseed: 0\n", f"\nseed: {text}\n")
    found = refusal(tmp_path / "params.yaml", lines)
    assert found.startswith(message) and len(found) < 200


@pytest.mark.parametrize(
    ("key", "shown"), [('"a\\nb"', r"'a\nb'"), ("k" * 300, "'kkk"), ("[1, 2]", "(1, 2)"), ("2001-01-01", "datetime")]
)
def test_an_unknown_key_is_shown_in_one_line(tmp_path, key, shown):
    message = refusal(tmp_path / "params.yaml", f"? {key}\n: 1")
    assert message.startswith(shown) and "unknown key" in message and len(message) < 150


TEXTS = [
    "010", "0o10", "0x10", "0b10", "1:30", "1:30:20.5", "yes", "no", "on", "off", "y", "True", "FALSE", "~", "null",
    "''", "1e3", "1e-3", "1E5", "1.0e-3", ".5", "5.", "+1", "1_000", "09", "-010", ".inf", ".nan", "1e400", "9.9.9",
    "'1e-3'", "[on, 010, {a: 1:30}]", "&a 1", "! 1", "<<", "%YAML", "\ufeff1",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_value_means_what_it_means_to_dvc(text):
    def by_dvc() -> object:
        return serialize.parse_yaml(f"key: {text}", "params.yaml")

    try:
        expected = by_dvc()
    except serialize.YAMLFileCorruptedError:
        with pytest.raises(UserError):
            parse_yaml(f"key: {text}", "params.yaml")
    else:
        assert repr(parse_yaml(f"key: {text}", "params.yaml")) == repr(expected)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("sigma", "1e-5", 1e-5),
        ("sigma", "1e3", 1000.0),
        ("sigma_end", "null", None),
        ("data.path", "yes", "yes"),
        ("data.path", "'010'", "010"),
        ("data.path", "'1:30'", "1:30"),
        ("data.path", "'1e3'", "1e3"),
        ("data.path", "a b é: #c", "a b é: #c"),
        ("data.classes", "[on,off,'3']", ("on", "off", "3")),
        ("data.shuffle", "false", False),
        ("seed", "10", 10),
        ("rounds.1.epochs", "7", 7),
    ],
)
def test_what_set_param_writes_is_read_as_it_was_meant(tmp_path, key, text, value):
    """`dvc exp run -S key=text` changes the file in the same way."""
    path = tmp_path / "params.yaml"
    path.write_text(FILES[0].read_text(encoding="utf-8"), encoding="utf-8")
    quoted = f"'{text}'" if " " in text else text
    apply_overrides(path, [f"{key}={quoted}"])
    place = load_params(path)
    for part in key.split("."):
        place = place[int(part)] if part.isdigit() else getattr(place, part)
    assert place == value and type(place) is type(value)


def test_as_many_images_as_the_rounds_may_take_are_enough(params):
    loaded = parse_params(changed(params, "data.train", 64 * 4 + 64 * 8 + 1))
    check_rounds(loaded.rounds, 769)
    with pytest.raises(
        UserError, match=r"^rounds\.2\.clusters: must be at most 0, since there are 768 training images"
    ):
        check_rounds(loaded.rounds, 768)


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
    for name, method in comparison.methods.items():
        params = comparison.params(name, 7)
        expected = copy.deepcopy(comparison.base) | {"seed": 7}
        for key, change in method.changes.items():
            expected[key] = {**expected[key], **change} if isinstance(change, dict) else change
        assert params == parse_params(expected)
    assert comparison.params() == base and comparison.params(seed=7) != base


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("run", ["glo", "gan"], r"run: must name methods among [^\n]*, got 'gan'\."),
        ("joint", ["gan"], r"joint: must name methods among [^\n]*, got 'gan'\."),
        ("run", ["glo", "glo"], r"run: must be one or more different values, got \['glo', 'glo'\]\."),
        ("joint", ["glo", "glo"], r"joint: must be one or more different values, got \['glo', 'glo'\]\."),
        ("run", [], r"run: must be one or more different values, got \[\]\."),
        ("seeds", [0, 0], r"seeds: must be one or more different numbers, got \[0, 0\]\."),
        ("seeds", [], r"seeds: must be one or more different numbers, got \[\]\."),
        (
            "methods.glo.changes",
            {"seed": {"a": 1}},
            r"methods\.glo\.changes: seed: must be a whole number, got {'a': 1}\.",
        ),
        ("methods.glo.changes", {"rounds": {0: 1}}, r"methods\.glo\.changes: rounds: must be a list, got {0: 1}\."),
        (
            "methods.glo.changes",
            {"latent": {"dimension": 20_000}},
            r"methods\.glo\.changes: latent\.dimension: must be at [^\n]*",
        ),
        ("budget", 0, r"budget: must be at least 1, got 0\."),
        ("measure.probes", 48_001, r"measure\.probes: must be at most budget, 48000, got 48001\."),
        ("measure.steps", [10, 50], r"measure\.steps: must start with 0 and increase, got \[10, 50\]\."),
        ("measure.steps", [0, 50, 10], r"measure\.steps: must start with 0 and increase, got \[0, 50, 10\]\."),
        ("methods.glo.learner", "gan", r"methods\.glo\.learner: must be one of stages, autoencoder, got 'gan'\."),
        ("methods.glo.changes", {"sede": 1}, r"methods\.glo\.changes: sede: unknown key; did you mean seed\?"),
        (
            "methods.glo.changes",
            {"optimizer": {"code_rate": 0}},
            r"methods\.glo\.changes: optimizer\.code_rate: must be greater than 0, got 0\.0\.",
        ),
    ],
)
def test_a_wrong_comparison_is_refused(comparison, tmp_path, key, value, message):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed(comparison, key, value)), encoding="utf-8")
    for kind in (Comparison, None):  # the first stages of a comparison read its base
        with pytest.raises(UserError, match=f"^{message}$"):
            load_params(path, kind)


@pytest.mark.parametrize("name", ["../x", "a b", 1, "a\nb"])
def test_an_arm_has_a_name_that_can_be_a_files(comparison, tmp_path, name):
    comparison["methods"][name] = comparison["methods"]["glo"]
    message = refusal(tmp_path / "params.yaml", comparison)
    assert message == f"methods: must have names of letters, digits, _ and -, got {name!r}."


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
        ("renders.converted", 1, "renders.converted: must be at least 2, got 1."),
        ("sweep.sigma", [0.1, -1], "sweep.sigma.1: must be at least 0, got -1.0."),
        ("sweep.sigma", [0.1, 0.1], "sweep.sigma: must be one or more different values, got [0.1, 0.1]."),
        ("sweep.decay", [], "sweep.decay: must be one or more different values, got []."),
        ("sweep.loss", ["l1", "l3"], "sweep.loss.1: must be one of perceptual, l1, l2, l1_l2, lap_l1, got 'l3'."),
        ("joint.shift", 32, "joint.shift: must be less than data.image_size, got 32."),
        ("data", {"train": None, "test": None}, "data.train, data.test: at most one may be null, got null and null."),
        (
            "data.test",
            400,
            "data.test: must be more than renders.unseen + classifier.held_out, 400 images, because the classifier "
            "learns from the rest, got 400.",
        ),
    ],
)
def test_a_mistake_in_class_and_content_is_named(class_content, tmp_path, key, value, message):
    value = {**class_content[key], **value} if isinstance(value, dict) else value
    assert refusal(tmp_path / "params.yaml", changed(class_content, key, value)) == message


def test_a_missing_key_of_class_and_content_is_named_whichever_it_is(class_content, tmp_path):
    for key in class_content:
        less = {name: value for name, value in class_content.items() if name != key}
        assert refusal(tmp_path / "params.yaml", less).startswith(f"{key}: missing;")


@pytest.mark.parametrize("test", [401, None])
def test_test_images_that_are_enough_are_not_refused(class_content, test):
    assert parse_params(changed(class_content, "data.test", test), ClassContentParams).data.test == test
