"""The command that opens a page on a model: explore."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iglo.cli.options import (
    ARRIVED,
    NAMED,
    PLAIN,
    PREPARED,
    PREPARED_CLASSES,
    OutPath,
    OutputOptions,
    arrivals_left,
)
from iglo.errors import UserError

if TYPE_CHECKING:
    from iglo.explore.opening import Places
    from iglo.explore.views import Views

NEEDED = ("starlette", "uvicorn")


@click.command()
@click.argument("model", required=False, metavar="[FOLDER]", type=NAMED)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0: a free port.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Another address opens the page to other machines."
)
@click.option(
    "--static", type=OutPath(), metavar="FOLDER", help="Write a page that needs no server, instead of starting one."
)
@click.option("--force", is_flag=True, help="Replace the folder of --static.")
@click.option("--device", metavar="NAME", help="cpu, cuda, ...  [default: a GPU if there is one]")
def explore(model: str | None, port: int, host: str, static: str | None, force: bool, device: str | None) -> None:
    """Open a page that shows a model in the browser.

    FOLDER is an exported or a trained model. Without it, the page shows the model that was trained last.

    \b
    Example:
      iglo explore models/export --port 9000
      iglo explore --static page
    """
    if static is not None:
        return _write(model, static, force, device)
    _check_packages()
    from iglo.explore.security import is_local
    from iglo.explore.server import listen, run

    listening = listen(host, port)  # before the model is opened, which takes seconds; requests wait
    views = _views(model, device)
    views.space.embedding.start()
    address, number, *_ = listening.getsockname()
    name = host or address
    name = f"[{name}]" if ":" in name else name
    if not is_local(address):
        click.echo(
            f"warning: host: everyone who can reach {name} can use this page and send images to it; there is no "
            "password.",
            err=True,
        )
    click.echo(f"Open http://{name}:{number} to explore {views.explored.name}. Ctrl+C ends the server.")
    run(views, host, listening)


def _write(model: str | None, static: str, force: bool, device: str | None) -> None:
    """Writes the page without a server."""
    from iglo.explore.static import WRITTEN, write_page

    output = OutputOptions(Path(static), force)
    with output.writing(("",), WRITTEN) as place:
        write_page(_views(model, device), place)


def _views(model: str | None, device: str | None) -> "Views":
    from iglo.explore.opening import open_model
    from iglo.explore.views import Views

    return Views(open_model(_places(model), device), _cache())


def _places(model: str | None) -> "Places":
    """Returns where a model and its images are. None: the model that the pipeline trained last."""
    from iglo.explore.opening import Places

    prepared = {"glo": PREPARED, "class_content": PREPARED_CLASSES}
    arrivals = arrivals_left()
    if model is None:
        left = arrivals[0] if arrivals else PLAIN
        if not Path(left.model).is_dir():
            raise UserError(f"model: there is no {left.model} here; run `dvc repro` first, or name a folder.")
        return Places(left.model, left.priors, prepared, ARRIVED)
    same = (each for each in (*arrivals, PLAIN) if Path(each.model).resolve() == Path(model).resolve())
    priors = next((each.priors for each in same), None)
    return Places(model, priors, prepared, ARRIVED)


def _cache() -> Path:
    """Returns the folder in which maps are kept for the next time."""
    known = os.environ.get("XDG_CACHE_HOME", "")
    return Path(known if os.path.isabs(known) else Path.home() / ".cache") / "iglo" / "maps"


def _check_packages() -> None:
    """Raises UserError if the packages of the server are not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"explore: needs {' and '.join(missing)}; install them by pip install 'iglo[explore]'.")
