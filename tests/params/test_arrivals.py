"""Arrivals in a params file: what their list must be, and how a line is added to it."""

import datetime

import pytest

from iglo.errors import UserError
from iglo.params.editing import with_entry
from iglo.params.pipeline import Params, parse_params
from iglo.params.reading import parse_yaml
from tests.params.cases import FILES, message_of, values_of

VALUES = values_of(FILES[0])
QUOTES = "must be a text (put a date or a number in quotes), got"


def arrivals(*chain: str) -> list[dict]:
    """A list in which each arrival, "ID after ID", has a folder of its name."""
    pairs = [each.split(" after ") for each in chain]
    return [{"id": name, "after": after, "keep": "images", "path": f"data/arrivals/{name}"} for name, after in pairs]


def refusal(value: list[dict]) -> str:
    return message_of({**VALUES, "arrivals": value}, Params)


def test_arrivals_that_follow_each_other_are_accepted():
    params = parse_params({**VALUES, "arrivals": arrivals("2026-12 after joint", "2027-01_b.x after 2026-12")})
    assert [item.id for item in params.arrivals] == ["2026-12", "2027-01_b.x"]
    assert refusal(arrivals("a after joint", "b after a", "c after b")) == "accepted"


@pytest.mark.parametrize(
    ("written", "got"), [("2026-12-01", "datetime.date(2026, 12, 1)"), ("2026", "2026"), ("1e3", "1000.0")]
)
def test_what_yaml_reads_as_a_date_or_a_number_must_be_in_quotes(written, got):
    entry = f"[{{id: {written}, after: joint, keep: images, path: x}}]"
    assert refusal(parse_yaml(entry, "")) == f"arrivals.0.id: {QUOTES} {got}."
    assert refusal(parse_yaml(entry.replace(written, f'"{written}"'), "")) == "accepted"
    assert refusal(
        [*arrivals("a after joint"), {"id": "b", "after": datetime.date(2026, 12, 1), "keep": "none", "path": "x"}]
    ) == (f"arrivals.1.after: {QUOTES} datetime.date(2026, 12, 1).")


NO_NAMES = ["", "a b", "a/b", "../a", ".a", "-a", "ä", "a$", "x" * 65, "joint", "export"]
NO_NAMES += ["learned-a", "reference-a", "priors-a"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_an_id_that_is_no_name_is_refused(name):
    message = refusal(arrivals(f"{name} after joint"))
    assert message.startswith("arrivals.0.id: must be a name of letters, digits, dots") and message.endswith(
        f"{name!r}."
    )


def test_an_id_is_used_once():
    assert refusal(arrivals("a after joint", "b after a", "a after b")) == (
        "arrivals.2.id: must be a new name, but a is the id of an earlier arrival."
    )


def test_a_list_that_was_edited_in_the_middle_is_refused():
    order = "the arrivals follow each other in the order of the list."
    for chain, expected in (
        (["b after a"], f"arrivals.0.after: must be joint, the model before it, got 'a'; {order}"),
        (["a after joint", "c after b"], f"arrivals.1.after: must be a, the arrival before it, got 'b'; {order}"),
        (
            ["a after joint", "new after a", "b after a"],
            f"arrivals.2.after: must be new, the arrival before it, got 'a'; {order}",
        ),
        (["a after a"], f"arrivals.0.after: must be joint, the model before it, got 'a'; {order}"),
    ):
        assert refusal(arrivals(*chain)) == expected


def test_a_path_that_a_shell_would_change_is_refused():
    for path in ("", "a$HOME", 'a"b', "a`b`", "a\\b", "a\nb"):
        value = [{"id": "a", "after": "joint", "keep": "images", "path": path}]
        assert refusal(value).startswith("arrivals.0.path: must be a path without quotes,"), path
    assert refusal([{"id": "a", "after": "joint", "keep": "images", "path": "my new frogs/é's"}]) == "accepted"


def test_arrivals_need_the_section_that_says_how_they_are_learned():
    values = {key: value for key, value in VALUES.items() if key != "arrival"}
    assert message_of(values | {"arrivals": arrivals("a after joint")}, Params).startswith("arrival: is missing, but")
    assert message_of({**VALUES, "arrivals": [arrivals("a after joint")[0] | {"keep": "all"}]}, Params) == (
        "arrivals.0.keep: must be one of images, generated, none, got 'all'."
    )


# --- Adding a line ---

LINE = "{id: b, after: a, path: x}"
LAYOUTS = [  # text before and after, each a whole params file
    ("seed: 0\n", f"seed: 0\nlist:\n- {LINE}\n"),
    ("seed: 0", f"seed: 0\nlist:\n- {LINE}\n"),
    ("list: []      # none\nseed: 0\n", f"list:         # none\n- {LINE}\nseed: 0\n"),
    ("list: []", f"list:\n- {LINE}\n"),
    ("list: []\n\n# how\nseed: 0\n", f"list:\n- {LINE}\n\n# how\nseed: 0\n"),
    ("list:\n- {id: a}  # first\n# seed\nseed: 0\n", f"list:\n- {{id: a}}  # first\n- {LINE}\n# seed\nseed: 0\n"),
    ("list:\n  - id: a\n    path: y  # z\n\nseed: 0\n", f"list:\n  - id: a\n    path: y  # z\n  - {LINE}\n\nseed: 0\n"),
    ("list:\n- {id: a}", f"list:\n- {{id: a}}\n- {LINE}\n"),
    ("list: [{id: a}]  # c\nseed: 0\n", f"list: [{{id: a}}, {LINE}]  # c\nseed: 0\n"),
    ("list: [\n  {id: a},  # c\n]\n", f"list: [\n  {{id: a}}, {LINE},  # c\n]\n"),
    ("list: []\r\nseed: 0\r\n", f"list:\r\n- {LINE}\r\nseed: 0\r\n"),
    ("seed: .nan\nlist: []\n", f"seed: .nan\nlist:\n- {LINE}\n"),
]


def test_a_line_is_added_and_no_other_changes():
    for before, after in LAYOUTS:
        assert with_entry(before, "list", {"id": "b", "after": "a", "path": "x"}, "file") == after, before


def test_texts_are_put_in_quotes_where_yaml_needs_them():
    for text in (
        "2026-12",
        "2026-12-01",
        "2026",
        "1e3",
        "null",
        "yes",
        "a, b",
        "a: b",
        "a #b",
        "{a}",
        "'a'",
        "é",
        " a",
    ):
        assert parse_yaml(with_entry("list: []", "list", {"id": text}, ""), "") == {"list": [{"id": text}]}, text
    assert with_entry("list: []", "list", {"id": "2026-12", "path": "a b"}, "") == "list:\n- {id: 2026-12, path: a b}\n"
    assert with_entry("list: []", "list", {"id": "2026-12-01"}, "") == 'list:\n- {id: "2026-12-01"}\n'


def test_a_file_in_which_no_line_can_be_added_is_refused():
    for text in ("{seed: 0, list: []}", "a: &a [{id: a}]\nlist: *a\n", "list: &a [{id: a}]\nother: *a\n"):
        with pytest.raises(UserError, match=r"^file: cannot add a line to list as it is written; .* - \{id: b\}$"):
            with_entry(text, "list", {"id": "b"}, "file")
