"""What every stage script shares: arguments and params in, a timing file out, one sentence for a user's mistake."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

from iglo.errors import UserError
from iglo.files import disk_full_is_a_user_error, write_json
from iglo.params import Params, load_params


def stage(*names: str) -> Callable:
    """Makes a function of (arguments, params) the main of a stage whose required options are `names`.

    The function returns how many images went through it, or None where a rate means nothing. `--timing` names the
    file that receives seconds and images per second.
    """

    def decorate(function: Callable[[SimpleNamespace, Params], int | None]) -> Callable[[list[str] | None], None]:
        def main(argv: list[str] | None = None) -> None:
            parser = argparse.ArgumentParser(description=function.__doc__)
            for name in names:
                parser.add_argument(f"--{name.replace('_', '-')}", required=True)
            parser.add_argument("--timing", required=True, help="JSON file for the time that this stage took")
            parser.add_argument("--params", default="params.yaml")
            arguments = parser.parse_args(argv)
            try:
                _timed(function, arguments)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                sys.exit(1)
            except KeyboardInterrupt:
                print("stopped; run again to go on from the last checkpoint", file=sys.stderr)
                sys.exit(130)

        return main

    return decorate


def _timed(function: Callable, arguments: argparse.Namespace) -> None:
    start = time.perf_counter()
    with disk_full_is_a_user_error(os.getcwd()):
        images = function(arguments, load_params(arguments.params))
    seconds = time.perf_counter() - start
    rate = {} if images is None else {"images_per_s": round(images / seconds, 1)}
    write_json(arguments.timing, {"seconds": round(seconds, 2), **rate})
