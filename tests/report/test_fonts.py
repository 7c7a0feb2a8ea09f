"""Names with letters that the font does not have, and line breaks."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from iglo.disentangle import figures
from iglo.disentangle.renders import Renders
from iglo.report import fonts


def drawn(text):
    canvas = Image.new("L", (200, 30))
    ImageDraw.Draw(canvas).text((0, 0), text, 255, fonts.font(fonts.TEXT, 15))
    return canvas.tobytes()


def test_names_that_the_font_cannot_draw_become_numbers_with_one_warning():
    names = ["猫", "Äpfel ß é", "犬", "a\nb", "caf\udce9"]
    with pytest.warns(UserWarning) as told:
        shown = fonts.drawable(names, "class")
    assert shown == ["class 1", "Äpfel ß é", "class 3", "class 4", "class 5"]
    assert len({drawn(name) for name in shown}) == len(shown)
    assert drawn("猫") == drawn("犬")  # both are the same empty box, hence the numbers
    (warning,) = told
    assert str(warning.message) == (
        "The font of the figures cannot draw 4 names, so the figures show numbers: '猫' is class 1, "
        "'犬' is class 3, 'a\\nb' is class 4, 'caf\\udce9' is class 5."
    )


def test_a_warning_does_not_list_a_thousand_names():
    with pytest.warns(UserWarning, match="cannot draw 1000 names.*class 5 and 995 more"):
        fonts.drawable(["猫"] * 1000, "class")


def test_names_that_the_font_can_draw_stay_without_a_warning(recwarn):
    assert fonts.drawable(["cat", "Ünï", "кот", "7"], "class") == ["cat", "Ünï", "кот", "7"]
    assert not recwarn


def test_figures_of_classes_show_the_numbers(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(figures.figures, "save_grid", lambda path, rows, *texts, **named: seen.append((texts, named)))
    for other in ("draw_epochs", "draw_losses", "draw_morphing"):
        monkeypatch.setattr(figures, other, lambda *_: None)
    ids, images = np.arange(2), np.zeros((2, 8, 8, 1), np.uint8)
    converted = images[:, None].repeat(2, axis=1)
    scratch = {"normal": converted, "gaussian": converted}
    renders = Renders(ids, ids, images, converted, converted, images, scratch, converted)
    with pytest.warns(UserWarning, match="'猫' is class 1, '犬' is class 2") as told:
        figures.draw_figures(tmp_path, renders, images, ["猫", "犬"], None, [], {})
    assert len(told) == 1
    assert [named["column_labels"] for _, named in seen if named] == [["image", "class 1", "class 2"]] * 2
    assert [given[1] for given, _ in seen[-2:]] == [["class 1", "class 2"]] * 2


@pytest.mark.parametrize("text", ["some words of a title", "w" * 200, "short " + "w" * 200 + " and more", ""])
def test_wrapped_lines_have_the_whole_text_and_fit_the_width(text):
    face = fonts.font(fonts.BOLD, 18)
    lines = fonts.wrapped(text, face, 120, break_words=True).split("\n")
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(face.getlength(line) <= 120 for line in lines)
