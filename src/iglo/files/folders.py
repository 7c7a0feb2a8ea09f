"""Finds and sorts the files under a folder, and the files that match a user's pattern."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_ISDIR

from iglo.errors import UserError, shown


def status(path: str | Path, key: str) -> os.stat_result | None:
    """Returns the status of `path` in the file system, or None if nothing has that name.

    Raises:
        UserError: the status cannot be read (no permission, name too long); the message begins with `key`.
    """
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        at = f" {shown(str(path))!r}" if key != str(path) else ""
        raise UserError(f"{shown(key)}: cannot be read{at} ({reason}); correct that or name another.") from None


def is_folder(path: str | Path, key: str) -> bool:
    """Returns whether `path` is a folder; raises UserError as `status` does."""
    found = status(path, key)
    return found is not None and S_ISDIR(found.st_mode)


def all_files(root: Path) -> tuple[list[str], list[str]]:
    """Returns the files under `root` and the hidden entries, unordered, as paths relative to `root` with slashes.

    The search follows links to folders. It enters each folder once, by a path without links if there is one, and does
    not follow a link to a folder that contains the link. It lists each file once. Names that begin with a dot are
    hidden. The same tree gives the same files on every machine.

    Raises:
        UserError: a folder cannot be listed.
    """
    files, links, hidden, visited = [], [], [], set()
    starts = [""]  # the root, then the links to folders found so far
    while starts:
        linked = []
        for name, entry in (found for start in sorted(starts) for found in _tree(root, start, visited)):
            is_link = entry.is_symlink()
            is_folder = os.path.isdir(entry) if is_link else entry.is_dir()
            if entry.name.startswith("."):
                hidden.append(name + "/" * is_folder)
            elif not is_folder:
                (links if is_link else files).append(name)
            elif is_link and not _leads_back(root / name):
                linked.append(name)
        starts = linked
    return files + _to_other_files(root, sorted(links), files), hidden


def files_of_pattern(name: str) -> list[str]:
    """Returns the files that match a pattern such as `frogs/*.png`, unordered.

    The longest beginning that is an existing folder is no pattern, so a folder may be called `br[1]`. `**` means all
    folders that `all_files` enters.

    Raises:
        UserError: the folder cannot be listed.
    """
    path = Path(name)
    folder = next(parent for parent in path.parents if os.path.isdir(parent))
    parts = path.relative_to(folder).parts
    try:
        os.scandir(folder).close()  # glob finds nothing in a folder that it cannot list
    except OSError as error:
        raise _cannot_list(error) from None
    if "**" in parts:
        found: Iterable[str] = (file for file in all_files(folder)[0] if _fits(file.split("/"), parts))
    else:
        found = glob.glob(os.path.join(*parts), root_dir=folder)
    matches = (str(folder / match) for match in found)
    return [match for match in matches if os.path.isfile(match)]


def natural_key(text: str) -> tuple:
    """Returns a sort key: frog-2 comes before frog-10, and the files of a folder stay together."""
    return [_split_numbers(part) for part in text.split("/")], text


def _split_numbers(text: str) -> list[str | int]:
    pieces = re.split("([0-9]+)", text)  # every second piece is a number, so a number is compared with a number
    return [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)]


def _tree(root: Path, start: str, visited: set[tuple[int, int]]) -> Iterator[tuple[str, os.DirEntry]]:
    """Yields the entries under the folder `start` with their paths in `root`; enters no hidden folders and no links."""
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        for entry in _entries(root / folder, visited):
            name = f"{folder}/{entry.name}".lstrip("/")
            yield name, entry
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                waiting.append(name)


def _entries(folder: Path, visited: set[tuple[int, int]]) -> list[os.DirEntry]:
    """Returns the entries of a folder on the first visit, and none on later visits."""
    try:
        found = os.stat(folder)
        if (found.st_dev, found.st_ino) in visited:
            return []
        visited.add((found.st_dev, found.st_ino))
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise _cannot_list(error) from None


def _leads_back(link: Path) -> bool:
    """Returns whether a link leads to a folder that contains the link."""
    return link.parent.resolve().is_relative_to(link.resolve())


def _to_other_files(root: Path, links: list[str], files: list[str]) -> list[str]:
    """Returns the links that lead neither to one of the files nor to the target of an earlier link."""
    taken = {os.path.realpath(root / file) for file in files} if links else set()
    first = {os.path.realpath(root / link): link for link in reversed(links)}
    return [link for target, link in first.items() if target not in taken]


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Returns whether the parts of a path match the parts of a pattern; ** matches any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[skipped:], pattern[1:] or ("*",)) for skipped in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _cannot_list(error: OSError) -> UserError:
    reason, place = (error.strerror or str(error)).lower(), shown(str(error.filename))
    return UserError(f"{place}: cannot list the folder ({reason}); change its permissions or remove it.")
