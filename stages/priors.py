"""Fits priors to the learned codes. A prior draws new codes."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.params.pipeline import Params
from stages.choosing import write_priors
from stages.common import stage


@stage("images", "model", "out")
def main(arguments: SimpleNamespace, params: Params) -> None:
    """Fits every prior to the learned codes and chooses one."""
    write_priors(arguments, params, ImageStore.open(arguments.images).validation)


if __name__ == "__main__":
    main()
