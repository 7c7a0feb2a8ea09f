"""What the params of the comparison must be, and the sentence for each mistake."""

import copy

import pytest
import yaml

from iglo.errors import UserError
from iglo.params.comparison import Comparison
from iglo.params.pipeline import parse_params
from iglo.params.reading import load_params
from tests.params.cases import COMPARISONS, changed, check_messages, message_of, values_of

VALUES = values_of(COMPARISONS[0])
METHODS = ", ".join(VALUES["methods"])
CHANGES = "methods.glo.changes"
WRONG = [  # key, value, message; … is the key and "must be"
    ("run", ["glo", "gan"], f"run: must name methods among {METHODS}, got 'gan'."),
    ("joint", ["gan"], f"joint: must name methods among {', '.join(VALUES['run'])}, got 'gan'."),
    ("run", ["glo", "glo"], "…one or more different values, got ['glo', 'glo']."),
    ("joint", ["glo", "glo"], "…one or more different values, got ['glo', 'glo']."),
    ("run", [], "…one or more different values, got []."),
    ("seeds", [0, 0], "…one or more different numbers, got [0, 0]."),
    ("seeds", [], "…one or more different numbers, got []."),
    ("budget", 0, "…at least 1, got 0."),
    ("measure.points", 48_001, "…at most budget, 48000, got 48001."),
    ("measure.steps", [10, 50], "measure.steps: must start with 0 and increase, got [10, 50]."),
    ("measure.steps", [0, 50, 10], "measure.steps: must start with 0 and increase, got [0, 50, 10]."),
    ("measure.probes", 24, "measure.probes: unknown key."),
    ("base.seed", -1, "base: seed: must be at least 0, got -1."),
    ("base", [], "…a mapping of keys to values, got []."),
    ("methods.glo.learner", "gan", "…one of stages, autoencoder, got 'gan'."),
    (CHANGES, 3, "…a mapping of keys to values, got 3."),
    (CHANGES, {"seed": {"a": 1}}, f"{CHANGES}: seed: must be a whole number, got {{'a': 1}}."),
    (CHANGES, {"rounds": {0: 1}}, f"{CHANGES}: rounds: must be a list, got {{0: 1}}."),
    (CHANGES, {"latent": {"dimension": 5000}}, f"{CHANGES}: latent.dimension: must be at most 4096, got 5000."),
    (CHANGES, {"sede": 1}, f"{CHANGES}: sede: unknown key; did you mean seed?"),
]


def test_a_mistake_is_named_with_its_key_its_requirement_and_its_value():
    check_messages(VALUES, Comparison, WRONG)
    for name in ("../x", "a b", 1, "a\nb"):
        named = changed(VALUES, "methods", {**VALUES["methods"], name: VALUES["methods"]["glo"]})
        expected = f"methods: must have names of letters, digits, _ and -, got {name!r}."
        assert message_of(named, Comparison) == expected
    for key, value in (("run", ["x" * 10_000]), ("measure.steps", [1] * 1000)):
        assert message_of(changed(VALUES, key, value), Comparison).startswith(f"{key}: must ")  # and is short
    renamed = copy.deepcopy(VALUES)
    renamed["bases"] = renamed.pop("base")
    assert message_of(renamed, Comparison) == "bases: unknown key; did you mean base?"


def test_a_file_with_a_mistake_is_still_known_as_a_comparison(tmp_path):
    """The first stages of a comparison read its base, without saying what kind of file it is."""
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed(VALUES, "budget", 0)), encoding="utf-8")
    for kind in (Comparison, None):
        with pytest.raises(UserError, match=r"^budget: must be at least 1, got 0\.$"):
            load_params(path, kind)


def test_the_params_of_a_method_are_the_base_with_its_changes():
    for path in COMPARISONS:
        comparison = load_params(path, Comparison)
        base = comparison.params()
        assert load_params(path) == base == parse_params(comparison.base)
        for name, method in comparison.methods.items():
            expected = copy.deepcopy(comparison.base) | {"seed": 7}
            for key, change in method.changes.items():
                expected[key] = {**expected[key], **change} if isinstance(change, dict) else change
            assert comparison.params(name, 7) == parse_params(expected), (path, name)
        assert comparison.params() == base != comparison.params(seed=7)
