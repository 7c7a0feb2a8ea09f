"""Finds and checks files of networks' weights, in torchvision's cache and as `.safetensors` files.

Messages begin with the key `weights`. The caller puts the section before it with `params.validate.within`.
"""

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from iglo.errors import UserError
from iglo.files.io import file_digest
from iglo.progress import on_terminal

Shapes = dict[str, tuple[int, ...]]


def find_imagenet(networks: dict[str, str]) -> None:
    """Downloads torchvision's ImageNet weights to its cache if they are missing, and checks the files.

    Args:
        networks: torchvision's name of each network, by the key of its weights, such as `loss.weights`.

    Raises:
        UserError: weights cannot be downloaded (one message names them all), or a file is damaged.
    """
    files = {key: _imagenet_file(network) for key, network in networks.items()}
    try:
        missing = {key: file for key, file in files.items() if not file[0].exists()}
        for path, url in missing.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                torch.hub.download_url_to_file(url, str(path), digest_in_name(path), progress=on_terminal())
        for key in files.keys() - missing.keys():
            _check_digest(key, networks[key], files[key][0])
    except (OSError, HTTPException, RuntimeError) as error:
        raise UserError(_cannot_get(files, error)) from None


def _cannot_get(files: dict[str, tuple[Path, str]], error: Exception) -> str:
    """Returns the message for missing files, with their keys and everything that the user can do."""
    missing = {key: file for key, file in files.items() if not _exists(file[0])} or files
    urls, folder = dict.fromkeys(url for _, url in missing.values()), next(iter(files.values()))[0].parent
    reason = short_reason(error)
    what, them = "files" if len(urls) > 1 else "file", "each of these keys to " if len(missing) > 1 else ""
    return (
        f"{', '.join(missing)}: torchvision's ImageNet weights cannot be read in {folder} and cannot be downloaded "
        f"({reason}); connect to the network, put the {what} {', '.join(urls)} there, name the path of a .safetensors "
        f"file, or set {them}random."
    )


def short_reason(error: Exception) -> str:
    """Returns the text of an error of another package, short enough for a message."""
    return textwrap.shorten(str(getattr(error, "reason", error)), 160, placeholder="…").rstrip(".")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _imagenet_file(network: str) -> tuple[Path, str]:
    """Returns the path of the network's ImageNet weights in torchvision's cache, and their URL."""
    from torchvision import models  # here, because torchvision takes a second

    url = models.get_model_weights(network).DEFAULT.url
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name, url


def shapes_of(state: dict[str, torch.Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in state.items()}


def check_shapes(wanted: Shapes, given: Shapes, head: str, network: str, source: str) -> list[str]:
    """Returns the names of the body's weights; raises UserError unless `source` has them with the same shapes.

    Args:
        wanted: shapes of the network's weights.
        given: shapes of the weights in `source`; those of the head do not matter.
        head: name of the head.
        network: torchvision's name, for messages.
        source: the file, for messages.
    """

    def of_body(shapes: Shapes) -> Shapes:
        unused = (f"{head}.", "num_batches_tracked")
        return {name: v for name, v in shapes.items() if not (name.startswith(unused[0]) or name.endswith(unused[1]))}

    wanted, given = of_body(wanted), of_body(given)
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            need, got = (f"shape {found[name]}" if name in found else "none" for found in (wanted, given))
            raise UserError(
                f"weights: those in {source} are not the weights of {network}, which needs for {name}: {need}, but the "
                f"file has {got}; set network to the one that they were trained for, or name another file."
            )
    return list(wanted)


def file_state(network: str, weights: str) -> dict[str, torch.Tensor]:
    """Reads the tensors in a file by name. Raises UserError if that is impossible, or if a number is not finite."""
    with _reading(network, weights):
        state = load_file(weights)
    for name, values in state.items():
        if values.is_floating_point() and not values.isfinite().all():
            raise UserError(
                f"weights: those in {weights!r} must be finite, but {name} has NaN or infinity; name another file, or "
                "set imagenet or random."
            )
    return state


def file_shapes(network: str, weights: str) -> Shapes:
    """Returns the shapes of the tensors in a file; does not read the tensors."""
    with _reading(network, weights), safe_open(weights, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _reading(network: str, weights: str) -> Iterator[None]:
    """Raises UserError if the block cannot read the file `weights`, or if there is no such file."""
    ways = "name another file, or set imagenet or random."
    if Path(weights).suffix != ".safetensors":
        raise UserError(f"weights: must be imagenet, random or a .safetensors file for {network}, got {weights!r}.")
    try:
        if not Path(weights).is_file():
            raise UserError(f"weights: there is no file {weights!r} of {network}; {ways}")
        yield
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"weights: cannot read {weights!r} as safetensors of {network} ({reason}); {ways}") from None


def digest_in_name(path: Path) -> str:
    """Returns the first digits of the file's SHA-256, which are in its name."""
    return re.search(r"-([0-9a-f]{8,})\.", path.name).group(1)


def _check_digest(key: str, network: str, path: Path) -> None:
    wanted, got = digest_in_name(path), file_digest(path)
    if not got.startswith(wanted):
        raise UserError(
            f"{key}: the ImageNet weights of {network} in {path} are damaged (their SHA-256 must begin with {wanted}, "
            f"got {got[: len(wanted)]}); delete the file and run again, name a .safetensors file, or set random."
        )
