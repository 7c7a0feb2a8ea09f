"""One folder of a git repository, at a branch, a tag or a commit."""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from iglo.data import git
from iglo.data.git import GitError, fetch_folder
from iglo.data.sources import fetch
from iglo.errors import UserError
from tests.data.images import noise, prepare, save

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def run(repository: Path, *arguments: str) -> str:
    user = ["-c", "user.name=iglo", "-c", "user.email=iglo@example.org"]
    command = ["git", "-C", str(repository), *user, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A repository of two commits: the first has the tag v1, the second is the branch master."""
    place = tmp_path_factory.mktemp("git") / "frogs"
    contents = {"frogs/1.txt": "one", "frogs/deep/2.txt": "two", "other/3.txt": "x" * 5000, "data.dvc": "outs: []"}
    later = {"frogs/1.txt": "later", "large/4.png": POINTER}
    for files, commands in ((contents, [["tag", "-a", "v1", "-m", "First"]]), (later, [])):
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        if files is contents:
            run(place, "init", "-q", "-b", "master")
            run(place, "config", "uploadpack.allowFilter", "true")
        for command in (["add", "."], ["commit", "-q", "-m", "Frogs"], *commands):
            run(place, *command)
    return place


def fetched(out: Path) -> dict[str, str]:
    return {file.relative_to(out).as_posix(): file.read_text() for file in out.rglob("*") if file.is_file()}


@pytest.mark.parametrize(("rev", "one"), [("master", "later"), ("v1", "one"), ("v1^{commit}", "one")])
def test_a_branch_a_tag_and_a_commit(repository, tmp_path, monkeypatch, rev, one):
    """The place may be an absolute path, a relative path or a URL; variables of another repository do not matter."""
    rev = run(repository, "rev-parse", rev) if "^" in rev else rev
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    for number, url in enumerate((str(repository), os.path.relpath(repository), repository.as_uri())):
        fetch_folder(url, rev, "./frogs/", Path(f"out-{number}"))
        assert fetched(Path(f"out-{number}")) == {"1.txt": one, "deep/2.txt": "two"}
        assert len(os.listdir()) == number + 1  # no history is left


def test_other_folders_are_not_downloaded(repository, tmp_path, monkeypatch):
    objects = []

    def counted(environment: dict[str, str], *arguments: str) -> str:
        said = call(environment, *arguments)
        if arguments[0] == "read-tree":
            objects.append(call(environment, "cat-file", "--batch-check", "--batch-all-objects"))
        return said

    call = git._git
    monkeypatch.setattr(git, "_git", counted)
    fetch_folder(str(repository), "v1", "frogs", tmp_path / "out")
    sizes = [line.split()[-1] for line in objects[0].splitlines() if " blob " in line]
    assert sorted(sizes) == ["3", "3"]


def test_a_whole_repository(repository, tmp_path):
    fetch_folder(str(repository), "v1", ".", tmp_path / "out")
    assert len(fetched(tmp_path / "out")) == 4


@pytest.mark.parametrize(
    ("url", "rev", "subdir", "reason"),
    [
        (None, "v9", "frogs", "no such branch, tag or whole commit hash: .*v9"),
        (None, "--all", "frogs", "no such branch, tag or whole commit hash"),
        (None, "master:frogs", ".", "no such branch, tag or whole commit hash"),
        (None, "+master", "frogs", "no such branch, tag or whole commit hash"),
        (None, "^master", "frogs", "no such branch, tag or whole commit hash"),
        (None, "master", "toads", "no such folder at that revision"),
        (None, "master", "../frogs", "no such folder at that revision"),
        (None, "master", "frogs/1.txt", "not a folder"),
        (None, "master", "data/images", r"DVC tracks its files, and git has only data\.dvc"),
        (None, "master", "large", "its files are in Git LFS"),
        ("nowhere", "master", "frogs", "the repository cannot be reached: .*nowhere"),
        ("file:///nowhere", "master", "frogs", "the repository cannot be reached"),
    ],
)
def test_a_failure_has_its_reason(repository, tmp_path, url, rev, subdir, reason):
    with pytest.raises(GitError, match=f"^{reason}"):
        fetch_folder(url or str(repository), rev, subdir, tmp_path / "out")


def test_without_git(repository, tmp_path, monkeypatch):
    (tmp_path / "git").mkdir()  # cannot be run
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match=r"^git is not installed$"):
        fetch_folder(str(repository), "master", "frogs", tmp_path / "out")


def test_images_of_a_repository(data, tmp_path):
    """From the params to prepared images; a failure is one sentence and leaves nothing."""
    place = tmp_path / "frogs"
    for number in (1, 2, 10):
        save(place / "data-64" / f"frog-{number}.png", noise(64, 64, 4, seed=number))
    for command in (["init", "-q", "-b", "master"], ["add", "."], ["commit", "-q", "-m", "Frogs"]):
        run(place, *command)
    frogs = dataclasses.replace(data, source="git", url=str(place), rev="master", subdir="data-64", train=2)
    with pytest.raises(UserError, match="run the fetch stage first"):
        prepare(frogs, tmp_path)
    with pytest.raises(UserError, match=r"^data\.url: cannot get folder 'toads' of .* \(no such folder [^\n]*\.$"):
        fetch(dataclasses.replace(frogs, subdir="toads"), tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    fetch(frogs, tmp_path / "raw")
    store, _ = prepare(frogs, tmp_path)
    assert store.names == ("frog-1.png", "frog-2.png", "frog-10.png") and store.classes == ("",)
