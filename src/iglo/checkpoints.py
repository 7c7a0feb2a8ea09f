"""Checkpoints of a running stage: written whole, verified when read, the last two kept, one process at a time.

They live in a scratch folder outside the stage's outputs, which DVC deletes before it runs a stage. The folder's name
is a hash of everything that the run depends on, so a changed value or a changed line of code starts afresh.

Of several ranks each writes a file of its own, beside the others': what all have in common, and its rows of what has a
row per image. Another number of ranks finds its rows in them.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from iglo.errors import UserError
from iglo.files import whole_file
from iglo.runtime import Runtime

KEPT = 2
NAME = re.compile(r"step-(\d+)(?:\.rank-(\d+)-of-(\d+))?\.safetensors")
ALONE = Runtime(torch.device("cpu"), "fp32")
CHANNELS_LAST = torch.channels_last


def fingerprint(values: Any, files: Iterable[str | Path]) -> str:
    """A hash of params (dataclasses, dicts, scalars) and of the content of files and folders, in order."""
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
    """The checkpoints of one run, in order of `step`.

    Attributes:
        keeps_end: whether the end of the run is to be kept too, for a process with several runs.
    """

    def __init__(self, path: str | Path, keeps_end: bool = False):
        self.path, self.keeps_end = Path(path), keeps_end

    def part(self, name: str) -> "CheckpointFolder":
        """The checkpoints of one of several runs in the process that holds this folder."""
        return CheckpointFolder(self.path / name, keeps_end=True)

    @contextmanager
    def locked(self, runtime: Runtime | None = None) -> Iterator["CheckpointFolder"]:
        """Holds the folder for these ranks; on success it is removed, on failure it stays for the next try.

        Raises:
            UserError: another process holds it.
        """
        runtime = runtime or ALONE
        if not runtime.first:
            runtime.meet()
            yield self
            runtime.meet()
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"{self.path}: another process is training in this folder; wait for it or stop it first."
                ) from None
            runtime.meet()
            yield self
            runtime.meet()
        shutil.rmtree(self.path)

    def save(self, step: int, state: dict, runtime: Runtime = ALONE, by_image: Collection[str] = ()) -> None:
        """Writes a nested dict of tensors and JSON values; older checkpoints beyond the last two go.

        Args:
            by_image: places, as `part/key`, of tensors whose rows are this rank's block of one row per image.
        """
        tensors: dict[str, Tensor] = {}
        skeleton = _strip(state, "", tensors)
        rank = f".rank-{runtime.rank}-of-{runtime.ranks}" if runtime.ranks > 1 else ""
        with whole_file(self.path / f"step-{step:09d}{rank}.safetensors") as partial:
            save_file(tensors, partial, {"state": json.dumps(skeleton), "by_image": json.dumps(sorted(by_image))})
        runtime.meet()
        if runtime.first:
            for old in self._saved()[KEPT:]:
                for path in old:
                    path.unlink()

    def load(self, runtime: Runtime = ALONE) -> dict | None:
        """The newest state that all ranks can read whole, or None; a truncated one is passed over for the one before.

        Of another number of ranks it is the first one's, with this rank's rows of what has a row per image.
        """
        for paths in self._saved():
            try:
                state = _read(paths, runtime)
            except (SafetensorError, OSError, ValueError, KeyError):
                state = None
            if runtime.all(state is not None):
                return state
        return None

    def _saved(self) -> list[list[Path]]:
        """The files of each step, and of each number of ranks, in the order of ranks; the newest step first."""
        found = defaultdict(list)
        for path in self.path.glob("step-*.safetensors"):
            if match := NAME.fullmatch(path.name):
                step, rank, ranks = (int(number or 0) for number in match.groups())
                found[step, ranks].append((rank, path))
        return [[path for _, path in sorted(found[key])] for key in sorted(found, reverse=True)]


def scratch_root() -> Path:
    """`.scratch` in the main checkout: DVC names it in DVC_ROOT, also for experiments that run in a copy."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".scratch"


def _read(paths: list[Path], runtime: Runtime) -> dict:
    """The state in the files of one step, of which this rank takes its own where there is one for each."""
    if len(paths) != int(NAME.fullmatch(paths[0].name)[3] or 1):
        raise ValueError("a rank has not written")
    own = len(paths) == runtime.ranks
    with safe_open(paths[runtime.rank if own else 0], "pt") as handle:
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (no iterator)
        about = handle.metadata()
    if not own:
        for key in _rows(tensors, json.loads(about["by_image"])):
            tensors[key] = _gathered(paths, key, runtime)
    return _fill(json.loads(about["state"]), tensors)


def _rows(tensors: dict[str, Tensor], by_image: list[str]) -> list[str]:
    """Keys of the tensors at these places or within them, but for scalars."""
    return [key for key in tensors if tensors[key].dim() and any(f"{key}/".startswith(f"/{at}/") for at in by_image)]


def _gathered(paths: list[Path], key: str, runtime: Runtime) -> Tensor:
    """This rank's block of the rows that the files hold one after the other."""
    blocks = []
    for path in paths:
        with safe_open(path, "pt") as handle:
            blocks.append(handle.get_tensor(key))
    rows = torch.cat(blocks)
    return rows[runtime.block(len(rows))].clone()


def _strip(value: Any, key: str, tensors: dict[str, Tensor]) -> Any:
    """Moves every tensor into `tensors` under its path and leaves that and its memory order in its place.

    The order matters: torch's fused Adam walks through weights and moments side by side, whatever their strides say.
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
