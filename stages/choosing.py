"""What the stages that choose a prior share."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from iglo.data.store import UnitImages
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.prior_choice import choose_prior
from iglo.files.io import whole_folder
from iglo.models.glo import GLOModel
from iglo.params.pipeline import Params
from iglo.params.run_record import folder_digest
from iglo.runtime.device import start


def write_priors(arguments: SimpleNamespace, params: Params, validation: np.ndarray) -> None:
    """Fits every prior to the codes of `--model`, chooses one, and writes them into `--out`.

    Args:
        validation: (V, H, W, C) uint8, the images on which the prior is chosen.
    """
    runtime = start(params.precision)
    model = GLOModel.load(arguments.model, runtime, "glo")
    network = FeatureNetwork.make(params.evaluate, params.loss, runtime)
    choice = choose_prior(model, UnitImages(validation), network, params, runtime)
    feature_network = {key: getattr(params.evaluate, key) for key in ("network", "weights", "seed")}
    choice = replace(choice, about={"model": folder_digest(arguments.model), "feature_network": feature_network})
    with whole_folder(arguments.out) as folder:
        choice.save(folder)
