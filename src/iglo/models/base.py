"""What an arrival needs of the model that it starts from."""

from iglo.errors import UserError
from iglo.models.glo import GLOModel
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.params.sections import Parts


def check_model(model: GLOModel, folder: str, params: Params) -> None:
    """Raises UserError if a model was made with other sizes than those in the params, or has no encoder."""
    config = model.config
    made = {
        "data.image_size": (config.image_size, params.data.image_size),
        "data.channels": (config.channels, params.data.channels),
        "latent.dimension": (config.dimension, params.latent.dimension),
        "generator.width": (config.width, params.generator.width),
        "generator.network": (config.network, params.generator.network),
    }
    for key, (old, new) in made.items():
        if old != new:
            raise UserError(f"{key}: is {new}, but {folder} was made with {old}; run `dvc repro` to make it again.")
    if model.encoder is None:
        raise UserError(f"{folder}: has no encoder, and an arrival needs one; name the model of a later stage.")


def first_run_parts(history: History, folder: str) -> Parts:
    """Returns the numbers of training, validation and test images of the first run.

    Args:
        folder: that of the model, for messages.

    Raises:
        UserError: the history does not say them.
    """
    counts = {} if history.run is None else history.run.data
    parts = Parts(*(counts.get(name) for name in Parts._fields))
    if any(type(size) is not int or size < 0 for size in parts) or not parts.train:
        raise UserError(
            f"{folder}: does not say how many images the first run had in each part, because an earlier iglo made it; "
            "run `dvc repro` to make it again."
        )
    return parts
