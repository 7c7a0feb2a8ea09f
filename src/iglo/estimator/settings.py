"""The arguments of the estimator, and the params of a run that they stand for."""

import math
from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np

from iglo.params.arrivals import ArrivalParams
from iglo.params.fields import (
    Batch,
    Dimension,
    Epochs,
    EpochsOrZero,
    LossName,
    PositiveInt,
    Rate,
    Text,
    Weight,
    Width,
    section,
)
from iglo.params.pipeline import (
    ClusterParams,
    EvaluateParams,
    FeatureParams,
    FullParams,
    LatentParams,
    OptimizerParams,
    Params,
    RoundParams,
    StagedParams,
)
from iglo.params.sections import ChosenGeneratorParams, DataParams, EncoderParams, JointParams, LossParams
from iglo.params.validate import parse

CLUSTERS, PER_CLUSTER = 128, 4  # most clusters; images from each in the first round (Helman et al. 2019)
LEAST_STEPS = 100  # of each training on images that arrive later


@section
class Settings:
    """The arguments of the estimator that describe the run; their docstring says what they mean."""

    n_components: Dimension
    n_subsets: PositiveInt
    subset_epochs: EpochsOrZero
    epochs: EpochsOrZero
    encoder_epochs: Epochs
    joint_epochs: EpochsOrZero
    sigma: Weight
    constraint: Literal["none", "ball", "sphere"]
    init: Literal["pca", "normal"]
    loss: LossName
    loss_network: Text
    loss_weights: Text
    network: Literal["dcgan", "style"]
    width: Width
    batch_size: Batch
    learning_rate: Rate
    code_learning_rate: Rate
    prior: Literal["normal", "gaussian_diag", "gaussian", "gmm", "imle", "neighbours", "flow"]
    precision: Literal["fp32", "bf16"]

    @classmethod
    def of(cls, estimator: Any) -> "Settings":
        """Returns the settings in the attributes of an estimator; UserError if a value is not allowed."""
        values = {field.name: getattr(estimator, field.name) for field in fields(cls)}
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        return parse(plain, cls)

    def params(self, count: int, side: int, channels: int, seed: int) -> Params:
        """Returns the params of a run on `count` training images of `side` × `side` pixels."""
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
            data=_data(count, side, channels, seed),
            features=FeatureParams("pixels", "random", image_size=None, batch_size=256),
            clustering=ClusterParams(components=100, minibatch_above=20_000),
            rounds=growing_rounds(count, self.n_subsets, self.subset_epochs),
            latent=LatentParams(self.n_components, self.constraint, radius=None, init=self.init),
            generator=ChosenGeneratorParams(self.width, ema=0.99, network=self.network),
            loss=LossParams(self.loss_network, self.loss_weights, self.loss, blocks=4, pixel_weight=60.0, cache_gb=4.0),
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
            evaluate=EvaluateParams("alex", "random", seed=0, fid_weights=None, pairs=32, steps=10, samples=256),
            arrival=self._arrival(),
        )

    def arrival_params(self, count: int, learned: int, side: int, channels: int, seed: int) -> Params:
        """Returns the params by which `count` images are learned that arrive after `learned` images.

        Its rounds are those of the new images: one round without `subset_epochs`.
        """
        rounds = growing_rounds(count, self.n_subsets if self.subset_epochs else 1, self.subset_epochs)
        return replace(self.params(learned + count, side, channels, seed), rounds=rounds)

    def _arrival(self) -> ArrivalParams:
        """Half of the learning rate, and the passes of `fit`: half as many again over subsets, a sixth of the others.

        Without `subset_epochs`, half of `epochs` take their place.
        """
        return ArrivalParams(
            epochs=max(1, self.subset_epochs + self.subset_epochs // 2 or self.epochs // 2),
            polish_epochs=self.epochs // 6,
            encoder_epochs=max(1, self.encoder_epochs // 6),
            least_steps=LEAST_STEPS,
            generator_rate=self.learning_rate / 2,
            encoder_rate=self.learning_rate / 2,
            earlier_weight=1.0,
            earlier_batch=64,
            current_batch=32,
            between=0.25,
            reference=False,
        )


def growing_rounds(count: int, subsets: int, epochs: int) -> tuple[RoundParams, ...]:
    """Returns rounds that take 4, 8, 16, … images from each of at most 128 clusters; the last takes the rest.

    The rounds before the last take at most half of `count` images. There are `subsets` rounds, or fewer if the images
    are too few for one cluster.
    """
    growing = min(subsets - 1, int(math.log2(count / (2 * PER_CLUSTER) + 1)))
    taken = PER_CLUSTER * (2**growing - 1)  # from each cluster
    clusters = min(CLUSTERS, count // (2 * taken)) if growing else 1
    rounds = [RoundParams(i + 1, i, clusters, PER_CLUSTER * 2**i, epochs) for i in range(growing)]
    return *rounds, RoundParams(growing + 1, growing, 1, None, epochs)


def _data(count: int, side: int, channels: int, seed: int) -> DataParams:
    """Returns the section for images in memory. None of them is held out: `test` is None, because 0 is not allowed."""
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
        seed=seed,
        train=count,
        validation=0,
        test=None,
        shuffle=False,
        fit="resize",
        on_error="fail",
    )
