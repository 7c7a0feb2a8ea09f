"""Checks what a run needs of this machine: networks, the files of their weights, and memory.

The first stage checks all of it, before anything is trained. This module imports torch only to check weights.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from iglo.environment import memory
from iglo.errors import UserError
from iglo.files.io import file_digest
from iglo.params.fields import within
from iglo.params.sections import AnyParams, ClassContentParams, Comparison, NetworkParams, Params, runs

BUILT_IN = ("imagenet", "random")  # values of `weights` that do not name a file
# The networks of the lpips package, for which it ships calibrated weights, and torchvision's names for them.
LPIPS_NETWORKS = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
MOST_COMPONENTS = 32  # of a mixture of Gaussians, see `sampling`, which imports torch
GIB = 2**30
WATCHED = Path("data/weights")  # the folder of weights on which the first stage depends


def networks(params: AnyParams) -> dict[str, NetworkParams]:
    """The networks that the runs of a params file use, by section, such as `loss`.

    In a comparison, a section begins with `base: `, or with `arms.NAME.changes: ` if an arm changes it.
    """
    if not isinstance(params, Comparison):
        return {name: section for name, section in _sections(params).items() if _is_used(name, params)}
    base, found = params.params(), {}
    for arm in params.run:
        for name, section in networks(params.params(arm)).items():
            changed = section != _sections(base)[name]
            found[f"arms.{arm}.changes: {name}" if changed else f"base: {name}"] = section
    return found


def check_networks(params: AnyParams) -> None:
    """Raises UserError if a network or its weights are missing; downloads torchvision's weights."""
    downloads = {}
    for name, section in networks(params).items():
        if section.weights == "random" and name.endswith("evaluate") and section.network in LPIPS_NETWORKS:
            continue  # checked without torch
        with within(f"{name}."):
            _check_network(name, section)
        if section.weights == "imagenet":
            downloads[f"{name}.weights"] = LPIPS_NETWORKS.get(section.network, section.network)
    if downloads:
        from iglo.backbones.weights import find_imagenet

        find_imagenet(downloads)


def _check_network(name: str, section: NetworkParams) -> None:
    from iglo.backbones import networks

    network = section.network
    if name.endswith("loss"):
        networks.check_vgg(network)
    elif name.endswith("features"):
        networks.check_network(network)
    else:
        network = LPIPS_NETWORKS.get(network, network)
        if network not in LPIPS_NETWORKS.values():
            networks.check_blocks(network)
    if section.weights not in BUILT_IN:
        networks.check_file(network, section.weights)


def check_folder(params: AnyParams) -> None:
    """Raises UserError if the folder of the images does not exist."""
    compared = isinstance(params, Comparison)
    data = (params.params() if compared else params).data
    if data.source == "folder" and not _is_folder(data.path):
        key = "base.data.path" if compared else "data.path"
        raise UserError(f"{key}: no folder {data.path!r}; make it and put images into it, or name another.")


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # a name that is too long, or a folder without read permission
        return False


def named_files(params: AnyParams) -> dict[str, Path]:
    """The files of weights that the runs of a params file read, by key: {"loss.weights": Path(…)}."""
    used = networks(params).items()
    return {f"{name}.weights": Path(one.weights) for name, one in used if one.weights not in BUILT_IN}


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


def digests(params: AnyParams) -> dict[str, dict[str, str]]:
    """SHA-256 of every file of weights, by section (`features`, `loss`, `evaluate`) and path."""
    found: dict[str, dict[str, str]] = {"features": {}, "loss": {}, "evaluate": {}}
    for key, path in named_files(params).items():
        section = key.split()[-1].partition(".")[0]
        found[section][str(path)] = found[section].get(str(path)) or file_digest(path)
    return found


def check_memory(params: AnyParams, available: int | None = None) -> None:
    """Raises UserError if, by a rough estimate, a part of a run needs more memory than the machine has.

    Args:
        available: bytes of memory; None: those of this machine.
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
    """Keys, and the bytes of memory that their values need."""
    side, channels, width = params.data.image_size, params.data.channels, params.generator.width
    pixels = 4 * side**2 * channels  # of one image in float32
    two = isinstance(params, ClassContentParams)
    dimensions = ("latent.class_dimension", "latent.content_dimension") if two else ("latent.dimension",)
    latent = params.latent
    dimension = latent.class_dimension + latent.content_dimension if two else latent.dimension
    # Weights, their gradients, Adam's two moments and the moving average, in float32.
    yield (*dimensions, "generator.width"), 20 * body_weights(dimension, side, channels, width)
    yield (*dimensions, "encoder.width"), 20 * body_weights(dimension, side, channels, params.encoder.width) * (1 + two)
    if params.data.train is not None:
        yield ("data.train", *dimensions), 16 * params.data.train * dimension
    # The last block's maps before and after batch norm and ReLU, as much again for the blocks before, and gradients.
    step = 12 * width * side**2
    if two:
        yield ("train.batch_size", "generator.width"), step * params.train.batch_size
        return
    # The best mixture of Gaussians and the next one have covariances, precisions and their roots, in float64.
    components = min(MOST_COMPONENTS, (params.data.train or 2 * MOST_COMPONENTS) // 2)
    yield dimensions, 2 * 3 * 8 * components * dimension**2
    yield ("full.batch_size", "generator.width"), step * params.full.batch_size
    batch = params.staged.earlier_batch + params.staged.current_batch
    yield ("staged.earlier_batch", "staged.current_batch", "generator.width"), step * batch
    if params.features.network != "pixels":  # the first maps of a VGG
        looked_at = params.features.image_size or 224
        yield ("features.batch_size", "features.image_size"), 256 * looked_at**2 * params.features.batch_size
    judged = params.evaluate
    yield ("evaluate.samples",), 2 * pixels * judged.samples
    yield ("evaluate.pairs", "evaluate.steps"), 2 * pixels * judged.pairs * (2 * judged.steps + 1)


def body_weights(dimension: int, image_size: int, channels: int, width: int) -> int:
    """How many weights the convolutions of a generator have; an encoder has about as many (see `networks`)."""
    widths = [width * min(2**block, 8) for block in range(image_size.bit_length() - 3)]
    return 16 * (channels * widths[0] + sum(a * b for a, b in pairwise(widths)) + widths[-1] * dimension)


def remarks(params: AnyParams) -> list[str]:
    """Warnings about values that are allowed: rates that are probably too high, and files that DVC does not watch."""
    rates = [f"{prefix}{remark}" for prefix, run in runs(params).items() for remark in _high_rates(run)]
    return rates + [
        f"{key}: `dvc repro` does not notice when {path} is replaced; put it into {WATCHED} to have it noticed."
        for key, path in named_files(params).items()
        if WATCHED.resolve() not in path.resolve().parents
    ]


def _high_rates(run: Params | ClassContentParams) -> Iterator[str]:
    highest = 100.0 if getattr(run.optimizer, "name", "adam") == "sgd" else 1.0
    limits = {f"optimizer.{name}_rate": highest for name in ("generator", "code", "class", "content")}
    for key, limit in {**limits, "encoder.rate": 1.0, "joint.rate": 1.0}.items():
        section, name = key.split(".")
        rate = getattr(getattr(run, section), name, 0.0)
        if rate > limit:
            yield f"{key}: with the rate {rate:g}, images are likely to end as noise; set at most {limit:g}."
