"""What the commands of `iglo` share: mistakes in one sentence, options, and the model that they use."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import iglo
from iglo.errors import UserError

if TYPE_CHECKING:
    from iglo.toolkit import LoadedModel

EXPORTED = "models/export"


class Commands(click.Group):
    """A group whose mistakes, click's own among them, are one sentence and exit code 2."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        try:
            sys.exit(super().main(*arguments, **options | {"standalone_mode": False}) or 0)
        except click.ClickException as error:
            message = error.format_message()
        except UserError as error:
            message = str(error)
        except (click.Abort, KeyboardInterrupt):
            click.echo("stopped by the keyboard", err=True)
            sys.exit(130)
        message = " ".join(message.split())
        click.echo(f"error: {message}{'' if message.endswith(('.', '?')) else '.'}", err=True)
        sys.exit(2)


# --- Options ---

Command = Callable[..., None]


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


model_option = click.option("--model", default=EXPORTED, show_default=True, metavar="FOLDER", help="An exported model.")
device_option = click.option("--device", metavar="NAME", help="cpu, cuda, …  [default: a GPU if there is one]")
seed_option = click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same result.")
out_option = together(
    click.option("--out", required=True, type=click.Path(path_type=Path), help="Where the result goes."),
    click.option("--force", is_flag=True, help="Replace what is there."),
)
inversion_options = together(
    click.option(
        "--method", default="hybrid", show_default=True, help="Of finding codes: encoder, optimize or hybrid."
    ),
    click.option("--steps", type=int, help="Of optimisation, at most.  [default: what the method takes]"),
    click.option("--loss", help="perceptual, l1, l2, l1_l2 or lap_l1  [default: what the model was trained with]"),
    seed_option,
)
images_argument = click.argument("images", nargs=-1, required=True)
classes_option = click.option("--class", "classes", multiple=True, metavar="NAME", help="Repeatable.  [default: all]")


# --- The model ---


def load(model: str, device: str | None) -> "LoadedModel":
    """The exported model; from here to the end of the command its warnings are lines on stderr."""
    loaded = iglo.load(model, device)
    from iglo.user_images import ConversionWarning

    click.get_current_context().with_resource(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", ConversionWarning)
    warnings.showwarning = lambda message, *_, **__: click.echo(f"warning: {message}", err=True)
    return loaded
