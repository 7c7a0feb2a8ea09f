"""Measures a run. Choices are made on validation images, and sets of images are compared with the test images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from iglo.data.store import ImageStore, UnitImages
from iglo.evaluation import paths as between
from iglo.evaluation.image_sets import (
    EvaluationNetworks,
    ImageSet,
    Reference,
    Values,
    copied,
    means_of,
    measure_set,
    off_code,
    seen_classes,
)
from iglo.evaluation.lines import values_of_paths
from iglo.evaluation.measure import rendered_quality, split_quality, through_encoder
from iglo.evaluation.memorisation import Nearness
from iglo.evaluation.paths import Paths
from iglo.evaluation.prior_choice import chosen_by, draw_samples
from iglo.latent.priors import PriorChoice
from iglo.models.glo import GLOModel, render
from iglo.models.history import History
from iglo.params.pipeline import Params
from iglo.randomness import numpy_generator
from iglo.runtime.device import Runtime


@dataclass(frozen=True)
class Split:
    """The first round of the split.

    Attributes:
        points: (N, P) features of all training images.
        labels: (N,) their clusters.
        features: name of the features.
    """

    points: np.ndarray
    labels: np.ndarray
    features: str


@dataclass(frozen=True)
class Run:
    """What a run has made.

    Attributes:
        store: the training, validation and test images.
        split: the first round of the split.
        choice: all priors, and the chosen one.
    """

    params: Params
    model: GLOModel
    history: History
    store: ImageStore
    split: Split
    choice: PriorChoice


@dataclass(frozen=True)
class Measured:
    """The numbers of a run, and the images that its figures show.

    Attributes:
        values: nested as in metrics-all.json.
        paths: interpolations between training codes.
        graph_midpoints: (P, H, W, C), midpoints between the same ends along the graph of codes.
        samples: prior → (S, H, W, C) float in [0, 1].
        near: distances of the chosen prior's samples to the training images, in `pixels` and in `features`.
    """

    values: Values
    paths: Paths
    graph_midpoints: np.ndarray
    samples: Mapping[str, np.ndarray]
    near: Mapping[str, Nearness]


def measure_run(run: Run, networks: EvaluationNetworks, runtime: Runtime) -> Measured:
    """Measures a run.

    A measure that needs more images is left out. With several ranks, all ranks measure. Memory holds the features of
    all images, but only a block of images at a time.
    """
    store, seed = run.store, run.params.evaluate.seed
    train, test = networks.main.features(UnitImages(store.train)), networks.see(UnitImages(store.test))
    validation = networks.see(UnitImages(store.validation)) if len(store.validation) else None
    reference = Reference.make(networks.name, train, validation, test, seed)
    return _Measuring(run, networks, reference, runtime).all(validation)


def some_rows(count: int, wanted: int, seed: int, part: str) -> np.ndarray:
    """Draws the ids of at most `wanted` of `count` images of a part, in random order: (M,) int64."""
    return numpy_generator(seed, f"evaluation/{part}").permutation(count)[:wanted]


def noise(count: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Draws images of uniform noise, (count, *shape) float32 in [0, 1)."""
    return numpy_generator(seed, "evaluation/noise").random((count, *shape), dtype=np.float32)


@dataclass(frozen=True)
class _Measuring:
    """What the measurements of a run share."""

    run: Run
    networks: EvaluationNetworks
    reference: Reference
    runtime: Runtime

    def all(self, validation: ImageSet | None) -> Measured:
        run, store, asked = self.run, self.run.store, self.run.params.evaluate
        sets, samples, near = self._samples()
        paths, midpoints, of_graph, interpolation = self._paths()
        graph_midpoints = self.networks.see(of_graph[: max(asked.samples, 1)]) if len(of_graph) else None
        rows = some_rows(len(store.train), asked.samples, asked.seed, "train")
        reconstructions = self.networks.see(self._from_codes(torch.from_numpy(rows)))
        ceiling = self.networks.see(noise(asked.samples, store.train.shape[1:], asked.seed))
        compared = {
            "samples": sets[run.choice.chosen],
            "midpoints": self._compared(midpoints),
            "graph_midpoints": self._compared(graph_midpoints),
            "reconstructions": self._compared(reconstructions),
            "real": self._compared(validation),
            "noise": self._compared(ceiling),
        }
        values = {
            **self._images(rows, reconstructions),
            **compared,
            "interpolation": interpolation,
            "off_code": off_code(compared, self.networks.name),
            "priors": {
                name: {**each, **chosen_by(run.choice, name, self.networks.name)} for name, each in sets.items()
            },
            "memorisation": self._memorisation(near),
            "split": self._split(),
            "counts": {
                **{part: len(getattr(store, part)) for part in ("train", "validation", "test")},
                "samples": asked.samples,
                "midpoints": len(midpoints or ()),
            },
        }
        if run.params.data.source == "lines":
            means, errors = means_of(values_of_paths(paths.images))
            values["lines"] = {**means, "se": errors}
        return Measured(values, paths, of_graph, samples, near)

    def _compared(self, images: ImageSet | None) -> Values:
        return measure_set(images, self.reference) if images else {}

    def _from_codes(self, rows: slice | torch.Tensor) -> np.ndarray:
        return render(self.run.model.generator, self.run.model.codes.values[rows], self.runtime)

    def _images(self, rows: np.ndarray, reconstructions: ImageSet) -> Values:
        """Compares images with their reconstructions from codes, G(z), and from the encoder, G(E(x)).

        Args:
            rows, reconstructions: ids of some training images and what the networks see in their G(z), for the classes.
        """
        store, network = self.run.store, self.networks.main
        quality = {
            part: rendered_quality(
                lambda chosen, images=images: through_encoder(self.run.model, images[chosen], self.runtime),
                UnitImages(images),
                network,
            )
            for part, images in (("train", store.train), ("test", store.test))
        }
        recon = rendered_quality(self._from_codes, UnitImages(store.train), network)
        some = some_rows(len(store.test), len(rows), self.reference.seed, "test")
        return {
            "train": {
                "recon": recon | self._classes(reconstructions),
                "encoder": quality["train"] | self._encoded_classes(store.train, rows),
            },
            "test": {
                "encoder": quality["test"] | self._encoded_classes(store.test, some),
                "images": self._classes(self.reference.test),  # the classes were chosen on validation images
            },
        }

    def _encoded_classes(self, images: np.ndarray, rows: np.ndarray) -> Values:
        if self.reference.test.probabilities is None:
            return {}
        rows = np.sort(rows)  # as the file has them
        return self._classes(self.networks.see(through_encoder(self.run.model, images[rows], self.runtime)))

    def _classes(self, images: ImageSet) -> Values:
        values, errors = seen_classes(images, self.reference.classes)
        return self.reference.named(values, errors) if values else {}

    def _samples(self) -> tuple[dict[str, Values], dict[str, np.ndarray], dict[str, Nearness]]:
        """Returns numbers and images of every prior, and how near the chosen one's samples are to training images."""
        run, asked, values, images = self.run, self.run.params.evaluate, {}, {}
        for name, prior in run.choice.priors.items():
            images[name] = draw_samples(run.model, prior, asked.samples, asked.seed, self.runtime)
            seen = self.networks.see(images[name])
            distances, neighbours = self.reference.nearest(seen)
            values[name] = measure_set(seen, self.reference, distances)
            if name == run.choice.chosen:
                in_features = Nearness(distances[:, 0], self.reference.unseen[:, 0], neighbours)
        train, test = UnitImages(run.store.train), UnitImages(run.store.test)
        in_pixels = Nearness.measure(images[run.choice.chosen], train, test)
        return values, images, {"pixels": in_pixels, "features": in_features}

    def _paths(self) -> tuple[Paths, ImageSet | None, np.ndarray, Values]:
        """Returns paths between training codes, what the networks see in the midpoints, and the numbers of paths.

        Before the numbers come the images of the midpoints along the graph of codes.
        """
        model, asked = self.run.model, self.run.params.evaluate
        paths = between.interpolations(model, asked, self.runtime)
        more = between.midpoints_after(model, asked, self.runtime)
        of_graph = between.graph_midpoints(model, (paths, more), self.runtime)
        if not len(paths.ids):
            return paths, None, of_graph, {}
        count, points = paths.images.shape[:2]
        seen = self.networks.see(paths.images.reshape(-1, *paths.images.shape[2:]))
        midpoints = seen[paths.middle :: points]
        if len(more.ids):
            midpoints += self.networks.see(more.images[:, more.middle])
        features = seen.features.reshape(count, points, -1)
        close = between.close_pairs(model, asked, self.runtime)
        values = between.continuity(paths, close, features, self.reference.train, self.networks.main, asked.seed)
        ghosts = between.ghosts((paths, more), UnitImages(self.run.store.test))
        graph_ghosts = between.graph_ghosts((paths, more), of_graph)
        errors = values.pop("se") | ghosts.pop("se") | graph_ghosts.pop("se")
        values = {**values, **ghosts, **graph_ghosts, "se": errors}
        return paths, midpoints[: max(asked.samples, 1)], of_graph, values

    def _memorisation(self, near: Mapping[str, Nearness]) -> Values:
        """Returns how near samples are to training images; novelty in features is among the numbers of samples."""
        seed = self.reference.seed
        in_features = near["features"].values(seed)
        of_test, errors = copied(self.reference.unseen)
        in_features = {
            "share_closer": in_features["share_closer"],
            **{f"{key}_test": value for key, value in of_test.items()},
            "se": {
                **{key: value for key, value in in_features["se"].items() if key != "novelty"},
                **{f"{key}_test": value for key, value in errors.items()},
            },
        }
        return {"pixels": near["pixels"].values(seed), f"features_{self.reference.name}": in_features}

    def _split(self) -> Values:
        first = np.flatnonzero(self.run.history.subset_id == 1)
        return split_quality(self.run.split.points, self.run.split.labels, first, self.reference.seed)
