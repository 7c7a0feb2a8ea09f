"""The command that adds a folder of new images to the params file."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import click

from iglo.cli.options import NAMED
from iglo.errors import UserError, shown

if TYPE_CHECKING:
    from iglo.params.pipeline import Params


@click.command()
@click.argument("folder", type=NAMED)
@click.option("--id", "name", metavar="ID", help="The name of the arrival.  [default: the name of the folder]")
@click.option(
    "--keep",
    type=click.Choice(["images", "generated", "none"]),
    default="images",
    show_default=True,
    help="What is replayed, so that earlier images are kept: the images, renders of their codes, or none of the two.",
)
@click.option(
    "--params", "file", default="params.yaml", show_default=True, type=NAMED, metavar="FILE", help="Params of the run."
)
def arrive(folder: str, name: str | None, keep: str, file: str) -> None:
    """Add a folder of new images to the list `arrivals` of the params file.

    `dvc repro` then learns them. The folder must lie apart from the folders of earlier images.

    \b
    Example:
      iglo arrive data/arrivals/2026-12
    """
    from iglo.data.sources import folder_source
    from iglo.params.arrivals import FIRST, check_name
    from iglo.params.pipeline import Params
    from iglo.params.reading import load_params

    params = load_params(file, object)
    if not isinstance(params, Params):
        raise UserError(f"{file}: holds the params of another pipeline, which has no arrivals; name a params.yaml.")
    name = Path(os.path.abspath(folder)).name if name is None else name
    check_name("--id", name)
    if name in (item.id for item in params.arrivals):
        raise UserError(f"--id: must be a new name, but {name} is the id of an earlier arrival.")
    count = len(folder_source(Path(folder), folder).names)
    around = Path(os.path.realpath(file)).parent  # where the stages run
    _check_apart(folder, params, around)
    after = params.arrivals[-1].id if params.arrivals else FIRST
    _add(file, {"id": name, "after": after, "keep": keep, "path": _path_from(around, folder)})
    click.echo(f"added {name} after {after} to {shown(file)} ({count} image{'s' * (count != 1)}); next: dvc repro")


def _path_from(around: Path, folder: str) -> str:
    """Returns the path of a folder as a stage finds it: relative if it is inside the repository."""
    path = Path(os.path.abspath(folder))
    for inside, root in ((path, around), (Path(os.path.realpath(folder)), around)):
        if inside.is_relative_to(root):
            return inside.relative_to(root).as_posix()
    return path.as_posix()


def _check_apart(folder: str, params: "Params", around: Path) -> None:
    """Refuses a folder that shares files with earlier images: they would change, and be learned again."""
    earlier = {f"the arrival {item.id}": item.path for item in params.arrivals}
    if params.data.source == "folder":
        earlier["the first run"] = params.data.path
    new = Path(os.path.realpath(folder))
    for owner, path in earlier.items():
        old = Path(os.path.realpath(around / path))
        if new.is_relative_to(old) or old.is_relative_to(new):
            raise UserError(
                f"{shown(folder)}: must lie apart from {shown(path)}, the images of {owner}; put the new images into a "
                "folder of their own."
            )


def _add(file: str, entry: dict[str, str]) -> None:
    """Adds an arrival to the params file, and checks the result before it replaces the file."""
    from iglo.files.io import whole_file
    from iglo.params.editing import with_entry
    from iglo.params.reading import load_params

    with open(file, encoding="utf-8", newline="") as old:
        text = with_entry(old.read(), "arrivals", entry, file)
    place = os.path.realpath(file)  # a link stays a link
    mode = stat.S_IMODE(os.stat(place).st_mode)
    with whole_file(place) as partial:
        try:
            partial.write_bytes(text.encode())
        except UnicodeEncodeError:
            raise UserError(f"{shown(entry['path'])}: its name is not UTF-8; rename the folder.") from None
        load_params(partial)
    os.chmod(place, mode)
