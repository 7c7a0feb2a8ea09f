"""Lists the images of a run, and fetches those that are not on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import numpy as np

from iglo.data.git import GitError, fetch_folder
from iglo.data.lines import COUNT, draw_lines, random_angles
from iglo.errors import UserError, shown
from iglo.files.folders import all_files, is_folder, natural_key
from iglo.files.io import disk_full_is_a_user_error, whole_folder, write_json
from iglo.params.sections import DataParams

# The endings of the formats that `image_io` reads, as Pillow knows them.
EXTENSIONS = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff")
LONGEST = 160  # characters of another program's message within ours


@dataclass(frozen=True, eq=False)
class Source:
    """Images in natural order, not decoded yet.

    Attributes:
        where: the place or data set, for messages.
        names: N names.
        labels: N names of classes; "" for an image without a class.
        items: N files, or a uint8 array (N, H, W) or (N, H, W, 3).
        ignored: files whose names do not end like those of images.
    """

    where: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    items: Sequence[Path] | np.ndarray
    ignored: tuple[str, ...] = ()


def fetch(data: DataParams, out: str | Path) -> None:
    """Downloads the images of a git repository or of a torchvision data set into the folder `out`.

    The file `source.json` in it says what was downloaded; null for the other sources, which need no download.

    Raises:
        UserError: there is no network, or the repository, folder or data set does not exist.
    """
    with whole_folder(out) as folder:
        record = {"source": data.source, "brought": None}
        if data.source == "git":
            _fetch_from_git(data, folder / "images")
            record["brought"] = {"url": data.url, "rev": data.rev, "subdir": data.subdir}
        elif data.source == "torchvision" and data.root is None:
            _download(data, folder / "torchvision")
            record["brought"] = data.dataset
        write_json(folder / "source.json", record)


def open_source(data: DataParams, raw: str | Path) -> Source:
    """Returns the images that `data` names, in natural order.

    Args:
        raw: the folder that `fetch` made.

    Raises:
        UserError: no such folder or files, no images among them, or an unknown class.
    """
    if data.source == "digits":
        return _digits()
    if data.source == "lines":
        return _lines(data)
    if data.source == "folder":
        return folder_source(Path(data.path), "data.path")
    if data.source == "git":
        if not Path(raw, "source.json").is_file():
            raise UserError(f"{raw}: nothing has been fetched from {data.url}; run the fetch stage first.")
        return folder_source(Path(raw) / "images", "data.subdir")
    root = Path(raw) / "torchvision" if data.root is None else Path(data.root)
    return _celeba(root, data) if data.dataset == "CelebA" else _arrays(root, data)


def _fetch_from_git(data: DataParams, out: Path) -> None:
    try:
        fetch_folder(data.url, data.rev, data.subdir, out)
    except GitError as reason:
        raise UserError(
            f"data.url: cannot get folder {data.subdir!r} of {data.url} at revision {data.rev!r} ({reason}); check "
            "data.url, data.rev, data.subdir and the network, or use data.source: folder with a copy of your own."
        ) from None


def _download(data: DataParams, root: Path) -> None:
    from torchvision import datasets

    root.mkdir()
    try:
        with disk_full_is_a_user_error(root):
            getattr(datasets, data.dataset)(str(root), download=True)
    except (RuntimeError, OSError, ImportError) as error:
        raise UserError(
            f"data.dataset: cannot download {data.dataset} ({shorten(str(error), LONGEST)}); connect to the network, "
            "or set data.root to a folder that holds its files."
        ) from None


def _digits() -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    names = tuple(f"digit-{index}" for index in range(len(images)))
    return Source("digits", names, tuple(map(str, digits.target)), images)


def _lines(data: DataParams) -> Source:
    angles = random_angles(COUNT, data.seed)
    names = tuple(f"line-{index}-{angle:.2f}" for index, angle in enumerate(np.degrees(angles)))
    return Source("lines", names, ("",) * COUNT, draw_lines(angles, data.image_size))


def folder_source(root: Path, key: str) -> Source:
    """Returns the image files under `root`. The label of an image is the sub-folder of `root` that it is in.

    Raises:
        UserError: there is no such folder, or it has no images; the message begins with `key`.
    """
    if not is_folder(root, key):
        raise UserError(f"{shown(key)}: no folder {str(root)!r}; make it and put images into it, or name another.")
    files, ignored = all_files(root)
    images = [name for name in files if name.lower().endswith(EXTENSIONS)]
    ignored += [name for name in files if not name.lower().endswith(EXTENSIONS)]
    if not images:
        raise UserError(
            f"{shown(key)}: no images in {str(root)!r} ({len(ignored)} other files); put PNG, JPEG, WebP, BMP or "
            "TIFF files into it."
        )
    images.sort(key=natural_key)
    labels = tuple(name.split("/")[0] if "/" in name else "" for name in images)
    return Source(str(root), tuple(images), labels, [root / name for name in images], tuple(sorted(ignored)))


def _celeba(root: Path, data: DataParams) -> Source:
    folder = root / "celeba" / "img_align_celeba"
    if not is_folder(folder, "data.root"):
        raise UserError(_missing(root, data, f"no folder {str(folder)!r}"))
    if data.classes:
        raise UserError(f"data.classes: must be [], since CelebA has no classes, got {list(data.classes)}.")
    return folder_source(folder, "data.root")


def _arrays(root: Path, data: DataParams) -> Source:
    """Returns MNIST, FashionMNIST or CIFAR10: the training images, then the test images.

    The files of CIFAR-10 are pickles. torchvision loads them only if their checksums are the published ones.
    """
    from torchvision import datasets

    try:
        parts = [getattr(datasets, data.dataset)(str(root), train=train, download=False) for train in (True, False)]
    except Exception as error:  # torchvision's readers raise several kinds on damaged files
        reason = str(error).partition(". You can use download=True")[0]
        raise UserError(_missing(root, data, shorten(reason, LONGEST))) from None
    classes = [name.split(" - ")[0] for name in parts[0].classes]  # MNIST says "7 - seven"
    for name in data.classes:
        if name not in classes:
            raise UserError(f"data.classes: no class {name!r} in {data.dataset}; it has {', '.join(classes)}.")
    images = np.concatenate([np.asarray(part.data) for part in parts])
    labels = np.array(classes)[np.concatenate([np.asarray(part.targets) for part in parts])]
    names = np.array(
        [f"{split}-{i}" for split, part in zip(("train", "test"), parts, strict=True) for i in range(len(part))]
    )
    keep = np.isin(labels, data.classes or classes)
    return Source(data.dataset, tuple(names[keep].tolist()), tuple(labels[keep].tolist()), images[keep])


def _missing(root: Path, data: DataParams, reason: str) -> str:
    return (
        f"data.root: no usable files of {data.dataset} in {str(root)!r} ({reason}); name a folder that holds them, or "
        "set data.root to null and run the fetch stage to download them."
    )
