"""The tab "Your image", used as a person would, in Chromium."""

import base64
import io
import re
import time

import pytest
from PIL import Image

from iglo.explore.uploads import Uploads
from tests.explore import digits
from tests.explore.page.chromium import Locator, Page, expect
from tests.explore.page.visit import drawn, go, hash_of, inspector, looks_right, settle, tab_to

# Drops a file on an element, as a person who drags it from a folder does.
DROP = """(element, [name, type, text]) => {
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0)), dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    element.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }));
  }
}"""


@pytest.fixture
def page(visitor, address):
    page = visitor.open(address)
    go(page, "Your image")
    return page


def digit_file(digit: int = 5, colour: bool = False) -> dict:
    """A file of a digit that the model has not seen, as a person would choose it."""
    image, file = Image.fromarray(digits.picture(digit)), io.BytesIO()
    (image.convert("RGB") if colour else image).save(file, "PNG")
    return {"name": f"{digits.ATTACK} \u202egnp.png", "mimeType": "image/png", "buffer": file.getvalue()}


def choose(page: Page, file: dict) -> None:
    page.locator("input[type=file]").set_input_files(file)
    settle(page)


def pictures(page: Page) -> list[Locator]:
    names = ("Your image, as the model takes it", "Reconstruction", "Difference")
    return [page.get_by_role("img", name=name, exact=True) for name in names]


def decibels(page: Page) -> float:
    return float(re.search(r"(\d+\.\d) dB", page.locator(".result-facts").inner_text())[1])


def test_a_file_gets_the_code_of_the_encoder(page):
    looks_right(page)
    choose(page, digit_file())
    original, reconstruction, difference = map(drawn, pictures(page))
    assert len({original, reconstruction, difference}) == 3
    expect(page.get_by_text(re.compile(r"\d+\.\d dB with the encoder's code"))).to_be_visible()
    expect(page.locator(".result-facts")).to_contain_text(digits.ATTACK)
    expect(page.get_by_role("button", name=re.compile("^Nearest training image"))).to_have_count(3)
    looks_right(page)
    choose(page, digit_file(3, colour=True))
    assert drawn(pictures(page)[0]) != original


def test_a_file_is_dropped_on_the_page(page):
    file = digit_file(8)
    text = base64.b64encode(file["buffer"]).decode()
    page.locator(".drop").evaluate(DROP, [file["name"], file["mimeType"], text])
    settle(page)
    assert len(set(map(drawn, pictures(page)))) == 3


@pytest.fixture
def slow_search(monkeypatch):
    """Optimisations wait after every ten steps, so that there is time to see and to stop them."""
    compared = Uploads._compared

    def slowly(*given):
        time.sleep(0.2)
        return compared(*given)

    monkeypatch.setattr(Uploads, "_compared", slowly)


def test_the_optimisation_shows_its_progress_and_ends(page, slow_search):
    choose(page, digit_file())
    before, first = decibels(page), drawn(pictures(page)[1])
    page.get_by_label("Improve the code by gradient descent").select_option("50")
    page.get_by_role("button", name="Optimise").click()
    expect(page.get_by_role("progressbar", name="Progress of the optimisation")).to_be_visible()
    expect(page.get_by_text("The optimisation is done.")).to_be_visible()
    expect(page.get_by_text(re.compile("dB after 50 steps of optimisation"))).to_be_visible()
    assert decibels(page) >= before
    assert drawn(pictures(page)[1]) != first
    looks_right(page)


def test_the_optimisation_is_stopped(page, slow_search):
    choose(page, digit_file())
    page.get_by_label("Improve the code by gradient descent").select_option("500")
    page.get_by_role("button", name="Optimise").click()
    expect(page.get_by_text(re.compile(r"^Step [1-9]\d* of 500: \d+\.\d dB"))).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text("Stopped. The code of the last step is kept.")).to_be_visible()
    expect(page.get_by_text(re.compile(r"dB after \d+ steps of optimisation"))).to_be_visible()
    steps = int(re.search(r"after (\d+) steps", page.locator(".result-facts").inner_text())[1])
    assert 0 < steps < 500
    page.get_by_label("Improve the code by gradient descent").select_option("50")
    page.get_by_role("button", name="Optimise").click()  # the server is free again
    expect(page.get_by_text(re.compile("dB after 50 steps of optimisation"))).to_be_visible()


def test_the_code_goes_on_to_the_other_tabs(page):
    choose(page, digit_file())
    page.get_by_role("button", name="Nearest images").click()
    expect(inspector(page).get_by_role("heading", level=2)).to_have_text("A code")
    page.get_by_role("button", name="Continue in Interpolate").click()
    settle(page)
    panel = page.get_by_role("tabpanel", name="Interpolate")
    expect(panel.get_by_role("button", name="A: A code")).to_be_visible()
    assert hash_of(page)["stop"][0].startswith("c:")
    go(page, "Your image")
    page.get_by_role("button", name="Continue in Directions").click()
    settle(page)
    expect(page.get_by_role("tabpanel", name="Directions").get_by_role("button", name="A code")).to_be_visible()
    looks_right(page)


def test_a_file_that_is_no_image_gets_one_sentence(page, visitor):
    choose(page, {"name": "image.png", "mimeType": "image/png", "buffer": b"<script>hacked=1</script>" * 40})
    message = page.get_by_role("status").get_by_role("paragraph")
    expect(message).to_have_text(re.compile(r"^[^.]+: .+\.×?$"))
    visitor.expected("api/upload is answered 4|status of 4")
    looks_right(page)
    page.get_by_role("button", name="Close this message").click()
    expect(message).to_have_count(0)
    choose(page, digit_file())  # and the next image works
    assert len(set(map(drawn, pictures(page)))) == 3


def test_an_image_is_chosen_with_the_keyboard_alone(page):
    page.on("filechooser", lambda chooser: None)  # from now on Chromium asks this test, not a window of its own
    page.wait_for_timeout(100)
    tab_to(page, page.locator("input[type=file]"))
    with page.expect_file_chooser() as waiting:
        page.keyboard.press("Enter")
    waiting.value.set_files(digit_file())
    expect(page.get_by_role("button", name="Optimise")).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Continue in Interpolate"))
    page.keyboard.press("Space")
    expect(page.get_by_role("tab", name="Interpolate")).to_have_attribute("aria-selected", "true")
