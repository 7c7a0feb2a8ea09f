"""Texts of unknown origin, made safe to show."""

import pytest

from iglo.text import markdown, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b-c_d", "a b-c_d"),
        ("猫 café ×", "猫 café ×"),
        ("two\nlines\ttab", "two\\nlines\\ttab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("caf\udce9", "caf\\udce9"),
        ("left\u202eright", "left\\u202eright"),
        ("\x9b2J\x07", "\\x9b2J\\x07"),
    ],
)
def test_no_character_moves_a_terminal(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"),
        ("a|b", "a\\|b"),
        ("`x`", "\\`x\\`"),
        ("<script>", "&lt;script&gt;"),
        ("a&lt;", "a&amp;lt;"),
        ("[a](b)", "\\[a\\](b)"),
        ("**b** _c_", "\\*\\*b\\*\\* \\_c\\_"),
        ("a\nb", "a\\\\nb"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text, shown):
    assert markdown(text) == shown
