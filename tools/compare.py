"""Runs the comparison without DVC: several stages at a time, for one GPU or many cores.

    python tools/compare.py --jobs 5
    python tools/compare.py comparison/presets/frogs-5000.yaml --folder comparison/frogs-5000 --jobs 5

It runs the stages of comparison/dvc.yaml, each in a process of its own, as soon as the stages that it depends on are
done. A stage whose results exist is skipped, so a run that was stopped goes on. It does not notice when params or code
have changed: then delete the folder `runs`. With `--folder comparison`, the default, results lie where DVC leaves them.

It needs the packages that iglo needs, and neither DVC nor an installed iglo. The processes start from one that has
imported torch already, which saves seconds for each stage.
"""

import argparse
import importlib
import multiprocessing
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "src")) if path not in sys.path]

from iglo.errors import UserError  # noqa: E402
from iglo.params.comparison import Comparison  # noqa: E402
from iglo.params.reading import load_params, read_yaml  # noqa: E402
from tools.dvc_stages import Stage, prerequisites, read_stages  # noqa: E402

HOME = "comparison/"  # the folder that the commands of comparison/dvc.yaml name
LAST_LINES = 20  # of the output of a stage that fails


def main(argv: list[str] | None = None) -> int:
    """Runs the stages whose results do not exist yet; returns 1 if one fails, or if an argument is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("params", nargs="?", default="comparison/params.yaml", help="the params file of a comparison")
    parser.add_argument("--folder", default="comparison", help="where the results are written")
    parser.add_argument("--jobs", type=_positive, default=1, help="how many stages run at a time")
    arguments = parser.parse_args(argv)
    params, folder = (Path(path).resolve() for path in (arguments.params, arguments.folder))
    try:
        stages = _stages_of(params)
        _make(folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    os.chdir(ROOT)
    threads = os.environ.setdefault("IGLO_THREADS", str(max(1, (os.cpu_count() or 1) // arguments.jobs)))
    print(f"{arguments.jobs} stages at a time, with {threads} threads each", flush=True)
    return Runner(stages, params, folder).run(arguments.jobs)


def _positive(text: str) -> int:
    """Reads the number of jobs; argparse says that it is invalid."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def _stages_of(params: Path) -> list[Stage]:
    """Returns the stages of the comparison in a params file; UserError if the file holds none."""
    load_params(params, Comparison)
    return read_stages(ROOT / HOME / "dvc.yaml", read_yaml(params))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--folder: cannot make the folder {folder} ({error.strerror}); name another.") from None


class Runner:
    """Runs stages in the order that their dependencies ask for.

    Args:
        stages: in an order in which they could run one by one.
        params: the params file of all stages.
        folder: where the results are written.
    """

    def __init__(self, stages: Sequence[Stage], params: Path, folder: Path):
        self.params, self.folder = params, folder
        self.before = prerequisites(stages)
        done = {stage.name for stage in stages if all((folder / out).exists() for out in stage.outs)}
        self.done = done - {"modules", "report"}  # these two are always written again
        self.waiting = in_order([stage for stage in stages if stage.name not in self.done], self.before)
        self.running: dict[Stage, tuple[multiprocessing.Process, float]] = {}
        self.failed = 0

    def run(self, jobs: int) -> int:
        """Runs all stages, `jobs` at a time. After a failure, no more stages are started; returns 1 then, else 0."""
        began, context = time.perf_counter(), _context([module_and_argv(stage)[0] for stage in self.waiting])
        if self.done:
            print(f"{len(self.done)} stages are done already", flush=True)
        while self.waiting or self.running:
            ready = [stage for stage in self.waiting if self.before[stage.name] <= self.done]
            for stage in ready[: 0 if self.failed else jobs - len(self.running)]:
                self._start(stage, context)
            if not self.running:
                break
            wait([process.sentinel for process, _ in self.running.values()])
            for stage, (process, start) in list(self.running.items()):
                if not process.is_alive():
                    self._finish(stage, process, time.perf_counter() - start)
        print(f"{time.perf_counter() - began:.0f} s in all", flush=True)
        return int(bool(self.failed))

    def _start(self, stage: Stage, context: multiprocessing.context.BaseContext) -> None:
        module, argv = module_and_argv(stage)
        options = [self._moved(word, argv[index - 1]) for index, word in enumerate(argv)]
        log = self.folder / "runs" / "logs" / f"{stage.name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        process = context.Process(target=run_stage, args=(module, options, str(log)))
        process.start()
        self.waiting.remove(stage)
        self.running[stage] = (process, time.perf_counter())

    def _moved(self, word: str, option: str) -> str:
        """Returns a word of a command with the params file and the folder of this run."""
        if option == "--params":
            return str(self.params)
        if option == "--pipeline":
            return word
        return str(self.folder / word.removeprefix(HOME)) if word.startswith(HOME) else word

    def _finish(self, stage: Stage, process: multiprocessing.Process, seconds: float) -> None:
        process.join()
        del self.running[stage]
        if process.exitcode == 0:
            self.done.add(stage.name)
            print(f"{seconds:7.1f} s  {stage.name}", flush=True)
            return
        self.failed += 1
        log = self.folder / "runs" / "logs" / f"{stage.name}.txt"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:] if log.exists() else []
        print(f"{seconds:7.1f} s  {stage.name} has FAILED; {log} ends:", *lines, sep="\n    ", flush=True)


def in_order(stages: Sequence[Stage], before: Mapping[str, set[str]]) -> list[Stage]:
    """Returns the stages in the order in which they are started when they are ready.

    A run that has begun is finished first, so that training, which needs the GPU, goes on beside measuring, which needs
    the CPU too. Among the other stages, a stage comes first if the longest chain of stages waits for it.
    """
    after = {name: {other for other, needed in before.items() if name in needed} for name in before}
    done, left = longest_chains(before), longest_chains(after)
    return sorted(stages, key=lambda stage: (-done[stage.name], -left[stage.name]))


def longest_chains(following: Mapping[str, set[str]]) -> dict[str, int]:
    """Returns the length of the longest chain that starts at each name: the name, one that follows it, and so on."""
    length: dict[str, int] = {}

    def measured(name: str) -> int:
        if name not in length:
            length[name] = 1 + max(map(measured, following[name]), default=0)
        return length[name]

    return {name: measured(name) for name in following}


def module_and_argv(stage: Stage) -> tuple[str, list[str]]:
    """Returns the module that the command of a stage runs, and its arguments."""
    words = shlex.split(stage.command)
    module, *argv = words[words.index("-m") + 1 :]
    return module, argv


def run_stage(module: str, argv: list[str], log: str) -> None:
    """Runs a stage in this process; all that it prints goes to the file `log`."""
    with open(log, "wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    importlib.import_module(module).main(argv)


def _context(modules: Sequence[str]) -> multiprocessing.context.BaseContext:
    """Returns what starts processes: where the system can fork, from one that has imported these modules."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT), *([inherited] if inherited else [])])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(sorted(set(modules)))
    return context


if __name__ == "__main__":
    sys.exit(main())
