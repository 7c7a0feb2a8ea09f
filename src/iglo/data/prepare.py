"""Prepares the images of a run: decodes and splits them, and writes them into the folder that `ImageStore` opens."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from iglo.data.known import write_known
from iglo.data.sources import Source
from iglo.data.writing import LISTED, Written, listed, splits_of, write_images
from iglo.errors import UserError, shown
from iglo.files.io import whole_file, whole_folder, write_json
from iglo.params.run_record import data_record
from iglo.params.sections import DataParams, Parts, part_sizes
from iglo.randomness import numpy_generator


def write_store(source: Source, data: DataParams, out: str | Path, digests: str | Path | None = None) -> int:
    """Decodes as many images as `data` asks for and writes them into the folder `out`; returns their number.

    `images.npy` is (N, H, W, C) uint8: training images, then validation images, then test images. `index.csv` has a row
    for each image (id, name, label, split). `report.json` counts splits, labels, grey and colour files, exact
    duplicates and images that were left out.

    Args:
        digests: path of a list of known images, in the order of ids; None: no list is written.

    Raises:
        UserError: there are fewer images than the split asks for; there are bad images, unless `data.on_error` is skip;
            or there is too little memory for an image. Skip does not leave out the last kind, because the data set must
            not depend on free memory.
    """
    count = len(source.names)
    order = numpy_generator(data.seed, "split").permutation(count) if data.shuffle else np.arange(count)
    _check_enough(count, source, data, {})
    sizes = data.train, data.validation, data.test
    wanted = count if None in sizes else sum(sizes)
    with whole_folder(out) as folder:
        written = write_images(folder / "images.npy", source, order, data, wanted)
        _check_enough(len(written.kept), source, data, written.bad)
        parts = part_sizes(data, len(written.kept))
        written.write_index(folder / "index.csv", parts)
        report = {
            "source": source.where,
            "data": data_record(data),  # for the record of a model that learns from the images
            "duplicates": _duplicates(written, splits_of(parts)),
        }
        write_json(folder / "report.json", report | written.report(parts))
    if digests is not None:
        with whole_file(digests) as partial:
            write_known(partial, written.as_known())
    return len(written.kept)


def _check_enough(count: int, source: Source, data: DataParams, bad: dict[str, str]) -> None:
    parts = part_sizes(data, count)
    fewest = Parts(1, 0 if data.validation == 0 else 1, 1)
    if sum(parts) <= count and all(size >= least for size, least in zip(parts, fewest, strict=True)):
        return
    asked = [size if size is not None else "at least 1" for size in (data.train, data.validation, data.test)]
    skipped = f", beside {listed(bad)} that cannot be used" if bad else ""
    raise UserError(
        f"data.train, data.validation, data.test: ask for {asked[0]}, {asked[1]} and {asked[2]} images, but "
        f"{shown(source.where)} has {count}{skipped}; ask for fewer or add images."
    )


def _duplicates(written: Written, splits: list[str]) -> dict[str, Any]:
    """Counts the groups of prepared images that are equal bit for bit, and lists the first ones."""
    names, rows = written.names, defaultdict(list)
    for row, digest in enumerate(written.digests):
        rows[digest].append(row)
    groups = [group for group in rows.values() if len(group) > 1]
    return {
        "groups": len(groups),
        "images": sum(map(len, groups)),
        "groups_across_parts": sum(len({splits[row] for row in group}) > 1 for group in groups),
        "first": [[names[row] for row in group] for group in groups[:LISTED]],
    }
