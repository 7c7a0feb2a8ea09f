"""What the training stages share: their checkpoints, their log and how they tell their work."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iglo.backbones.requirements import weight_files
from iglo.files.io import whole_file, whole_folder
from iglo.models.glo import Model
from iglo.params.sections import Params
from iglo.runtime.device import Runtime
from iglo.training.checkpoints import CheckpointFolder, fingerprint, scratch_root
from iglo.training.loop import Progress
from stages.common import Work


@contextmanager
def checkpoint_folder(
    name: str, params: Params, *inputs: str, runtime: Runtime | None = None
) -> Iterator[CheckpointFolder]:
    """The locked scratch folder of a stage, keyed by its params, inputs and code.

    If the block ends without error, the last checkpoint stays; a later run of the stage removes it.

    The file of weights of the loss is an input too: if it is replaced, the stage starts afresh.

    Args:
        inputs: paths of the files and folders that the stage reads.
        runtime: the ranks that share the folder.
    """
    code = sorted((Path(__file__).parent.parent / "src" / "iglo").rglob("*.py"))
    weights = [path for key, path in weight_files(params).items() if key.endswith("loss.weights") and path.is_file()]
    key = fingerprint([name, params], [*code, *inputs, *weights])
    with CheckpointFolder(scratch_root() / f"{name}-{key}").locked(runtime) as folder:
        yield folder


def curve_in(folder: str, progress: Progress) -> Path | None:
    """Makes the folder of a curve and returns the file in it; None if nothing was learned, to avoid an empty plot."""
    path = Path(folder) / "curve.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    if progress.rows:
        return path
    path.unlink(missing_ok=True)
    return None


def keep(model: Model, progress: Progress, out: str, curve: str | Path | None, runtime: Runtime) -> Work:
    """Writes a trained model, and the curve of its training unless `curve` is None; returns the work done."""
    if runtime.is_main and curve:
        write_log(curve, progress.rows)
    with whole_folder(out, runtime) as folder:
        model.save(folder)
    return Work(progress.images_seen, progress.earlier_seconds)


def write_log(path: str | Path, rows: list[dict]) -> None:
    """The rows of a run's log as CSV, one column per key."""
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["epoch"])
        writer.writeheader()
        writer.writerows(rows)
