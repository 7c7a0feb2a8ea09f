"""The options that several commands share, and the files that `dvc repro` leaves for them."""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import iglo
from iglo.cli.files import NUMBERED, amount, writing
from iglo.errors import UserError, shown

if TYPE_CHECKING:
    from iglo.export.api import LoadedModel

EXPORTED = "models/export"
PARAMS_FILE = "params.yaml"
ARRIVED = "data/arrived"  # has a folder of prepared images for each arrival

Command = Callable[..., None]
Decorator = Callable[[Command], Command]


class Left(NamedTuple):
    """Where a pipeline leaves its results: folder of the model, metrics file, and folder of fitted priors."""

    model: str
    metrics: str
    priors: str | None


PLAIN = Left("models/joint", "metrics-all.json", "models/priors")
CLASS_CONTENT = Left("disentangle/work/encoded", "disentangle/work/renders/metrics.json", None)
PREPARED, PREPARED_CLASSES = "data/prepared", "disentangle/work/images"  # folders of prepared images


def arrivals_left() -> list[Left]:
    """Returns what the arrivals in the params file of this folder have left, the newest first.

    An arrival whose model is not there is left out. Without a params file, or with a wrong one, there are none.
    """
    from iglo.params.pipeline import Params
    from iglo.params.reading import load_params

    try:
        arrivals = load_params(PARAMS_FILE, Params).arrivals
    except UserError:
        return []
    left = [
        Left(f"models/{each.id}", f"reports/arrivals/{each.id}/metrics-all.json", f"models/priors-{each.id}")
        for each in reversed(arrivals)
    ]
    return [each for each in left if Path(each.model).is_dir()]


# --- Groups of options, which a command gets as one argument ---


@dataclass(frozen=True)
class ModelOptions:
    """The exported model that a command uses."""

    model: str
    device: str | None

    def load(self) -> "LoadedModel":
        return iglo.load(self.model, self.device)


@dataclass(frozen=True)
class OutputOptions:
    """The file or folder that a command makes."""

    out: Path
    force: bool

    @contextmanager
    def writing(self, kinds: Sequence[str], replaceable: re.Pattern[str] = NUMBERED, about: str = "") -> Iterator[Path]:
        """Yields a path to write to, as `files.writing` does; then a line on stdout says what was written.

        Args:
            about: what the line says after that.
        """
        with writing(self.out, self.force, kinds, replaceable) as place:
            yield place
        click.echo(f"wrote {shown(str(self.out))} ({amount(self.out)}){about}")


class OutPath(click.Path):
    """A place to write to. An empty name is refused, because it would mean the working folder."""

    def convert(self, value: Any, *context: Any) -> Any:
        if value == "":
            self.fail("must name a file or a folder, got an empty name.", *context)
        return super().convert(value, *context)


def together(*options: Decorator) -> Decorator:
    """Adds several options to a command."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def grouped(name: str, kind: type, *options: Decorator) -> Decorator:
    """Adds options to a command, which gets their values as one argument `name`: a dataclass of this kind."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_group(**values: Any) -> None:
            own = {field.name: values.pop(field.name) for field in fields(kind)}
            command(**values, **{name: kind(**own)})

        return together(*options)(with_group)

    return decorate


NAMED = click.Path(readable=False)  # lets the shell complete names; reading the file checks whether it can be read

model_options = grouped(
    "model",
    ModelOptions,
    click.option(
        "--model", default=EXPORTED, show_default=True, type=NAMED, metavar="FOLDER", help="An exported model."
    ),
    click.option("--device", metavar="NAME", help="cpu, cuda, ...  [default: a GPU if there is one]"),
)


def output_options(**out: Any) -> Decorator:
    """Adds --out and --force; `out` changes the settings of --out."""
    settings = {"required": True, "help": "Where the result goes."} | out
    return grouped(
        "output",
        OutputOptions,
        click.option("--out", type=OutPath(path_type=Path), **settings),
        click.option("--force", is_flag=True, help="Replace what is there."),
    )


# --- Single options ---

seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="The same seed gives the same result."
)
path_option = functools.partial(
    click.option,
    "--path",
    show_default=True,
    help="chord: straight on, or along a great circle. graph: from training code to near training code.",
)
method_option = click.option(
    "--method", default="hybrid", show_default=True, help="How to find codes: encoder, optimize or hybrid."
)
loss_option = click.option("--loss", help="perceptual, l1, l2, l1_l2 or lap_l1  [default: the model's training loss]")
inversion_options = together(
    method_option,
    click.option("--steps", type=int, help="Largest number of optimisation steps.  [default: depends on the method]"),
    loss_option,
    seed_option,
)
images_argument = click.argument("images", nargs=-1, required=True, type=NAMED)
classes_option = click.option(
    "--class", "classes", multiple=True, metavar="NAME", help="A class; may be given several times.  [default: all]"
)
