"""Clusters the training images that no earlier round has chosen."""

from pathlib import Path
from types import SimpleNamespace

from iglo.files.io import read_array, whole_folder
from iglo.params.pipeline import Params
from iglo.subsets.clustering import cluster_images
from stages.common import stage


@stage("round", "features", "left", "out")
def main(arguments: SimpleNamespace, params: Params) -> int:
    """Clusters the training images that no earlier round has chosen."""
    features = read_array(Path(arguments.features) / "features.npy", mmap="r")
    ids = read_array(Path(arguments.left) / "rest.npy")
    item = params.rounds[int(arguments.round) - 1]
    clusters = cluster_images(features, ids, item, params.clustering, params.data.seed)
    with whole_folder(arguments.out) as folder:
        clusters.save(folder)
    return len(ids)


if __name__ == "__main__":
    main()
