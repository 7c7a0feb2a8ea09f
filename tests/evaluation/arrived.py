"""A first run, the arrival `old` and the arrival `new`, with untrained models of tiny images."""

import torch

from iglo.data.arrivals import Collection
from iglo.data.store import ImageStore
from iglo.evaluation.arrivals import ArrivedRun
from iglo.latent.priors import PriorChoice, fit_prior
from iglo.models.codes import Codes, CodeTable, normal_codes
from iglo.models.glo import GLOModel, recalibrate_bn
from iglo.models.history import ArrivalRecord, History
from iglo.models.networks import initialise
from iglo.params.sections import Parts
from iglo.training.glo_stages import start_model
from tests.tiny import RUNTIME, generator, tiny_images, tiny_params

PARAMS = tiny_params(evaluate__samples=8)
FIRST, OLD, NEW = Parts(12, 4, 5), Parts(6, 2, 3), Parts(8, 2, 4)
LOG = [  # 1000 images in the first run
    *({"stage": "staged 1", "epoch": epoch, "images_seen": 100 * epoch} for epoch in (1, 2)),
    {"stage": "full", "epoch": 1, "images_seen": 500},
    {"stage": "encoder", "epoch": 1, "images_seen": 300},
    {"stage": "old subset 1", "epoch": 1, "images_seen": 70},
    {"stage": "old encoder", "epoch": 1, "images_seen": 80},
    {"stage": "new subset 1", "epoch": 1, "images_seen": 90},
    *({"stage": "new encoder", "epoch": epoch, "images_seen": 20 * epoch} for epoch in (1, 2)),
]


def store_of(parts: Parts, seed: int) -> ImageStore:
    images = tiny_images(sum(parts), seed=seed)
    return ImageStore(images, ("",) * len(images), ("",) * len(images), parts)


def model_of(count: int, seed: int) -> GLOModel:
    """A model of first weights, with so much contrast that its images differ. A row has one code in all models."""
    model, _ = start_model(tiny_images(count), PARAMS, RUNTIME)
    geometry = model.config.geometry()
    codes = normal_codes(40, model.config.dimension, geometry, generator(9))
    model.codes = Codes(image=CodeTable(codes[:count].clone(), geometry))
    model.generator = initialise(model.config.generator(), generator(seed))
    model.encoder = initialise(model.config.encoder(4), generator(seed + 1))
    with torch.no_grad():
        for weights in (*model.generator.parameters(), *model.encoder.parameters()):
            if weights.dim() > 1:
                weights.mul_(10)
    recalibrate_bn(model.generator, codes)
    return model


def history_of(new: Parts = NEW, arrivals: int = 2) -> History:
    """The history of the model after `new`; with one arrival, `new` came right after the first run."""
    _, history = start_model(tiny_images(2), PARAMS, RUNTIME)
    history.log = list(LOG)
    old = ArrivalRecord("old", FIRST.train, *OLD, known=0, keep="images", images_seen=70)
    first = FIRST.train + (OLD.train if arrivals == 2 else 0)
    history.arrivals = [old][: arrivals - 1]
    history.arrivals.append(ArrivalRecord("new", first, *new, known=3, keep="images", images_seen=90))
    return history


def arrived(same: bool = False, new: Parts = NEW, arrivals: int = 2, gone: tuple[int, ...] = ()) -> ArrivedRun:
    """The arrival `new`.

    Args:
        same: whether the models before and after are equal but for the new codes.
        gone: which of the earlier images are not there; 0: those of the first run.
    """
    history = history_of(new, arrivals)
    record = history.arrivals[-1]
    before, after = model_of(record.first, 0), model_of(record.first + new.train, 0 if same else 2)
    stores = [store_of(FIRST, 1), store_of(OLD, 2)][:arrivals]
    earlier = Collection(tuple(None if index in gone else store for index, store in enumerate(stores)))
    prior = fit_prior("gaussian", after.codes.values, after.config.geometry(), 0)
    choice = PriorChoice({"gaussian": prior}, "gaussian", {})
    first = model_of(FIRST.train, 4) if arrivals == 2 else None
    return ArrivedRun(PARAMS, before, after, first, history, earlier, store_of(new, 3), choice)
