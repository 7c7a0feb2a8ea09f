"""The history of a training: its log, its snapshots and its values. It is stored beside the model."""

from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from iglo.errors import UserError
from iglo.files.io import read_array, read_json, write_array, write_json
from iglo.models.snapshots import Snapshots
from iglo.params.run_record import RunRecord, parse_run


@dataclass(frozen=True)
class ArrivalRecord:
    """What a model knows of an arrival.

    Attributes:
        id: its name.
        first, count: the rows of its training images are first, …, first + count - 1, for ever.
        validation, test: images that are held out.
        known: images that were left out, because the same image was there already.
        keep: what was replayed: images, generated or none.
        images_seen: images that went through the generator while it was learned.
    """

    id: str
    first: int
    count: int
    validation: int
    test: int
    known: int
    keep: str
    images_seen: int = 0


@dataclass
class History:
    """What the stages of a training pass on to the next stage besides the model.

    Attributes:
        snapshots: renders of the same training images at several epochs.
        subset_id: (N,) int32, the subset that first learned each image, counted from 1; 0: not learned yet.
        log: a row per stage of training and epoch.
        run: params of the stage that last trained the generator; None: not trained yet.
        arrivals: the images that came after the first run, in their order.
    """

    snapshots: Snapshots
    subset_id: np.ndarray
    log: list[dict[str, Any]] = field(default_factory=list)
    run: RunRecord | None = None
    arrivals: list[ArrivalRecord] = field(default_factory=list)

    @property
    def images_seen(self) -> dict[str, int]:
        """For each stage of training in the log: the images that it saw."""
        return {row["stage"]: row["images_seen"] for row in self.log}

    @property
    def first_run_images_seen(self) -> dict[str, int]:
        """The same for the stages of the first run. The stages of an arrival begin with its id."""
        later = tuple(f"{each.id} " for each in self.arrivals)
        return {name: count for name, count in self.images_seen.items() if not name.startswith(later)}

    @property
    def generator_images_seen(self) -> int:
        """Images that the generator has seen in training: in the first run, and in all arrivals."""
        first = sum(count for name, count in self.first_run_images_seen.items() if name != "encoder")
        return first + sum(each.images_seen for each in self.arrivals)

    def save(self, folder: Path) -> None:
        """Writes the history into the folder of the model."""
        self.snapshots.save(folder)
        write_array(folder / "subset_id.npy", self.subset_id)
        record = {"log": self.log, "run": self.run and asdict(self.run)}
        if self.arrivals:
            record["arrivals"] = [asdict(each) for each in self.arrivals]
        write_json(folder / "history.json", record)

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
            arrivals = _arrivals(record.get("arrivals", []))
        except (KeyError, TypeError, AttributeError, UserError):
            raise UserError(f"{path}: describes no training; run the stage that makes it again.") from None
        subset_id = read_array(folder / "subset_id.npy", dtype=np.int32, shape=(None,))
        return cls(Snapshots.load(folder), subset_id, log, run, arrivals)


def _arrivals(values: Any) -> list[ArrivalRecord]:
    """Returns the arrivals in a file; TypeError unless the types are right and the rows follow each other."""
    records = [ArrivalRecord(**each) for each in values]
    for record in records:
        if any(type(getattr(record, each.name)) is not each.type for each in fields(record)):
            raise TypeError
        if min(record.first, record.count) < 1:
            raise TypeError
    if any(before.first + before.count != after.first for before, after in pairwise(records)):
        raise TypeError
    return records
