"""The arguments of the estimator, and the params of a run that they stand for."""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from iglo.params.fields import NonNegativeInt, PositiveInt, Rate, Weight, parse
from iglo.params.sections import (
    ClusterParams,
    DataParams,
    EncoderParams,
    EvaluateParams,
    FeatureParams,
    FullParams,
    GeneratorParams,
    JointParams,
    LatentParams,
    LossParams,
    OptimizerParams,
    Params,
    RoundParams,
    StagedParams,
)

CLUSTERS, PER_CLUSTER = 128, 4  # of the split, at most; of the first subset (Helman et al. 2019)


@dataclass(frozen=True)
class Settings:
    """What the arguments of the estimator must be; what they mean stands there."""

    n_components: PositiveInt
    n_subsets: PositiveInt
    subset_epochs: NonNegativeInt
    epochs: NonNegativeInt
    encoder_epochs: PositiveInt
    joint_epochs: NonNegativeInt
    sigma: Weight
    constraint: Literal["none", "ball", "sphere"]
    init: Literal["pca", "normal"]
    loss: Literal["perceptual", "l1", "l2", "l1_l2", "lap_l1"]
    loss_network: str
    loss_weights: str
    width: PositiveInt
    batch_size: PositiveInt
    learning_rate: Rate
    code_learning_rate: Rate
    prior: Literal["normal", "gaussian_diag", "gaussian", "gmm", "imle"]
    precision: Literal["fp32", "bf16"]

    @classmethod
    def of(cls, estimator: Any) -> "Settings":
        """From the attributes of these names; UserError when one of them is none of the values that it may have."""
        values = {field.name: getattr(estimator, field.name) for field in fields(cls)}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        return parse(plain, cls)

    def params(self, count: int, side: int, channels: int, seed: int) -> Params:
        """The params of a run on so many training images of so many pixels a side."""
        half = max(1, self.batch_size // 2)
        return Params(
            seed=seed,
            method="incremental",
            precision=self.precision,
            alpha=1.0,
            beta=1.0,
            sigma=self.sigma,
            sigma_end=None,
            prior=self.prior,
            data=_data(count, side, channels),
            features=FeatureParams("pixels", "random", image_size=None, batch_size=256),
            clustering=ClusterParams(components=100, minibatch_above=20_000),
            rounds=growing_rounds(count, self.n_subsets, self.subset_epochs),
            latent=LatentParams(self.n_components, self.constraint, radius=None, init=self.init),
            generator=GeneratorParams(self.width, ema=0.99),
            loss=LossParams(self.loss_network, self.loss_weights, self.loss, blocks=4, cache_gb=4.0),
            optimizer=OptimizerParams("adam", self.learning_rate, self.code_learning_rate, "constant", reshuffle=True),
            staged=StagedParams(
                start="own", start_epochs=1, alpha=1.0, beta=1.0, earlier_batch=half, current_batch=half
            ),
            full=FullParams(self.epochs, self.batch_size),
            encoder=EncoderParams(
                mode="joint",
                width=self.width,
                epochs=self.encoder_epochs,
                batch_size=self.batch_size,
                rate=self.learning_rate,
                schedule="cosine",
                l1=1.0,
                l2=1.0,
                pairs=1.0,
                pairs_sigma=1.0,
                held_out=0.1,
            ),
            joint=JointParams(
                epochs=self.joint_epochs,
                rate=self.learning_rate / 2,
                schedule="cosine",
                code_weight=0.1,
                keep_weight=0.5,
                flip=False,
                shift=2,
                gain=0.0,
            ),
            evaluate=EvaluateParams("alex", "random", pairs=32, steps=10, samples=256),
        )


def growing_rounds(count: int, subsets: int, epochs: int) -> tuple[RoundParams, ...]:
    """Rounds that take 4, 8, 16, … images from each of at most 128 clusters, together at most half of `count`, and the
    rest in the last: `subsets` in all, or as many as there are images enough for one cluster."""
    growing = min(subsets - 1, int(math.log2(count / (2 * PER_CLUSTER) + 1)))
    taken = PER_CLUSTER * (2**growing - 1)  # from each cluster
    clusters = min(CLUSTERS, count // (2 * taken)) if growing else 1
    rounds = [RoundParams(i + 1, i, clusters, PER_CLUSTER * 2**i, epochs) for i in range(growing)]
    return *rounds, RoundParams(growing + 1, growing, 1, None, epochs)


def _data(count: int, side: int, channels: int) -> DataParams:
    """Of images that are in memory already: how many, and of what size."""
    return DataParams(
        source="folder",
        path="",
        dataset="MNIST",
        root=None,
        classes=(),
        url="",
        rev="",
        subdir="",
        image_size=side,
        channels=channels,
        train=count,
        test=0,
        shuffle=False,
        fit="resize",
        on_error="fail",
    )
