"""Chooses the images nearest to each centroid as the subset of this round."""

from types import SimpleNamespace

from iglo.files.io import whole_folder
from iglo.params.pipeline import Params
from iglo.subsets.clustering import Clusters, select_images
from stages.common import stage


@stage("round", "clusters", "out")
def main(arguments: SimpleNamespace, params: Params) -> int:
    """Chooses the images nearest to each centroid as the subset of this round."""
    clusters = Clusters.load(arguments.clusters)
    selection = select_images(clusters, params.rounds[int(arguments.round) - 1])
    with whole_folder(arguments.out) as folder:
        selection.save(folder)
    return len(clusters.ids)


if __name__ == "__main__":
    main()
