"""Checkpoints of a running stage: written whole, verified when read, the last two kept, one process at a time.

They live in a scratch folder outside the stage's outputs, which DVC deletes before it runs a stage. The folder's name
is a hash of everything that the run depends on, so a changed value or a changed line of code starts afresh.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
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

KEPT = 2
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
    def locked(self) -> Iterator["CheckpointFolder"]:
        """Holds the folder for this process; on success it is removed, on failure it stays for the next try.

        Raises:
            UserError: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"{self.path}: another process is training in this folder; wait for it or stop it first."
                ) from None
            yield self
        shutil.rmtree(self.path)

    def save(self, step: int, state: dict) -> None:
        """Writes a nested dict of tensors and JSON values; older checkpoints beyond the last two go."""
        tensors: dict[str, Tensor] = {}
        skeleton = _strip(state, "", tensors)
        with whole_file(self.path / f"step-{step:09d}.safetensors") as partial:
            save_file(tensors, partial, {"state": json.dumps(skeleton)})
        for old in self._files()[:-KEPT]:
            old.unlink()

    def load(self) -> dict | None:
        """The newest state that can be read whole, or None; a truncated one is passed over for the one before it."""
        for path in reversed(self._files()):
            try:
                with safe_open(path, "pt") as handle:
                    tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (no iterator)
                    return _fill(json.loads(handle.metadata()["state"]), tensors)
            except (SafetensorError, OSError, ValueError, KeyError):
                continue
        return None

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("step-*.safetensors"))


def scratch_root() -> Path:
    """`.scratch` in the main checkout: DVC names it in DVC_ROOT, also for experiments that run in a copy."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".scratch"


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
