"""What a run needs of this machine: networks, the files of their weights, and memory.

The first stage asks for all of it, so that nothing is trained in vain. This module imports torch only where a network's
weights have to be looked at.
"""

from pathlib import Path

from iglo.params import ClassContentParams, Comparison, NetworkParams, Params

BUILT_IN = ("imagenet", "random")  # weights that are no file of the user's
AnyParams = Params | ClassContentParams | Comparison


def networks(params: AnyParams) -> dict[str, NetworkParams]:
    """The networks that the runs of a params file use, by the section that names them, such as `loss`.

    The section of a comparison begins with `base: `, or with `arms.NAME.changes: ` where an arm changes it.
    """
    if not isinstance(params, Comparison):
        return {name: section for name, section in _sections(params).items() if _is_used(name, params)}
    base, found = params.params(), {}
    for arm in params.run:
        for name, section in networks(params.params(arm)).items():
            changed = section != _sections(base)[name]
            found[f"arms.{arm}.changes: {name}" if changed else f"base: {name}"] = section
    return found


def named_files(params: AnyParams) -> dict[str, Path]:
    """The files of weights that those runs read, by the key that names them: {"loss.weights": Path(…)}."""
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
