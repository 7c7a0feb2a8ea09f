"""Measures an arrival: what the model has forgotten of earlier images, and how well it knows the new ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch

from iglo.data.arrivals import Collection
from iglo.data.store import ImageStore, UnitImages
from iglo.evaluation.fidelity import Fidelity, Renders, Targets
from iglo.evaluation.image_sets import EvaluationNetworks, Reference, Values, measure_set
from iglo.evaluation.measure import through_encoder
from iglo.evaluation.prior_choice import draw_samples
from iglo.latent.priors import Prior, PriorChoice, fit_prior
from iglo.models.glo import GLOModel, render
from iglo.models.history import ArrivalRecord, History
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime

OF_TRAINING_IMAGES = ("novelty_", "copy_rate_")  # keys of numbers that compare samples with all training images


@dataclass(frozen=True, eq=False)
class ArrivedRun:
    """An arrival, the models before and after it, and the images that are there.

    Attributes:
        before, after: the models. The codes of `after` are those of the earlier images and then those of the new ones.
        first: the model of the first run; None if it is not there.
        history: that of `after`. Its last arrival is this one.
        earlier: images of the first run and of the arrivals before this one, as far as they are there.
        new: images of this arrival.
        choice: the priors of `after`, and the chosen one.
        reference: a model that has learned all images from scratch; None if there is none.
    """

    params: Params
    before: GLOModel
    after: GLOModel
    first: GLOModel | None
    history: History
    earlier: Collection
    new: ImageStore
    choice: PriorChoice
    reference: GLOModel | None = None

    @property
    def record(self) -> ArrivalRecord:
        return self.history.arrivals[-1]

    @property
    def everything(self) -> Collection:
        """Earlier images and new ones."""
        return Collection((*self.earlier.stores, self.new))

    @property
    def groups(self) -> dict[str, slice]:
        """The rows of the earlier training images: of the first run, and of each earlier arrival."""
        names = ["first run", *(each.id for each in self.history.arrivals[:-1])]
        return dict(zip(names, (slice(*ends) for ends in pairwise(self._ends)), strict=True))

    @property
    def groups_there(self) -> dict[str, slice]:
        """For each group whose images are there, their place in `earlier.part("train")`."""
        places, start = {}, 0
        for (name, rows), store in zip(self.groups.items(), self.earlier.stores, strict=True):
            if store is not None:
                places[name] = slice(start, start + rows.stop - rows.start)
                start = places[name].stop
        return places

    @cached_property
    def rows_there(self) -> np.ndarray:
        """(M,) int64, the rows of the earlier training images that are there."""
        rows = [np.arange(self.groups[name].start, self.groups[name].stop) for name in self.groups_there]
        return np.concatenate([np.empty(0, np.int64), *rows])

    @property
    def _ends(self) -> list[int]:
        return [0, *(each.first for each in self.history.arrivals)]


@dataclass(frozen=True)
class MeasuredArrival:
    """The numbers of an arrival, and what its figures need besides.

    Attributes:
        values: nested numbers.
        groups: PSNR of the training images of the first run and of each arrival, before and after this one.
        samples: (S, H, W, C) float in [0, 1], samples of the chosen prior after the arrival.
    """

    values: Values
    groups: Mapping[str, tuple[float, float]]
    samples: np.ndarray


def measure_arrival(run: ArrivedRun, networks: EvaluationNetworks, runtime: Runtime) -> MeasuredArrival:
    """Measures an arrival. It leaves out numbers that need more images, or images that are no longer there."""
    return _Measuring(run, networks, runtime).all()


def images_seen(run: ArrivedRun) -> Values:
    """Returns how many images went through the networks in this arrival, and an estimate for learning all images anew.

    The estimate is the number of the first run, times all training images over the training images of the first run.
    `share` is the first number over the estimate.
    """
    history = run.history
    own = run.record.images_seen + history.images_seen.get(f"{run.record.id} encoder", 0)
    growth = len(run.after.codes.values) / history.arrivals[0].first
    anew = sum(history.first_run_images_seen.values()) * growth
    return {"images_seen": own, "anew": anew, **({"share": own / anew} if anew else {})}


@dataclass(frozen=True, eq=False)
class _Pair:
    """The renders of two models, compared with the same targets."""

    before: Fidelity
    after: Fidelity

    def values(self, names: tuple[str, str] = ("before", "after")) -> Values:
        return {name: each.values() for name, each in zip(names, (self.before, self.after), strict=True)}


@dataclass(frozen=True, eq=False)
class _Measuring:
    """What the measurements of an arrival share."""

    run: ArrivedRun
    networks: EvaluationNetworks
    runtime: Runtime

    @property
    def seed(self) -> int:
        return self.run.params.evaluate.seed

    def all(self) -> MeasuredArrival:
        run = self.run
        pairs = {"train": self._earlier_train(), "test": self._encoded(run.earlier.part("test"), "earlier/test")}
        earlier = {part: pair for part, pair in pairs.items() if pair}
        encoded, test = (self._encoded(getattr(run.new, part), f"new/{part}") for part in ("train", "test"))
        learned = Fidelity.measure(self._codes(run.after, self._new_rows), encoded.before.targets)
        learning = {"train": encoded.before.worse_than(learned)}
        if test:
            learning["test"] = test.before.worse_than(test.after)
        new = {"train": {**encoded.values(("before", "encoder")), "after": learned.values()}}
        new["test"] = test.values() if test else {}
        samples, drawn = self._samples()
        values = {
            "earlier": self._earlier_values(earlier),
            "new": new,
            "forgetting": {part: pair.after.worse_than(pair.before) for part, pair in earlier.items()},
            "learning": learning,
            "transfer": (new["test"] or new["train"])["before"],
            "first_run": self._first_run(pairs["train"]),
            **self._reference(),
            "samples": samples,
            "cost": images_seen(run),
            "counts": self._counts(),
        }
        return MeasuredArrival(values, self._groups(pairs["train"], encoded.before, learned), drawn)

    def _earlier_values(self, earlier: Mapping[str, _Pair]) -> Values:
        complete = self.run.earlier.is_complete
        values = {part: earlier[part].values() if part in earlier else {} for part in ("train", "test")}
        if not complete:
            values["train"] |= self._against_renders(self.run.before)
        return {"images": complete, **values}

    @property
    def _new_rows(self) -> np.ndarray:
        return np.arange(self.run.record.first, self.run.record.first + self.run.record.count)

    def _codes(self, model: GLOModel, rows: np.ndarray) -> Renders:
        """Returns G(z) of some rows of the codes."""
        rows = torch.from_numpy(rows)
        return Renders(lambda some: render(model.generator, model.codes.values[rows[some]], self.runtime), len(rows))

    def _encoded(self, images: np.ndarray, part: str) -> _Pair | None:
        """Compares G(E(x)) of both models with images x (N, H, W, C) uint8; None if there are none."""
        if not len(images):
            return None
        targets = Targets.real(images, self.networks.main, self.seed, part)

        def of(model: GLOModel) -> Fidelity:
            renders = Renders(lambda some: through_encoder(model, images[some], self.runtime), len(images))
            return Fidelity.measure(renders, targets)

        return _Pair(of(self.run.before), of(self.run.after))

    def _earlier_train(self) -> _Pair | None:
        """Compares G(z) of both models with the earlier training images that are there; None if there are none."""
        run = self.run
        if not len(run.rows_there):
            return None
        targets = Targets.real(run.earlier.part("train"), self.networks.main, self.seed, "earlier/train")
        of = [self._codes(each, run.rows_there) for each in (run.before, run.after)]
        return _Pair(*(Fidelity.measure(renders, targets) for renders in of))

    def _against_renders(self, model: GLOModel) -> Values:
        """Compares what an earlier model renders of its codes with what the model after renders of them."""
        rows = np.arange(len(model.codes.values))
        targets = Targets.rendered(self._codes(model, rows), self.networks.main)
        return {"against_renders": Fidelity.measure(self._codes(self.run.after, rows), targets).values()}

    def _first_run(self, earlier: _Pair | None) -> Values:
        """Compares training images of the first run with G(z) of the model of the first run and of the model after."""
        run, place = self.run, self.run.groups_there.get("first run")
        model = run.before if len(run.history.arrivals) == 1 else run.first
        if place is None:
            return self._against_renders(model) if model else {}
        after = earlier.after.rows(place)
        if not model:
            return {"after": after.values()}
        first = Fidelity.measure(self._codes(model, run.rows_there[place]), after.targets)
        return {"first": first.values(), "after": after.values(), "forgetting": after.worse_than(first)}

    def _reference(self) -> Values:
        """Compares the model with one that has learned all images from scratch, on all training images."""
        run = self.run
        if run.reference is None or not run.everything.is_complete:
            return {}
        images = run.everything.part("train")
        targets = Targets.real(images, self.networks.main, self.seed, "all/train")
        rows = np.arange(len(images))
        of = [Fidelity.measure(self._codes(each, rows), targets) for each in (run.after, run.reference)]
        values = {"after": of[0].values(), "scratch": of[1].values(), "worse": of[0].worse_than(of[1])}
        return {"reference": values}

    def _groups(self, earlier: _Pair | None, encoded: Fidelity, learned: Fidelity) -> dict[str, tuple[float, float]]:
        groups = {
            name: (float(earlier.before.psnr[rows].mean()), float(earlier.after.psnr[rows].mean()))
            for name, rows in self.run.groups_there.items()
        }
        return {**groups, self.run.record.id: (float(encoded.psnr.mean()), float(learned.psnr.mean()))}

    def _samples(self) -> tuple[Values, np.ndarray]:
        """Compares samples before and after with all test images that are there.

        The prior before is of the same kind and has the same settings, and is fitted to the codes before.

        Returns:
            The numbers, and the samples after.
        """
        run, params, images = self.run, self.run.params, self.run.everything
        after = run.choice.priors[run.choice.chosen]
        drawn = self._drawn(run.after, after)
        validation, test = (images.part(part) for part in ("validation", "test"))
        if not len(test):
            return {}, drawn
        see = self.networks.see
        train = self.networks.main.features(UnitImages(images.part("train")))
        real = see(UnitImages(validation)) if len(validation) else None
        reference = Reference.make(self.networks.name, train, real, see(UnitImages(test)), self.seed)
        before = fit_prior(after.name, run.before.codes.values, after.geometry, params.seed, **after.settings)
        values = {
            name: measure_set(see(samples), reference)
            for name, samples in (("before", self._drawn(run.before, before)), ("after", drawn))
        }
        return values if images.is_complete else _without(values, OF_TRAINING_IMAGES), drawn

    def _drawn(self, model: GLOModel, prior: Prior) -> np.ndarray:
        return draw_samples(model, prior, self.run.params.evaluate.samples, self.seed, self.runtime)

    def _counts(self) -> Values:
        run, record = self.run, self.run.record
        first = run.history.arrivals[0].first
        return {
            "first_run": first,
            "earlier_arrivals": record.first - first,
            "earlier_train": len(run.rows_there),
            "earlier_test": len(run.earlier.part("test")),
            "new": {"train": record.count, "validation": record.validation, "test": record.test},
            "known": record.known,
            "samples": run.params.evaluate.samples,
        }


def _without(values: Values, prefixes: tuple[str, ...]) -> Values:
    """Leaves out the keys of nested values that start with one of the prefixes."""
    return {
        key: _without(value, prefixes) if isinstance(value, dict) else value
        for key, value in values.items()
        if not key.startswith(prefixes)
    }
