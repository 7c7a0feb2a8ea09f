"""What the training stages share: their trainer, their checkpoints, their log and their outputs."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from iglo.backbones.requirements import weight_files
from iglo.data.store import ImageStore
from iglo.files.io import whole_file, whole_folder
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.class_content import ClassContentParams
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime
from iglo.training.checkpoints import CheckpointFolder, fingerprint, scratch_root
from iglo.training.loop import RunState
from iglo.training.trainer import Trainer
from stages.common import Work


@contextmanager
def checkpoint_folder(
    name: str, params: Params, *inputs: str, runtime: Runtime | None = None
) -> Iterator[CheckpointFolder]:
    """Locks the scratch folder of a stage. Its name has a hash of the params, the inputs and the code.

    If the block ends without error, the last checkpoint stays; a later run of the stage removes it. The weights file of
    the loss is an input too: if it is replaced, the stage starts from the beginning.

    Args:
        name: name of the stage.
        inputs: paths of the files and folders that the stage reads.
        runtime: the ranks that share the folder.
    """
    code = sorted((Path(__file__).parent.parent / "src" / "iglo").rglob("*.py"))
    weights = [path for key, path in weight_files(params).items() if key.endswith("loss.weights") and path.is_file()]
    key = fingerprint([name, params], [*code, *inputs, *weights])
    with CheckpointFolder(scratch_root() / f"{name}-{key}").locked(runtime) as folder:
        yield folder


@contextmanager
def open_trainer(
    name: str, arguments: SimpleNamespace, params: Params | ClassContentParams, runtime: Runtime, *inputs: str
) -> Iterator[Trainer]:
    """Opens the model in `arguments.model` and the images in `arguments.images`, to train the model further.

    Args:
        name: name of the stage, for the folder of checkpoints.
        inputs: paths of the other files and folders that the stage reads.
    """
    images = ImageStore.open(arguments.images).train
    kind = "class_content" if isinstance(params, ClassContentParams) else "glo"
    model, history = GLOModel.load(arguments.model, runtime, kind), History.load(arguments.model)
    read = (arguments.images, arguments.model, *inputs)
    with checkpoint_folder(name, params, *read, runtime=runtime) as checkpoints:
        yield Trainer(model, images, history, params, runtime, checkpoints)


def curve_in(folder: str, state: RunState) -> Path | None:
    """Makes the folder of a curve and returns the path of the file in it.

    Returns None if nothing was learned, because DVC would draw a file without rows as an empty plot.
    """
    path = Path(folder) / "curve.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    if state.rows:
        return path
    path.unlink(missing_ok=True)
    return None


def save_trained(trainer: Trainer, state: RunState, out: str, curve: str | Path | None = None) -> Work:
    """Writes the trained model, its history and, if `curve` is given, the log of this stage."""
    runtime = trainer.runtime
    if runtime.is_main and curve:
        write_log(curve, state.rows)
    with whole_folder(out, runtime) as folder:
        trainer.model.save(folder, runtime.is_main)
        if runtime.is_main:
            trainer.history.save(folder)
    return Work(state.images_seen, state.earlier_seconds)


def write_log(path: str | Path, rows: list[dict]) -> None:
    """Writes the rows of a log as CSV, one column per key. A row may lack keys of other rows; the cell is empty."""
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)) or ["epoch"])
        writer.writeheader()
        writer.writerows(rows)
