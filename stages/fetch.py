"""Downloads the images that are not on this machine."""

from types import SimpleNamespace

from iglo.data.sources import fetch
from iglo.params.pipeline import Params
from stages.common import stage


@stage("out")
def main(arguments: SimpleNamespace, params: Params) -> None:
    """Downloads the images that are not on this machine into a folder."""
    fetch(params.data, arguments.out)


if __name__ == "__main__":
    main()
