"""Makes an untrained generator and a starting code for every training image."""

from types import SimpleNamespace

from iglo.data.store import ImageStore
from iglo.files.io import whole_folder
from iglo.params.pipeline import Params
from iglo.runtime.device import start
from iglo.training.glo_stages import start_model
from stages.common import stage


@stage("images", "out")
def main(arguments: SimpleNamespace, params: Params) -> int:
    """Draws the weights of the generator. Codes start as principal components of the images or at random."""
    images = ImageStore.open(arguments.images).train
    model, history = start_model(images, params, start(params.precision))
    with whole_folder(arguments.out) as out:
        model.save(out)
        history.save(out)
    return len(images)


if __name__ == "__main__":
    main()
