"""The history of a training: its log, its snapshots and its values. It is stored beside the model."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from iglo.errors import UserError
from iglo.files.io import read_array, read_json, write_array, write_json
from iglo.models.snapshots import Snapshots
from iglo.params.run_record import RunRecord, parse_run


@dataclass
class History:
    """What the stages of a training pass on to the next stage besides the model.

    Attributes:
        snapshots: renders of the same training images at several epochs.
        subset_id: (N,) int32, the subset that first learned each image, counted from 1; 0: not learned yet.
        log: a row per stage of training and epoch.
        run: params of the stage that last trained the generator; None: not trained yet.
    """

    snapshots: Snapshots
    subset_id: np.ndarray
    log: list[dict[str, Any]] = field(default_factory=list)
    run: RunRecord | None = None

    def save(self, folder: Path) -> None:
        """Writes the history into the folder of the model."""
        self.snapshots.save(folder)
        write_array(folder / "subset_id.npy", self.subset_id)
        write_json(folder / "history.json", {"log": self.log, "run": self.run and asdict(self.run)})

    @classmethod
    def load(cls, folder: str | Path) -> "History":
        """Reads what `save` wrote.

        Raises:
            UserError: the folder holds no history.
        """
        folder = Path(folder)
        path = folder / "history.json"
        record = read_json(path)
        try:
            log, run = record["log"], parse_run(record)
            if not isinstance(log, list) or not all(isinstance(row, dict) for row in log):
                raise TypeError
        except (KeyError, TypeError, AttributeError, UserError):
            raise UserError(f"{path}: describes no training; run the stage that makes it again.") from None
        subset_id = read_array(folder / "subset_id.npy", dtype=np.int32, shape=(None,))
        return cls(Snapshots.load(folder), subset_id, log, run)
