"""How messages show a user's text."""

import pytest

from iglo.errors import shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frog 1.png", "frog 1.png"),
        ("grün/猫.png", "grün/猫.png"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("caf\udce9", r"caf\udce9"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("it's", "it's"),
        ("", ""),
    ],
)
def test_a_text_is_shown_on_one_line_of_printable_characters(text, said):
    assert shown(text) == said
    assert said.isprintable() and said.encode().decode() == said
