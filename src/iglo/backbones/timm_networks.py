"""Builds the networks of the package timm, which is an extra of iglo: `timm/NAME`.

Messages begin with the key `network` or `weights`. The caller puts the section before it with `params.validate.within`.
"""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from iglo.backbones.backbone import Backbone, Transform, seed_weights
from iglo.backbones.weights import Shapes, check_shapes, file_shapes, file_state, shapes_of, short_reason
from iglo.errors import UserError
from iglo.runtime.process import building

PREFIX = "timm/"


class TimmBackbone(Backbone):
    """A network of timm up to its pooled features: what `forward_head(pre_logits=True)` returns."""

    def prepare(self, images: Tensor, image_size: int | None = None) -> Tensor:
        """Prepares images as any backbone does; some networks, such as ViT, take images of one size only."""
        fixed = _settings(self.network)["fixed_input_size"] and image_size
        return super().prepare(images, self.transform.side if fixed else image_size)

    def maps(self, prepared: Tensor) -> Tensor:
        return self.body.forward_features(prepared)

    def pool(self, maps: Tensor) -> Tensor:
        return self.body.forward_head(maps, pre_logits=True).flatten(1)

    def score(self, maps: Tensor) -> Tensor:
        return self.body.forward_head(maps)

    def block_outputs(self, prepared: Tensor) -> list[Tensor]:
        return self.body.forward_intermediates(prepared, intermediates_only=True)


def load_timm(network: str, weights: str, seed: int) -> TimmBackbone:
    """Loads a network of timm.

    Args:
        network: `timm/NAME`.
        weights: imagenet (the pretrained weights that timm has for this name), random, or the path of a .safetensors
            file.
        seed: seed of random weights.

    Raises:
        UserError: timm is not installed or has no such network, or its weights are missing, damaged or of another
            network.
    """
    check_timm(network)
    transform = _transform(network)
    if weights == "random":
        return TimmBackbone(network, _build(network, seed), _any_size(network), classes=None)
    if weights == "imagenet":
        return TimmBackbone(network, _pretrained(network), transform, classes=_settings(network)["num_classes"] or None)
    state = file_state(network, weights)
    body, classes = _build_for(network, shapes_of(state))
    _check(network, body, shapes_of(state), weights)
    body.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    if classes != _settings(network)["num_classes"]:
        transform = _any_size(network)
    return TimmBackbone(network, body, transform, classes=classes)


def check_timm(network: str) -> None:
    """Raises UserError unless `load_timm` can build the network."""
    timm, name = _timm(network), network.removeprefix(PREFIX)
    if not timm.is_model(name.partition(".")[0]):
        close = timm.list_models(f"*{name.partition('.')[0]}*")[:3]
        hint = f"did you mean {PREFIX}{f' or {PREFIX}'.join(close)}?" if close else "timm.list_models() names them all."
        raise UserError(f"network: timm has no network {name!r}; {hint}")
    try:
        _settings(network)
    except RuntimeError as error:
        raise UserError(f"network: timm cannot build {name!r} ({short_reason(error)}); name another network.") from None


def check_timm_file(network: str, weights: str) -> None:
    """Raises UserError unless the file `weights` has the network's weights; does not read the tensors."""
    given = file_shapes(network, weights)
    _check(network, _build_for(network, given)[0], given, weights)


def find_timm(network: str) -> None:
    """Downloads timm's pretrained weights to its cache if they are missing; raises UserError if that is impossible."""
    check_timm(network)
    _pretrained(network)


def _timm(network: str) -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise UserError(
            f"network: {network!r} needs the package timm, which is not installed; run `pip install 'iglo[timm]'`, or "
            "name a network of torchvision."
        ) from None


def _settings(network: str) -> dict[str, Any]:
    """Returns what timm knows of the pretrained weights of `timm/NAME`: their transform, classes and head."""
    _timm(network)
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(network.removeprefix(PREFIX)).to_dict()


def _transform(network: str) -> Transform:
    """Returns the transform of the network's pretrained weights."""
    one = _settings(network)
    side = one["input_size"][-1]
    resize = max(side, int(side / one["crop_pct"]))
    return Transform(tuple(one["mean"]), tuple(one["std"]), one["interpolation"], side, resize)


def _any_size(network: str) -> Transform:
    """Returns the transform of weights that were trained for an unknown size."""
    transform = _transform(network)
    return transform if _settings(network)["fixed_input_size"] else transform.any_size()


def _heads(network: str) -> tuple[str, ...]:
    """Returns the names of the layers that give class scores; a distilled network has two."""
    heads = _settings(network)["classifier"] or ()
    return (heads,) if isinstance(heads, str) else tuple(heads)


def _build(network: str, seed: int = 0, **options: Any) -> nn.Module:
    """Returns the network as timm initialises it, with other `options` of timm.create_model."""
    with building():
        seed_weights(seed, network)
        return _timm(network).create_model(network.removeprefix(PREFIX), **options)


def _build_for(network: str, given: Shapes) -> tuple[nn.Module, int | None]:
    """Builds the network for weights of these shapes; also returns the number of their classes, None without a head."""
    rows = {given[key][0] if given.get(key) else None for key in (f"{head}.weight" for head in _heads(network))}
    classes = rows.pop() if len(rows) == 1 else None
    return _build(network, **({"num_classes": classes} if classes else {})), classes


def _check(network: str, body: nn.Module, given: Shapes, weights: str) -> None:
    """Raises UserError unless the shapes of the file are those of the network; those of its head do not matter."""
    heads = tuple(f"{head}." for head in _heads(network))
    wanted, given = (
        {name: shape for name, shape in shapes.items() if not name.startswith(heads)}
        for shapes in (shapes_of(body.state_dict()), given)
    )
    check_shapes(wanted, given, "", network, weights)


def _pretrained(network: str) -> nn.Module:
    """Returns the network with timm's pretrained weights, which are downloaded if they are not in its cache.

    timm reads safetensors, or a pickle of tensors and no other objects.
    """
    try:
        with _quiet():
            return _build(network, pretrained=True)
    except Exception as error:  # the hub's errors are of many kinds
        raise UserError(
            f"weights: the pretrained weights of {network} cannot be downloaded ({short_reason(error)}); connect to "
            "the network, name the path of a .safetensors file, or set random."
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides warnings in the log: the hub warns at each of its tries."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
