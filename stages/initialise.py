"""An untrained generator and a starting code for every training image."""

from types import SimpleNamespace

from iglo.files import whole_folder
from iglo.images import ImageStore
from iglo.params import Params
from iglo.recipes import start_model
from iglo.runtime import start
from stages.common import stage


@stage("images", "out")
def main(arguments: SimpleNamespace, params: Params) -> int:
    """Starts the generator, and the codes from the images' principal components or at random."""
    images = ImageStore.open(arguments.images).train
    model = start_model(images, params, start(params.precision))
    with whole_folder(arguments.out) as out:
        model.save(out)
    return len(images)


if __name__ == "__main__":
    main()
