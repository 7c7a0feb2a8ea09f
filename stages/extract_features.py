"""Extracts the features in which the images are clustered."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.files.io import whole_folder, write_json
from iglo.params.pipeline import Params
from iglo.runtime.device import start
from iglo.subsets.clustering import everything
from iglo.subsets.features import extract_features
from stages.common import stage


@stage("images", "out", "everything")
def main(arguments: SimpleNamespace, params: Params) -> int:
    """Extracts the features in which the images are clustered, and writes the ids that the first round starts from."""
    store = ImageStore.open(arguments.images)
    runtime = start("fp32", distributed=True)
    with whole_folder(arguments.out, runtime) as folder:
        file = folder / "features.npy"
        name, features = extract_features(store.images, params.features, params.data.seed, runtime, out=file)
        if runtime.is_main:
            record = {"name": name, "dimension": features.shape[1], "train": store.parts.train}
            record |= {"network": params.features.network, "weights": Path(params.features.weights).name}
            write_json(folder / "features.json", record)
    if runtime.is_main:
        with whole_folder(arguments.everything) as folder:
            everything(store.parts.train).save(folder)
    return len(store.images)


if __name__ == "__main__":
    main()
