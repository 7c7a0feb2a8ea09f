"""What the training stages share: their checkpoints, their log and how they tell their work."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iglo.checkpoints import CheckpointFolder, fingerprint, scratch_root
from iglo.files import whole_file, whole_folder
from iglo.model import Model
from iglo.params import Params
from iglo.runtime import Runtime
from iglo.training import Progress
from stages.common import Work


@contextmanager
def checkpoint_folder(
    name: str, params: Params, *inputs: str, runtime: Runtime | None = None
) -> Iterator[CheckpointFolder]:
    """The locked scratch folder of a stage, keyed by its params, inputs and code.

    It keeps the last checkpoint when the block ends well; a later run of the stage removes it.

    Args:
        inputs: paths of the files and folders that the stage reads.
        runtime: of the ranks that share the folder.
    """
    code = sorted((Path(__file__).parent.parent / "src" / "iglo").glob("*.py"))
    key = fingerprint([name, params], [*code, *inputs])
    with CheckpointFolder(scratch_root() / f"{name}-{key}").locked(runtime) as folder:
        yield folder


def keep(model: Model, progress: Progress, out: str, curve: str, runtime: Runtime) -> Work:
    """Writes a trained model and the curve of its training; returns the work that it was."""
    if runtime.first:
        write_log(curve, progress.rows)
    with whole_folder(out, runtime) as folder:
        model.save(folder)
    return Work(progress.presented, progress.earlier_seconds)


def write_log(path: str, rows: list[dict]) -> None:
    """The rows of a run's log as CSV, one column per key."""
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["epoch"])
        writer.writeheader()
        writer.writerows(rows)
