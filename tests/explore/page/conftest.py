"""Models, servers and Chromium for the tests of the page."""

from collections.abc import Iterator

import pytest

from tests.explore import digits


@pytest.fixture(scope="session")
def digit_run(tmp_path_factory: pytest.TempPathFactory) -> digits.Run:
    """A working folder in which a model of 240 digits was trained, and its export. To be read only."""
    return digits.trained_once(tmp_path_factory, digits.train_digits)


@pytest.fixture(scope="session")
def class_run(tmp_path_factory: pytest.TempPathFactory) -> digits.Run:
    """A working folder in which a model of class and content was trained, and its export. To be read only."""
    return digits.trained_once(tmp_path_factory, digits.train_classes)


@pytest.fixture(scope="session")
def digit_views(digit_run):
    """What the page shows of the digits, with the neighbour embedding."""
    from tests.explore.page.serving import views_of

    return views_of(digit_run.folder, "models/joint", digit_run.folder / "maps", "models/priors")


@pytest.fixture(scope="session")
def address(digit_views) -> Iterator[str]:
    """The address of a server that shows the digits."""
    from tests.explore.page.serving import served

    with served(digit_views) as found:
        yield found


@pytest.fixture(scope="session")
def class_address(class_run) -> Iterator[str]:
    """The address of a server that shows the digits as class and content."""
    from tests.explore.page.serving import served, views_of

    with served(views_of(class_run.folder, "disentangle/work/encoded", class_run.folder / "maps")) as found:
        yield found


@pytest.fixture(scope="session")
def browser():
    """Chromium. Without it the tests are skipped, or they fail where they must not be skipped."""
    from tests.explore.page import chromium

    chromium.require_chromium()
    with chromium.started() as found:
        yield found


@pytest.fixture
def visitor(browser):
    """Opens each page in its own window. At the end, the test fails if a page had a problem."""
    from tests.explore.page.visit import Visitor

    found = Visitor(browser)
    yield found
    found.leave()
