"""What the commands of `iglo` share: mistakes in one sentence, options, and the model that they use."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import iglo
from iglo.cli.files import amount, writing
from iglo.errors import IgloWarning, UserError, shown

if TYPE_CHECKING:
    from iglo.export.api import LoadedModel

EXPORTED = "models/export"


class Commands(click.Group):
    """A group whose mistakes, click's own among them, are one sentence and exit code 2."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a terminal may not show every letter
                stream.reconfigure(errors="backslashreplace")
        try:
            with warnings.catch_warnings():
                _show_own_warnings()
                status = super().main(*arguments, **options | {"standalone_mode": False}) or 0
            if sys.stdout is not None:
                sys.stdout.flush()
            sys.exit(status)
        except BrokenPipeError:  # the reader of our output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails to flush at exit
            sys.exit(1)
        except click.ClickException as error:
            message = error.format_message()
        except UserError as error:
            message = str(error)
        except OSError as error:
            message = f"{error.filename or 'the system'}: {(error.strerror or str(error)).lower()}"
        except MemoryError:
            message = "there is not enough memory for this; ask for fewer images, or for smaller ones"
        except (click.Abort, KeyboardInterrupt):
            click.echo("stopped by the keyboard", err=True)
            sys.exit(130)
        message = shown(" ".join(message.split()))
        click.echo(f"error: {message}{'' if message.endswith(('.', '?')) else '.'}", err=True)
        sys.exit(2)


def _show_own_warnings() -> None:
    """Shows iglo's warnings as lines on stderr, and hides those of libraries."""

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        if issubclass(category, IgloWarning):
            click.echo(f"warning: {shown(str(message))}", err=True)

    warnings.simplefilter("ignore")
    warnings.simplefilter("always", IgloWarning)
    warnings.showwarning = show


# --- Options ---

Command = Callable[..., None]


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class OutPath(click.Path):
    """A place to write to. An empty name is refused, because it would mean the working folder."""

    def convert(self, value: Any, *context: Any) -> Any:
        if value == "":
            self.fail("must name a file or a folder, got an empty name.", *context)
        return super().convert(value, *context)


NAMED = click.Path(readable=False)  # the shell completes it; whoever opens it checks whether it can be read

model_option = click.option(
    "--model", default=EXPORTED, show_default=True, type=NAMED, metavar="FOLDER", help="An exported model."
)
device_option = click.option("--device", metavar="NAME", help="cpu, cuda, ...  [default: a GPU if there is one]")
seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="The same seed gives the same result."
)
out_option = together(
    click.option("--out", required=True, type=OutPath(path_type=Path), help="Where the result goes."),
    click.option("--force", is_flag=True, help="Replace what is there."),
)
method_option = click.option(
    "--method", default="hybrid", show_default=True, help="How to find codes: encoder, optimize or hybrid."
)
loss_option = click.option("--loss", help="perceptual, l1, l2, l1_l2 or lap_l1  [default: the model's training loss]")
inversion_options = together(
    method_option,
    click.option("--steps", type=int, help="Most steps of optimisation.  [default: depends on the method]"),
    loss_option,
    seed_option,
)
images_argument = click.argument("images", nargs=-1, required=True, type=NAMED)
classes_option = click.option(
    "--class", "classes", multiple=True, metavar="NAME", help="A class; may be given several times.  [default: all]"
)


# --- Models and results ---


def load(model: str, device: str | None) -> "LoadedModel":
    """The exported model."""
    return iglo.load(model, device)


@contextmanager
def output(out: Path, *arguments: Any) -> Iterator[Path]:
    """Yields a path to write to, as `cli_files.writing`; then says in a line on stdout what was written."""
    with writing(out, *arguments) as place:
        yield place
    click.echo(f"wrote {shown(str(out))} ({amount(out)})")
