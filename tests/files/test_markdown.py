"""Texts from users in Markdown."""

import pytest

from iglo.files.markdown import markdown, markdown_table


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
        ("\x1b[31mred", "\\\\x1b\\[31mred"),
        ("caf\udce9 猫", "caf\\\\udce9 猫"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text, shown):
    assert markdown(text) == shown


def test_a_table_has_a_rule_under_its_heads_and_shows_cells_as_given():
    lines = markdown_table(["", "PSNR, dB"], [["ours", 24.5], [markdown("a|b"), "**25**"]])
    assert lines == ["|  | PSNR, dB |", "|---|---|", "| ours | 24.5 |", "| a\\|b | **25** |"]
