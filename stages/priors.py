"""Fits priors to the learned codes. A prior draws new codes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from iglo.data.store import ImageStore
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.measure import choose_prior
from iglo.files.io import whole_folder
from iglo.models.glo import GLOModel
from iglo.params.pipeline import Params
from iglo.params.run_record import folder_digest
from iglo.runtime.device import start
from stages.common import stage


@stage("images", "model", "out")
def main(arguments: SimpleNamespace, params: Params) -> None:
    """Fits every prior to the learned codes and chooses one."""
    runtime = start(params.precision)
    test = np.asarray(ImageStore.open(arguments.images).test, np.float32) / 255
    model = GLOModel.load(arguments.model, runtime, "glo")
    choice = choose_prior(model, test, FeatureNetwork.make(params.evaluate, params.loss, runtime), params, runtime)
    feature_network = {key: getattr(params.evaluate, key) for key in ("network", "weights", "seed")}
    choice = replace(choice, about={"model": folder_digest(arguments.model), "feature_network": feature_network})
    with whole_folder(arguments.out) as folder:
        choice.save(folder)


if __name__ == "__main__":
    main()
