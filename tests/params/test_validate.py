"""How plain values become models, and how keys and values are written in messages."""

import datetime
from dataclasses import FrozenInstanceError, asdict, dataclass, replace
from typing import Any

import pytest
from pydantic import ValidationError

from iglo.errors import UserError
from iglo.params.fields import Many, Number, PositiveInt, Rate, Text, section
from iglo.params.validate import parse, short_repr, within


@section
class Inner:
    count: PositiveInt
    rate: Rate | None


@dataclass(frozen=True)
class Plain:
    """A dataclass of the standard library, such as the records of exported models."""

    names: tuple[Text, ...]
    inner: dict[Any, Inner]
    values: Many[Number]


VALUES = {"names": ["a"], "inner": {"x": {"count": 1, "rate": None}}, "values": [1, "2e-1"]}


def message(values: Any, kind: type = Plain, prefix: str = "") -> str:
    with pytest.raises(UserError) as error:
        parse(values, kind, prefix)
    return str(error.value)


def test_dataclasses_are_made_of_mappings_and_lists():
    made = parse(VALUES, Plain)
    assert made == Plain(("a",), {"x": Inner(1, None)}, (1.0, 0.2))
    assert type(made) is Plain and [type(value) for value in made.values] == [float, float]


def test_a_dotted_key_begins_with_the_prefix():
    assert message(3) == "params: must be a mapping of keys to values, got 3."
    assert message(3, Plain, "run") == "run: must be a mapping of keys to values, got 3."
    assert message({**VALUES, "names": 3}, Plain, "run") == "run.names: must be a list, got 3."
    assert message({**VALUES, "inner": []}) == "inner: must be a mapping of keys to values, got []."
    wrong = {"count": 0, "rate": 1}
    assert message({**VALUES, "inner": {"x": wrong}}) == "inner.x.count: must be at least 1, got 0."
    assert message({**VALUES, "inner": {"a\nb": wrong}}) == r"inner.'a\nb'.count: must be at least 1, got 0."
    assert message({**VALUES, "inner": {"x": {"cont": 1, "rate": 1}}}) == (
        "inner.x.cont: unknown key; did you mean inner.x.count?"
    )
    with pytest.raises(UserError, match=r"^base: count: must be a whole number, got None\.$"), within("base: "):
        parse({"count": None, "rate": 1}, Inner)


def test_a_key_that_is_no_short_text_is_shown_in_one_line():
    for key, text in (
        ("a\nb", r"'a\nb'"),
        ((1, 2), "(1, 2)"),
        (datetime.date(2001, 1, 1), "datetime.date(2001, 1, 1)"),
    ):
        assert message({**VALUES, key: 1}) == f"{text}: unknown key."
    assert len(message({**VALUES, "k" * 300: 1})) < 150


def test_a_value_in_a_message_is_short_and_in_one_line():
    assert short_repr("a\nb") == r"'a\nb'"
    assert short_repr(16**5000) == "a value that has 20001 bits"
    assert short_repr([{"a": ["b"]}]) == "[{'a': ['b']}]"
    assert len(short_repr("x" * 500)) < 100


def test_a_section_is_frozen_and_checks_its_values():
    inner = Inner(1, 0.5)
    assert replace(inner, count=2) == Inner(2, 0.5) and asdict(inner) == {"count": 1, "rate": 0.5}
    with pytest.raises(FrozenInstanceError):
        inner.count = 2
    with pytest.raises(ValidationError):
        replace(inner, count=0)
