"""Fetches one folder of a git repository, without its history."""

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from textwrap import shorten

LONGEST = 160  # characters of git's message within ours
LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # the beginning of a file that points to one in Git LFS
LARGEST_POINTER = 1024  # bytes, see git-lfs.com


class GitError(Exception):
    """Why the folder cannot be fetched, in a few words."""


def fetch_folder(url: str, rev: str, subdir: str, out: Path) -> None:
    """Writes the files in the folder `subdir` of a git repository into the new folder `out`.

    It downloads one revision and, if the server can do that, only the files in the folder. It reads files in git only:
    no data that DVC tracks, and no files in Git LFS. It asks for no password.

    Args:
        url: an address that git knows, or the path of a repository on this machine.
        rev: a branch, a tag or a whole commit hash.
        subdir: a path in the repository, with slashes; a dot for all of it.

    Raises:
        GitError: git is not installed, the repository cannot be reached, or it has no such revision or folder.
    """
    url = os.path.abspath(url) if os.path.exists(url) else url
    path = PurePosixPath(subdir)
    tree = "FETCH_HEAD:" if path == PurePosixPath(".") else f"FETCH_HEAD:{path}"
    out.mkdir()
    with TemporaryDirectory(dir=out.parent) as place:
        git = partial(_git, _environment(Path(place), out))
        git("init", "--quiet")
        git("remote", "add", "--", "origin", url)
        _fetch(git, rev)
        _check_folder(git, path, tree)
        git("read-tree", "-m", "-u", tree)
    if any(_is_pointer(file) for file in out.rglob("*")):
        raise GitError("its files are in Git LFS, and git has only pointers to them")


def _fetch(git: Callable[..., str], rev: str) -> None:
    if rev.startswith(("+", "^")) or ":" in rev:  # git would fetch something, but not a revision of this name
        raise GitError("no such branch, tag or whole commit hash")
    try:
        git("fetch", "--quiet", "--depth", "1", "--filter=blob:none", "--", "origin", rev)
    except GitError as reason:
        try:
            git("ls-remote", "--quiet", "origin", "HEAD")
        except GitError as broken:
            raise GitError(f"the repository cannot be reached: {broken}") from None
        raise GitError(f"no such branch, tag or whole commit hash: {reason}") from None


def _check_folder(git: Callable[..., str], path: PurePosixPath, tree: str) -> None:
    """Raises GitError unless there is a folder at `path`."""

    def kind(name: str) -> str | None:
        try:
            return git("cat-file", "-t", name)
        except GitError:
            return None

    found = kind(tree)
    if found == "tree":
        return
    if found:
        raise GitError("not a folder")
    for each in (path, *path.parents[:-1]):
        if kind(f"FETCH_HEAD:{each}.dvc") == "blob":
            raise GitError(f"DVC tracks its files, and git has only {each}.dvc")
    raise GitError("no such folder at that revision")


def _environment(place: Path, out: Path) -> dict[str, str]:
    """Returns git's environment variables for a repository in `place` whose files are in `out`."""
    ours = {"GIT_DIR": place, "GIT_INDEX_FILE": place / "index", "GIT_WORK_TREE": out, "GIT_TERMINAL_PROMPT": 0}
    return {**os.environ, **{name: str(value) for name, value in ours.items()}}


def _git(environment: dict[str, str], *arguments: str) -> str:
    """Runs git and returns what it prints."""
    try:
        result = subprocess.run(
            ["git", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError:  # no such file, or a folder of PATH that this user may not read
        raise GitError("git is not installed") from None
    if result.returncode:
        raise GitError(shorten(result.stderr, LONGEST, placeholder="…"))
    return result.stdout.strip()


def _is_pointer(file: Path) -> bool:
    if file.is_symlink() or not file.is_file() or file.stat().st_size > LARGEST_POINTER:
        return False
    return file.read_bytes().startswith(LFS_POINTER)
