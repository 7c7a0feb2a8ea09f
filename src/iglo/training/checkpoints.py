"""Checkpoints of a DVC stage. Each file is written completely or not at all, and is verified when it is read.

The files are in a scratch folder outside the outputs of the stage, because DVC deletes the outputs before it runs a
stage. The name of the folder has a hash of everything that the run depends on, so a changed value or a changed line of
code starts a new run. Only one run at a time uses a folder.

The last checkpoint stays after the run, because DVC may be killed before it has recorded the outputs. The next run with
the same hash then starts from this checkpoint and writes the same outputs. A later run with another hash removes it.

With several ranks, each rank writes its own file: the state that all ranks share, and its own rows of the tensors with
a row per image. A run with another number of ranks can read these files.
"""

import glob
import hashlib
import json
import math
import os
import re
import shutil
import time
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from iglo.errors import UserError, warn
from iglo.files import locks
from iglo.files.io import whole_file
from iglo.runtime.device import Runtime

KEPT = 2  # checkpoints that are kept during a run; an older one is used if the newest is damaged
FORMAT = "2"  # version of the files; version 2 added the checksum
HASH = re.compile(r"[0-9a-f]{24}")  # a result of `fingerprint`
FINISHED = "finished"  # a folder has a file of this name after its run has ended
HOUR = 3600  # seconds; a finished folder stays for an hour, because DVC may not have recorded its experiment yet
NAME = re.compile(r"step-(\d+)(?:\.rank-(\d+)-of-(\d+))?\.safetensors")
ONE_PROCESS = Runtime(torch.device("cpu"), "fp32")
CHANNELS_LAST = torch.channels_last


def fingerprint(values: Any, files: Iterable[str | Path]) -> str:
    """Hashes params (dataclasses, dicts, scalars) and the contents of files and folders: 24 hexadecimal digits."""
    digest = hashlib.blake2b(repr(_plain(values)).encode(), digest_size=12)
    for path in map(Path, files):
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for member in members:
            digest.update(str(member.relative_to(path.parent)).encode())
            with open(member, "rb") as handle:
                while block := handle.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


class CheckpointFolder:
    """The folder with the checkpoints of one run."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def inside(self, name: str) -> "CheckpointFolder":
        """Returns a folder inside this one, for one of several stages of training in the same run."""
        return CheckpointFolder(self.path / name)

    @contextmanager
    def locked(self, runtime: Runtime | None = None) -> Iterator["CheckpointFolder"]:
        """Locks the folder for the ranks of this run while the block runs.

        If the block ends without error, the last checkpoint stays, and folders of the same stage that were finished
        more than an hour ago are removed. Unfinished folders, and those that another process holds, stay.

        Raises:
            UserError: another process holds the folder, or the folder cannot be written.
        """
        runtime = runtime or ONE_PROCESS
        if not runtime.is_main:
            runtime.barrier()
            yield self
            runtime.barrier()
            return
        lock = self._hold()
        try:
            runtime.barrier()
            yield self
            runtime.barrier()
            self._finish()
        finally:
            lock.release()

    def _hold(self) -> locks.Lock:
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock = locks.hold(self.path / "lock")
                break
            except locks.BusyError:
                raise UserError(
                    f"{self.path}: another process is training in this folder; wait for it or stop it first."
                ) from None
            except FileNotFoundError:  # a later run of the stage has just removed the folder
                continue
            except OSError as error:
                raise UserError(
                    f"{self.path}: cannot be written ({(error.strerror or str(error)).lower()}); "
                    "change its permissions, or remove what is in the way."
                ) from None
        if not lock.real:
            warn(f"{self.path}: this file system has no locks; do not start a second process that trains the same.")
        return lock

    def _finish(self) -> None:
        """Keeps the newest checkpoint of each folder inside, and removes the finished folders of earlier runs."""
        for folder in {path.parent for path in self.path.rglob("step-*.safetensors")}:
            CheckpointFolder(folder)._keep(1)
        (self.path / FINISHED).touch()
        stage = self.path.name.rpartition("-")[0]
        for folder in self.path.parent.glob(f"{glob.escape(stage)}-*"):
            if folder != self.path and HASH.fullmatch(folder.name.removeprefix(f"{stage}-")):
                _remove_if_finished(folder)

    def _keep(self, count: int, step: float = math.inf) -> None:
        """Keeps the newest `count` complete checkpoints up to `step`, and removes all others."""
        whole = [paths for paths in self._saved() if _is_whole(paths) and _step(paths[0]) <= step]
        kept = {path for paths in whole[:count] for path in paths}
        for path in self.path.glob("step-*.safetensors"):
            if path not in kept:
                path.unlink()

    def save(self, step: int, state: dict, runtime: Runtime = ONE_PROCESS, by_image: Collection[str] = ()) -> None:
        """Writes a checkpoint, and removes all but the last two.

        Args:
            state: a nested dict of tensors and JSON values.
            by_image: keys of tensors with a row per image, such as `model/codes.tables.image.weight`. This rank has
                only its own rows.
        """
        tensors: dict[str, Tensor] = {}
        skeleton = _strip(state, "", tensors)
        about = {"format": FORMAT, "state": json.dumps(skeleton), "by_image": json.dumps(sorted(by_image))}
        rank = f".rank-{runtime.rank}-of-{runtime.ranks}" if runtime.ranks > 1 else ""
        with whole_file(self.path / f"step-{step:09d}{rank}.safetensors") as partial:
            save_file(tensors, partial, about | {"checksum": _checksum(about, tensors)})
        runtime.barrier()
        if runtime.is_main:
            self._keep(KEPT, step)

    def load(self, runtime: Runtime = ONE_PROCESS) -> dict | None:
        """Reads the newest checkpoint that all ranks can read; None if there is none.

        If the number of ranks has changed, the state is that of the main rank, with the rows of this rank.
        """
        for paths in self._saved():
            state = None
            with suppress(SafetensorError, OSError, ValueError, KeyError, TypeError):
                state = _read(paths, runtime)
            if runtime.all(state is not None):
                return state
            if runtime.is_main:
                warn(f"{paths[0]}: is damaged or incomplete; an older checkpoint is used, if there is one.")
        return None

    def _saved(self) -> list[list[Path]]:
        """Lists the checkpoints, the newest first. Each is a list of files, in the order of the ranks."""
        found = defaultdict(list)
        for path in self.path.glob("step-*.safetensors"):
            if match := NAME.fullmatch(path.name):
                step, rank, ranks = (int(number or 0) for number in match.groups())
                found[step, ranks].append((rank, path))
        return [[path for _, path in sorted(found[key])] for key in sorted(found, reverse=True)]


def scratch_root() -> Path:
    """Returns `.scratch` in the main checkout. DVC_ROOT names that checkout, also in experiments that run in a copy."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".scratch"


def _remove_if_finished(folder: Path) -> None:
    """Removes a folder whose run ended more than an hour ago, unless a process holds it."""
    with suppress(OSError, locks.BusyError):
        if time.time() - (folder / FINISHED).stat().st_mtime < HOUR:
            return
        lock = locks.hold(folder / "lock")
        if lock.real:
            shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _read(paths: list[Path], runtime: Runtime) -> dict:
    """Reads one checkpoint: the file of this rank, or all files if another number of ranks has written it."""
    if not _is_whole(paths):
        raise ValueError("the file of a rank is missing")
    own = len(paths) == runtime.ranks
    tensors, about = _verified(paths[runtime.rank if own else 0])
    if not own:
        others = [_verified(path)[0] for path in paths[1:]]
        for key in _rows(tensors, json.loads(about["by_image"])):
            rows = torch.cat([each[key] for each in (tensors, *others)])
            tensors[key] = rows[runtime.local_slice(len(rows))].clone()
    return _fill(json.loads(about["state"]), tensors)


def _step(path: Path) -> int:
    return int(NAME.fullmatch(path.name)[1])


def _is_whole(paths: list[Path]) -> bool:
    """Whether every rank has written its file of a step."""
    return len(paths) == int(NAME.fullmatch(paths[0].name)[3] or 1)


def _verified(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads the tensors in a file and its metadata.

    Raises:
        ValueError: the file has another version, or does not match its checksum.
    """
    with safe_open(path, "pt") as handle:
        about = handle.metadata() or {}
        if about.get("format") != FORMAT:
            raise ValueError("the file has another version")
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (no iterator)
    if about.pop("checksum", None) != _checksum(about, tensors):
        raise ValueError("the file is damaged")
    return tensors, about


def _checksum(about: dict[str, str], tensors: dict[str, Tensor]) -> str:
    """Computes the CRC-32 of names, types, shapes and values. It is fast and finds damaged blocks."""
    total = 0
    for name in sorted(about):
        total = zlib.crc32(f"{name}={about[name]}\n".encode(), total)
    for key in sorted(tensors):
        tensor = tensors[key]
        total = zlib.crc32(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy(), total)
    return f"{total:08x}"


def _rows(tensors: dict[str, Tensor], by_image: list[str]) -> list[str]:
    """Lists the keys of the tensors at or below the keys `by_image`, without scalars."""
    return [key for key in tensors if tensors[key].dim() and any(f"{key}/".startswith(f"/{at}/") for at in by_image)]


def _strip(value: Any, key: str, tensors: dict[str, Tensor]) -> Any:
    """Replaces every tensor by its path and its memory order, and moves the tensor into `tensors`.

    The memory order matters: torch's fused Adam ignores strides, so weights and moments must have the same order.
    """
    if isinstance(value, Tensor):
        tensors[key] = value.detach().cpu().contiguous()
        return {"tensor": key, "channels_last": value.dim() == 4 and value.is_contiguous(memory_format=CHANNELS_LAST)}
    if isinstance(value, dict):
        return {"items": [[k, _strip(v, f"{key}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_strip(v, f"{key}/{i}", tensors) for i, v in enumerate(value)]
    return value


def _fill(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Puts the tensors back into the places from which `_strip` has taken them."""
    if isinstance(value, dict):
        if "tensor" in value:
            tensor = tensors[value["tensor"]]
            return tensor.contiguous(memory_format=CHANNELS_LAST) if value["channels_last"] else tensor
        return {k: _fill(v, tensors) for k, v in value["items"]}
    if isinstance(value, list):
        return [_fill(v, tensors) for v in value]
    return value


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
