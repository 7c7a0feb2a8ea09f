"""Checks that this machine has what a run needs: networks, files of their weights, and memory.

The stage `check` checks this before anything is trained. The module imports torch only to check weights.
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from iglo.environment import memory
from iglo.errors import UserError
from iglo.files.io import file_digest
from iglo.params.class_content import ClassContentParams
from iglo.params.comparison import Comparison
from iglo.params.pipeline import Params
from iglo.params.reading import AnyParams, runs
from iglo.params.sections import NetworkParams
from iglo.params.validate import within

BUILT_IN = ("imagenet", "random", "digits")  # values of `weights` that do not name a file
SMALL_CNN, DOWNLOAD = "small_cnn", "download"  # the same as in `small_cnn` and `inception_fid`, which import torch
# The networks of the lpips package, for which it ships calibrated weights, and torchvision's names for them.
LPIPS_NETWORKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
MAX_COMPONENTS = 32  # of a mixture of Gaussians; the same as in `latent.gaussians`, which imports torch
GIB = 2**30
WEIGHTS_FOLDER = Path("data/weights")  # the stage `check` depends on this folder,
TORCHVISION_FOLDER = Path("data/torchvision")  # and the stage that prepares the images on this one


def networks(params: AnyParams) -> dict[str, NetworkParams]:
    """Returns the networks that the runs of a params file use, by section, such as `loss`.

    In a comparison the name of a section begins with `base: `, or with `methods.NAME.changes: ` if a method changes it,
    or with `measure.other_judges.0: ` for a judge of that list.
    """
    if not isinstance(params, Comparison):
        return {name: section for name, section in _sections(params).items() if _is_used(name, params)}
    base, found = params.params(), {}
    for method in params.run:
        for name, section in networks(params.params(method)).items():
            changed = section != _sections(base)[name]
            found[f"methods.{method}.changes: {name}" if changed else f"base: {name}"] = section
    judges = enumerate(params.measure.other_judges)
    return found | {f"measure.other_judges.{index}: evaluate": section for index, section in judges}


def check_networks(params: AnyParams) -> None:
    """Downloads weights; raises UserError if a network, its weights or its package are missing."""
    downloads = {}
    for name, section in networks(params).items():
        if not _is_sure(name, section):
            with within(f"{name}."):
                _check_network(name, section)
        if section.weights == "imagenet" and "/" not in section.network:
            downloads[f"{name}.weights"] = LPIPS_NETWORKS.get(section.network, section.network)
    if downloads:
        from iglo.backbones.weights import find_imagenet

        find_imagenet(downloads)
    for name, section in networks(params).items():
        if getattr(section, "fid_weights", None) is not None:
            from iglo.backbones.inception_fid import load_inception_fid

            with within(f"{name}."):
                load_inception_fid(section.fid_weights)


def _is_sure(name: str, section: NetworkParams) -> bool:
    """Tells whether the network is sure to be there, so that torch need not be imported to check it."""
    ours = section.network == SMALL_CNN and section.weights in ("random", "digits")
    return name.endswith("evaluate") and (ours or (section.network in LPIPS_NETWORKS and section.weights == "random"))


def _check_network(name: str, section: NetworkParams) -> None:
    from iglo.backbones import networks

    network = section.network
    if name.endswith("evaluate"):
        network = LPIPS_NETWORKS.get(network, network)
    if name.endswith("loss"):
        networks.check_vgg(network)
    else:
        networks.check_network(network)
    networks.check_weights(network, section.weights)


def check_folder(params: AnyParams) -> None:
    """Raises UserError if the folder of the images does not exist."""
    compared = isinstance(params, Comparison)
    data = (params.params() if compared else params).data
    if data.source == "folder" and not _is_folder(data.path):
        key = "base.data.path" if compared else "data.path"
        raise UserError(f"{key}: no folder {data.path!r}; make it and put images into it, or name another.")


def check_watched(params: AnyParams) -> None:
    """Raises UserError if a file that the params name is where DVC does not watch it.

    DVC watches WEIGHTS_FOLDER, TORCHVISION_FOLDER and the folder of `data.path`. A link in them may lead elsewhere.
    """
    compared = isinstance(params, Comparison)
    data = (params.params() if compared else params).data
    named = {key: (path, WEIGHTS_FOLDER) for key, path in weight_files(params).items()}
    if data.source == "torchvision" and data.root is not None:
        named["base.data.root" if compared else "data.root"] = Path(data.root), TORCHVISION_FOLDER
    for key, (path, folder) in named.items():
        if not Path(os.path.abspath(path)).is_relative_to(folder.absolute()):
            raise UserError(
                f"{key}: must be in {folder}, or `dvc repro` would not notice when it is replaced, got {str(path)!r}; "
                "move it there, or put a link to it there."
            )


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # a name that is too long, or a folder without read permission
        return False


def weight_files(params: AnyParams) -> dict[str, Path]:
    """Returns the files of weights that the runs of a params file read, by key: {"loss.weights": Path(…)}."""
    found = {}
    for name, section in networks(params).items():
        if section.weights not in BUILT_IN:
            found[f"{name}.weights"] = Path(section.weights)
        fid_weights = getattr(section, "fid_weights", None)
        if fid_weights not in (None, DOWNLOAD):
            found[f"{name}.fid_weights"] = Path(fid_weights)
    return found


def _sections(params: Params | ClassContentParams) -> dict[str, NetworkParams]:
    names = ("loss",) if isinstance(params, ClassContentParams) else ("features", "loss", "evaluate")
    return {name: getattr(params, name) for name in names}


def _is_used(name: str, params: Params | ClassContentParams) -> bool:
    if name == "features":
        return params.features.network != "pixels"
    if name == "loss":
        return params.loss.name == "perceptual" or (
            isinstance(params, ClassContentParams) and "perceptual" in params.sweep.loss
        )
    return True


def weight_digests(params: AnyParams) -> dict[str, dict[str, str]]:
    """Returns the SHA-256 of every file of weights, by section (`features`, `loss`, `evaluate`) and path."""
    found: dict[str, dict[str, str]] = {"features": {}, "loss": {}, "evaluate": {}}
    for key, path in weight_files(params).items():
        section = key.split()[-1].partition(".")[0]
        found[section][str(path)] = found[section].get(str(path)) or file_digest(path)
    return found


def check_memory(params: AnyParams, available: int | None = None) -> None:
    """Raises UserError if a part of a run needs more memory than there is, by a rough estimate.

    Args:
        available: bytes of memory; None: the memory of this machine.
    """
    available = available or memory()
    for prefix, run in runs(params).items():
        for keys, amount in _memory(run):
            if amount > available:
                raise UserError(
                    f"{prefix}{', '.join(keys)}: must fit into memory, got values that need about "
                    f"{amount / GIB:,.0f} GiB, but this machine has {available / GIB:,.1f} GiB; lower them."
                )


def _memory(params: Params | ClassContentParams) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yields keys, and the bytes of memory that their values need."""
    side, channels, width = params.data.image_size, params.data.channels, params.generator.width
    pixels = 4 * side**2 * channels  # of one image in float32
    two = isinstance(params, ClassContentParams)
    dimensions = ("latent.class_dimension", "latent.content_dimension") if two else ("latent.dimension",)
    latent = params.latent
    dimension = latent.class_dimension + latent.content_dimension if two else latent.dimension
    # Weights, gradients, two moments of Adam and the EMA, in float32.
    yield (*dimensions, "generator.width"), 20 * body_weights(dimension, side, channels, width)
    yield (*dimensions, "encoder.width"), 20 * body_weights(dimension, side, channels, params.encoder.width) * (1 + two)
    if params.data.train is not None:
        yield ("data.train", *dimensions), 16 * params.data.train * dimension
    # Feature maps of the last block before and after batch norm and ReLU, as much for all other blocks, and gradients.
    step = 12 * width * side**2
    if two:
        yield ("train.batch_size", "generator.width"), step * params.train.batch_size
        return
    # Two mixtures of Gaussians (the best one and the next one): covariances, precisions and their roots, in float64.
    components = min(MAX_COMPONENTS, (params.data.train or 2 * MAX_COMPONENTS) // 2)
    yield dimensions, 2 * 3 * 8 * components * dimension**2
    yield ("full.batch_size", "generator.width"), step * params.full.batch_size
    batch = params.staged.earlier_batch + params.staged.current_batch
    yield ("staged.earlier_batch", "staged.current_batch", "generator.width"), step * batch
    if params.features.network != "pixels":  # the first feature maps of a VGG
        feature_size = params.features.image_size or 224
        yield ("features.batch_size", "features.image_size"), 256 * feature_size**2 * params.features.batch_size
    evaluate = params.evaluate
    yield ("evaluate.samples",), 2 * pixels * evaluate.samples
    yield ("evaluate.pairs", "evaluate.steps"), 2 * pixels * evaluate.pairs * (2 * evaluate.steps + 1)


def body_weights(dimension: int, image_size: int, channels: int, width: int) -> int:
    """Returns the number of weights in the convolutions of a generator or an encoder; see `models.networks`."""
    widths = [width * min(2**block, 8) for block in range(image_size.bit_length() - 3)]
    return 16 * (channels * widths[0] + sum(a * b for a, b in pairwise(widths)) + widths[-1] * dimension)


def param_warnings(params: AnyParams) -> list[str]:
    """Returns warnings about values that are allowed: rates that are too high."""
    return [f"{prefix}{text}" for prefix, run in runs(params).items() for text in _high_rates(run)]


def _high_rates(run: Params | ClassContentParams) -> Iterator[str]:
    highest = 100.0 if getattr(run.optimizer, "name", "adam") == "sgd" else 1.0
    limits = {f"optimizer.{name}_rate": highest for name in ("generator", "code", "class", "content")}
    for key, limit in {**limits, "encoder.rate": 1.0, "joint.rate": 1.0}.items():
        section, name = key.split(".")
        rate = getattr(getattr(run, section), name, 0.0)
        if rate > limit:
            yield f"{key}: with a rate of {rate:g} the images probably become noise; set at most {limit:g}."
