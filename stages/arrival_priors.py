"""Fits priors to the codes of all images after an arrival. A prior draws new codes."""

from pathlib import Path
from types import SimpleNamespace

from iglo.data.arrivals import Collection
from iglo.models.history import History
from iglo.params.pipeline import Params
from stages.choosing import write_priors
from stages.common import stage


@stage("prepared", "images", "model", "out")
def main(arguments: SimpleNamespace, params: Params) -> None:
    """Fits every prior, and chooses one on the validation images of the first run and all arrivals that are there."""
    ids = [each.id for each in History.load(arguments.model).arrivals]
    images = Collection.open(arguments.prepared, Path(arguments.images).parent, ids)
    write_priors(arguments, params, images.part("validation"))


if __name__ == "__main__":
    main()
