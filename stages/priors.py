"""Fits priors to the learned codes. A prior draws new codes."""

from dataclasses import replace
from types import SimpleNamespace

from iglo.data.store import ImageStore, UnitImages
from iglo.evaluation.feature_networks import FeatureNetwork
from iglo.evaluation.prior_choice import choose_prior
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
    store = ImageStore.open(arguments.images)
    model = GLOModel.load(arguments.model, runtime, "glo")
    network = FeatureNetwork.make(params.evaluate, params.loss, runtime)
    choice = choose_prior(model, UnitImages(store.validation), network, params, runtime)
    feature_network = {key: getattr(params.evaluate, key) for key in ("network", "weights", "seed")}
    choice = replace(choice, about={"model": folder_digest(arguments.model), "feature_network": feature_network})
    with whole_folder(arguments.out) as folder:
        choice.save(folder)


if __name__ == "__main__":
    main()
