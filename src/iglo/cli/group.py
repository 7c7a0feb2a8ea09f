"""The group of commands: it shows mistakes and warnings as one line each."""

import os
import sys
import warnings
from typing import Any

import click

from iglo.errors import IgloWarning, UserError, shown


class Commands(click.Group):
    """A group of commands that ends with one sentence and exit code 2 if the user made a mistake."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a terminal may not be able to show every letter
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
