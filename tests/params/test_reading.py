"""Params files: every committed one loads, and whatever is wrong with a file is one sentence."""

import re
import time
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_args

import pytest
import yaml
from dvc.utils import serialize
from dvc.utils.hydra import apply_overrides

from iglo.errors import UserError
from iglo.params import class_content, comparison, pipeline, sections
from iglo.params.class_content import ClassContentParams
from iglo.params.comparison import Comparison
from iglo.params.pipeline import Params
from iglo.params.reading import load_params, parse_yaml
from tests.params.cases import CLASS_CONTENTS, COMPARISONS, FILES
from tests.tiny import peak_bytes


def refusal(path: Path, text: str) -> str:
    """The message for a file with this text."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_params(path)
    message = str(error.value)
    assert "\n" not in message and re.search(r"[.?]$", message) and not re.search(r"[.?!] [A-Z]", message), message
    return message


def keys(values, prefix: str = "") -> set[str]:
    """Dotted keys; those of a list's items under `*`."""
    if isinstance(values, dict):
        return {key for name, value in values.items() for key in {prefix + name} | keys(value, f"{prefix}{name}.")}
    if isinstance(values, list):
        return {key for value in values for key in keys(value, f"{prefix}*.")}
    return set()


def test_every_committed_file_loads_and_has_the_keys_of_its_kind():
    for kind, paths in ((Params, FILES), (ClassContentParams, CLASS_CONTENTS), (Comparison, COMPARISONS)):
        assert len(paths) >= 3
        expected = None
        for path in paths:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            loaded = load_params(path, object)
            assert type(loaded) is kind and loaded == load_params(path, kind), path
            if kind is not Comparison:  # methods and their changes differ
                assert load_params(path) == loaded and keys(values) == (expected or keys(values)), path
                expected = keys(values)


def test_every_value_of_a_params_file_is_explained():
    """By a docstring of its own; a section has the docstring of its class."""
    kinds = [value for module in (sections, pipeline, class_content, comparison) for value in vars(module).values()]
    for kind in {kind for kind in kinds if hasattr(kind, "__pydantic_fields__")}:
        assert kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}("), kind
        for name in kind.__annotations__:
            field = kind.__pydantic_fields__[name]
            inner = (field.annotation, *get_args(field.annotation))
            assert field.description or any(map(is_dataclass, inner)), f"{kind.__name__}.{name}"


def test_rates_may_be_written_with_an_exponent(tmp_path):
    for text in ("1e-3", "1.0e-3", "0.001", "'1e-3'"):
        lines = re.sub(r"(generator_rate:) \S+", rf"\1 {text}", FILES[0].read_text(encoding="utf-8"))
        (tmp_path / "params.yaml").write_text(lines, encoding="utf-8")
        assert load_params(tmp_path / "params.yaml").optimizer.generator_rate == 1e-3, text


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


NO_YAML = [
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
]


def test_whatever_the_reader_raises_is_one_sentence(tmp_path):
    for text, reason in NO_YAML:
        message = refusal(tmp_path / "params.yaml", text)
        assert re.search(rf"params\.yaml: not valid YAML \([^\n]*{reason}", message), message


def test_what_is_nested_deep_is_refused_without_reading_it_all(tmp_path):
    for text in ("[" * 100_000, "{a: " * 5000, "- " * 20_000):
        started = time.perf_counter()
        assert "nested too deep" in refusal(tmp_path / "params.yaml", text)
        assert time.perf_counter() - started < 5


def test_aliases_do_not_multiply(tmp_path):
    path = tmp_path / "params.yaml"
    for text in (nested_aliases("[x, x]", "[%s]"), nested_aliases("{x: 1}", "{<<: [%s]}")):
        message, peak = peak_bytes(lambda text=text: refusal(path, text))
        assert message == f"{path}: aliases must stand for at most 100000 values together, got more."
        assert peak < 10 * 2**20


def test_a_file_that_is_far_too_long_is_not_read(tmp_path):
    assert refusal(tmp_path / "params.yaml", "#" * 2**20 + "\nseed: 0").endswith(
        "must be a params file of at most 131072 characters, got a longer one."
    )


SEEDS = [
    ("-" + "9" * 400, "at least 0, got -999"),
    ("0x" + "f" * 5000, f"at most {2**63 - 1}, got a value that has 20000 bits."),
    ("2001-01-01", "a whole number, got datetime.date(2001, 1, 1)."),
    ("{a: [b, {c: !!set {d}}]}", "a whole number, got {'a': ['b', {'c': {'d'}}]}."),
    ("x" * 500, "a whole number, got 'xxxxxxx"),
    ('"a\\nb"', r"a whole number, got 'a\nb'."),
]


def test_a_value_in_a_message_is_short_and_in_one_line(tmp_path):
    for text, need in SEEDS:
        lines = FILES[0].read_text(encoding="utf-8").replace("\nseed: 0 ", f"\nseed: {text} ", 1)
        message = refusal(tmp_path / "params.yaml", lines)
        assert message.startswith(f"seed: must be {need}") and len(message) < 200


def test_an_integer_that_python_cannot_write_is_refused_in_silence(tmp_path, monkeypatch):
    """pydantic reports a value that it cannot write, with a traceback that the user would see."""
    reported = []
    monkeypatch.setattr("sys.unraisablehook", reported.append)
    for key in ("image_size", "channels"):
        lines = re.sub(rf"  {key}: \d+", f"  {key}: 0x{'f' * 5000}", FILES[0].read_text(encoding="utf-8"), count=1)
        assert refusal(tmp_path / "params.yaml", lines).startswith(f"data.{key}: must be ")
    assert not reported


def test_an_unknown_key_is_shown_in_one_line(tmp_path):
    for key, shown in (('"a\\nb"', r"'a\nb'"), ("k" * 300, "'kkk"), ("[1, 2]", "(1, 2)"), ("2001-01-01", "datetime")):
        message = refusal(tmp_path / "params.yaml", f"? {key}\n: 1")
        assert message.startswith(shown) and "unknown key" in message and len(message) < 150


TEXTS = [
    "010", "0o10", "0x10", "0b10", "1:30", "1:30:20.5", "yes", "no", "on", "off", "y", "True", "FALSE", "~", "null",
    "''", "1e3", "1e-3", "1E5", "1.0e-3", ".5", "5.", "+1", "1_000", "09", "-010", ".inf", ".nan", "1e400", "9.9.9",
    "'1e-3'", "[on, 010, {a: 1:30}]", "&a 1", "! 1", "<<", "%YAML", "\ufeff1",
]  # fmt: skip


def test_a_value_means_what_it_means_to_dvc():
    for text in TEXTS:
        try:
            expected = serialize.parse_yaml(f"key: {text}", "params.yaml")
        except serialize.YAMLFileCorruptedError:
            with pytest.raises(UserError):
                parse_yaml(f"key: {text}", "params.yaml")
        else:
            assert repr(parse_yaml(f"key: {text}", "params.yaml")) == repr(expected), text


OVERRIDES = [
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
]


def test_what_set_param_writes_is_read_as_it_was_meant(tmp_path):
    """`dvc exp run -S key=text` changes the file in the same way."""
    path = tmp_path / "params.yaml"
    for key, text, value in OVERRIDES:
        path.write_text(FILES[0].read_text(encoding="utf-8"), encoding="utf-8")
        quoted = f"'{text}'" if " " in text else text
        apply_overrides(path, [f"{key}={quoted}"])
        place = load_params(path)
        for part in key.split("."):
            place = place[int(part)] if part.isdigit() else getattr(place, part)
        assert place == value and type(place) is type(value), key
