"""What all stages share: arguments, params, the timing file and one sentence for a user's mistake."""

import argparse
import gc
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from iglo import environment
from iglo.errors import IgloWarning, UserError
from iglo.files.io import check_can_be_written, disk_full_is_a_user_error, file_digest, read_json, write_json
from iglo.params.pipeline import Params
from iglo.params.reading import load_params
from iglo.runtime.threads import set_threads, thread_count
from stages.imports import ROOT

try:
    import resource
except ImportError:  # Windows
    resource = None

FOLDERS = ("out", "everything", "figures", "curves")  # options that name a folder that a stage writes
# Options that name a file that a stage writes.
FILES = ("curve", "digests", "report", "headline", "metrics", "page", "timing")
IS_MAIN = os.environ.get("RANK", "0") == "0"  # whether this is the first rank that torchrun has started


@dataclass(frozen=True)
class Work:
    """What a stage did: how many images it processed, and how many seconds earlier, killed runs of it took."""

    images: int
    earlier_seconds: float = 0.0


def stage(*names: str, params_type: type | None = None, optional: Sequence[str] = ()) -> Callable:
    """Turns a function of (arguments, params) into the main function of a stage.

    The function returns a Work or the number of images, from which the images per second follow; or None if they have
    no meaning. The option `--timing` names the file for seconds, images per second and the largest resident set in MiB
    (not known on Windows).

    Args:
        names: the required options. If `times` is one of them, it names the folder with the times of all stages, and
            the file of `--timing` receives them too.
        params_type: the type of the params; by default, the type that the file holds.
        optional: options that need not be given; then they are None.
    """

    def decorate(
        function: Callable[[SimpleNamespace, Any], int | Work | None],
    ) -> Callable[[list[str] | None], None]:
        def main(argv: list[str] | None = None) -> None:
            parser = argparse.ArgumentParser(description=function.__doc__)
            for name in names:
                parser.add_argument(f"--{name.replace('_', '-')}", required=True)
            for name in optional:
                parser.add_argument(f"--{name.replace('_', '-')}")
            parser.add_argument("--timing", required=True, help="JSON file for the time that this stage took")
            parser.add_argument("--params", default="params.yaml")
            parser.add_argument("--modules", help="JSON file with the digests of the modules of this stage")
            arguments = parser.parse_args(argv)
            whole_process = argv is None
            try:
                if whole_process:
                    _few_collections()
                    check_modules(arguments.modules)
                with _plain_warnings():
                    _timed(function, arguments, params_type)
            except UserError as error:
                if not IS_MAIN:
                    time.sleep(5)  # the first rank prints the error for all ranks, and torchrun then stops this one
                print(f"error: {error}", file=sys.stderr)
                sys.exit(1)
            except KeyboardInterrupt:
                print("stopped by the keyboard; `dvc repro` goes on where it can", file=sys.stderr)
                sys.exit(130)
            if whole_process and "RANK" not in os.environ:
                _leave()

        return main

    return decorate


def _few_collections() -> None:
    """Lets Python's garbage collector work, but not visit the loaded modules again and again."""
    gc.freeze()
    gc.enable()


def _leave() -> None:
    """Ends the process at once, when all files are written. Python would free every module of torch one by one."""
    with suppress(BrokenPipeError):  # nobody reads any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Prints iglo's warnings as lines on stderr. Other warnings look as usual."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Warning, category: type[Warning], *rest: Any, **options: Any) -> None:
            if issubclass(category, IgloWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                show(message, category, *rest, **options)

        warnings.showwarning = shown
        yield


def check_modules(path: str | None) -> None:
    """Raises UserError if a module is not what it was when the stage `modules` wrote the file at `path`.

    DVC compares only that file. If a stage ran an edited module, DVC would record its result as that of the code before
    the edit.
    """
    for name, digest in read_json(path).items() if path else ():
        module = ROOT / name
        if not module.is_file() or file_digest(module) != digest:
            raise UserError(f"{name}: was edited after this run had begun; run `dvc repro` again.")


def _timed(function: Callable, arguments: argparse.Namespace, params_type: type | None) -> None:
    """Runs a stage and writes its timing file."""
    start = time.perf_counter()
    with disk_full_is_a_user_error(os.getcwd()):
        _check_first(arguments)
        set_threads(thread_count())
        params = load_params(arguments.params, params_type)
        result = function(arguments, params)
    seconds = time.perf_counter() - start
    work = result if isinstance(result, Work) else Work(result or 0)
    seconds += work.earlier_seconds
    timing: dict[str, Any] = {"seconds": round(seconds, 2), "threads": thread_count()}
    if resource is not None:
        timing["peak_mib"] = peak_mib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, sys.platform)
    if work.images:
        timing["images_per_s"] = round(work.images / seconds, 1)
    if "times" in arguments and isinstance(params, Params):
        timing = {**times_of_stages(Path(arguments.times), len(params.rounds)), "evaluate": timing}
    if IS_MAIN:
        write_json(arguments.timing, timing)


def _check_first(arguments: argparse.Namespace) -> None:
    """Checks environment variables and outputs before a long run.

    Raises:
        UserError: a variable is invalid, or an output cannot be written.
    """
    environment.check()
    if IS_MAIN:
        for name, path in vars(arguments).items():
            if path is not None and (name in FOLDERS or name in FILES):
                check_can_be_written(path, folder=name in FOLDERS)


def peak_mib(largest: int, platform: str) -> int:
    """Converts the largest resident set to MiB. macOS counts it in bytes, other systems in KiB."""
    return largest // 2**20 if platform == "darwin" else largest // 2**10


def times_of_stages(folder: Path, rounds: int) -> dict:
    """Reads the timing files of a run as {"full": …, "staged": {"1": …}}, without rounds after the last one."""
    times: dict = {}
    for path in sorted(folder.rglob("*.json"), key=lambda path: path.parts):
        *groups, name = path.relative_to(folder).with_suffix("").parts
        inner = times
        for group in groups:
            inner = inner.setdefault(group, {})
        if not name.isdecimal() or int(name) <= rounds:
            inner[name] = read_json(path)
    return times
