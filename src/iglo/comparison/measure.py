"""Measures a run of the comparison in the same way as `evaluation.run`, with one or more judges (feature networks)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from iglo.comparison.inversion import measure_inversion
from iglo.comparison.real import SHOWN, RealImages, brief, shown_ids
from iglo.data.store import ImageStore, UnitImages
from iglo.evaluation import metrics
from iglo.evaluation import paths as between
from iglo.evaluation.image_sets import (
    EvaluationNetworks,
    ImageSet,
    Reference,
    Values,
    measure_set,
    off_code,
    seen_classes,
)
from iglo.evaluation.measure import quality, through_encoder
from iglo.evaluation.paths import Paths
from iglo.evaluation.prior_choice import choose_prior, chosen_by, draw_samples
from iglo.evaluation.run import some_rows
from iglo.files.io import write_array
from iglo.latent.priors import PriorChoice
from iglo.models.glo import GLOModel, render
from iglo.params.comparison import Comparison
from iglo.params.pipeline import Params
from iglo.runtime.device import Runtime

SHOWN_PATHS, SHOWN_SAMPLES, NEIGHBOURS = 4, 48, 3


@dataclass(frozen=True)
class ComparedRun:
    """A run to measure.

    Attributes:
        params: of its method, with its seed.
        judges: the judge of all numbers, and other ones.
        real: what each judge sees in the real images.
    """

    model: GLOModel
    store: ImageStore
    comparison: Comparison
    params: Params
    judges: Sequence[EvaluationNetworks]
    real: Sequence[RealImages]
    runtime: Runtime

    @cached_property
    def references(self) -> list[Reference]:
        """What sets of images are compared with, for each judge."""
        seed = self.params.evaluate.seed
        return [real.reference(judge.name, seed) for judge, real in zip(self.judges, self.real, strict=True)]


@dataclass(frozen=True)
class Made:
    """What a model makes, to be seen by the judges. Images are (…, H, W, C) float in [0, 1].

    Attributes:
        samples: prior → samples.
        prior: the prior whose samples are reported.
        reconstructions: some training images from their own codes.
        paths, more: interpolations, and further pairs with only start, midpoint and end.
        graph: midpoints of the same pairs along the graph of codes.
        close: those of `close_pairs`.
    """

    samples: Mapping[str, np.ndarray]
    prior: str
    reconstructions: np.ndarray
    paths: Paths
    more: Paths
    graph: np.ndarray
    close: np.ndarray


def measure_run(folder: Path, run: ComparedRun) -> dict[str, Any]:
    """Returns the numbers of a run, and writes the images for its figures into `folder`.

    `evaluate.seed` draws the pairs, the samples and the shown images, so they are the same for every method and seed.
    """
    model, store, runtime, asked = run.model, run.store, run.runtime, run.params.evaluate
    judge, reference = run.judges[0], run.references[0]
    recon = render(model.generator, model.codes.values, runtime)
    encoded = {part: through_encoder(model, getattr(store, part), runtime) for part in ("train", "test")}
    choice = choose_prior(model, UnitImages(store.validation), judge.main, run.params, runtime)
    rows = some_rows(len(store.train), asked.samples, asked.seed, "train")
    made = _made(run, choice, recon[rows])
    _write_shown(folder, run, recon, encoded, made)
    train, test = UnitImages(store.train)[:], UnitImages(store.test)[:]
    seen = _seen_by(judge, reference, made)
    for name, values in seen["priors"].items():
        values |= chosen_by(choice, name, judge.name)
    real = test[some_rows(len(test), len(made.paths.ids) + len(made.more.ids), asked.seed, "test")]
    pairs = (made.paths, made.more)
    for ghosts in (between.ghosts(pairs, real), between.graph_ghosts(pairs, made.graph)):
        seen["interpolation"] = _merged(seen["interpolation"], ghosts)
    return {
        "train": {
            "recon": _quality(recon, train, rows, judge, reference),
            "encoder": _quality(encoded["train"], train, rows, judge, reference),
        },
        "test": {"encoder": _quality(encoded["test"], test, np.arange(len(test)), judge, reference)},
        "inversion": measure_inversion(model, store.test, run.comparison, judge, reference, runtime),
        "prior": choice.chosen,
        **seen,
        "other_judges": {
            other.name: _seen_by(other, known, made)
            for other, known in zip(run.judges[1:], run.references[1:], strict=True)
        },
    }


def _made(run: ComparedRun, choice: PriorChoice, reconstructions: np.ndarray) -> Made:
    model, asked, runtime = run.model, run.params.evaluate, run.runtime
    samples = {
        name: draw_samples(model, prior, asked.samples, asked.seed, runtime) for name, prior in choice.priors.items()
    }
    paths, more = between.interpolations(model, asked, runtime), between.midpoints_after(model, asked, runtime)
    graph, close = between.graph_midpoints(model, (paths, more), runtime), between.close_pairs(model, asked, runtime)
    return Made(samples, choice.chosen, reconstructions, paths, more, graph, close)


def _seen_by(judge: EvaluationNetworks, reference: Reference, made: Made) -> Values:
    """Returns the numbers of samples, midpoints, reconstructions and paths, as a judge sees them."""
    samples = {name: judge.see(images) for name, images in made.samples.items()}
    midpoints, interpolation = _seen_paths(judge, reference, made)
    sets = {
        "samples": measure_set(samples[made.prior], reference),
        "midpoints": {} if midpoints is None else measure_set(midpoints, reference),
        "graph_midpoints": measure_set(judge.see(made.graph), reference) if len(made.graph) else {},
        "reconstructions": measure_set(judge.see(made.reconstructions), reference),
    }
    return {
        **sets,
        "priors": {name: brief(each, reference) for name, each in samples.items()},
        "off_code": off_code(sets, judge.name),
        "interpolation": interpolation,
    }


def _seen_paths(judge: EvaluationNetworks, reference: Reference, made: Made) -> tuple[ImageSet | None, Values]:
    """Returns what a judge sees in the midpoints, and the numbers of the paths; None and nothing without paths."""
    paths, more = made.paths, made.more
    if not len(paths.ids):
        return None, {}
    count, points = paths.images.shape[:2]
    seen = judge.see(paths.images.reshape(-1, *paths.images.shape[2:]))
    midpoints = seen[paths.middle :: points]
    if len(more.ids):
        midpoints += judge.see(more.images[:, more.middle])
    features = seen.features.reshape(count, points, -1)
    values = between.continuity(paths, made.close, features, reference.train, judge.main, reference.seed)
    return midpoints, values


def _quality(
    images: np.ndarray, targets: np.ndarray, rows: np.ndarray, judge: EvaluationNetworks, reference: Reference
) -> Values:
    """Returns the quality of images, and what is recognised in the ones with these ids."""
    values: Values = quality(images, targets, judge.main)
    if reference.test.probabilities is None:
        return values
    return values | reference.named(*seen_classes(judge.see(images[np.sort(rows)]), reference.classes))


def _merged(values: Values, more: Values) -> Values:
    return {**values, **more, "se": values.get("se", {}) | more.get("se", {})}


def _write_shown(
    folder: Path, run: ComparedRun, recon: np.ndarray, encoded: Mapping[str, np.ndarray], made: Made
) -> None:
    """Writes the images of the figures, uint8, and the training images nearest to some samples."""
    seed = run.params.evaluate.seed
    shown = {part: shown_ids(len(getattr(run.store, part)), seed) for part in ("train", "test")}
    images = {
        "reconstructions": recon[shown["train"]],
        "encoder_train": encoded["train"][shown["train"]],
        "encoder_test": encoded["test"][shown["test"]],
        "paths": made.paths.images[:SHOWN_PATHS],
        "samples": made.samples[made.prior][:SHOWN_SAMPLES],
        "prior_samples": np.stack([samples[:SHOWN] for samples in made.samples.values()]),
    }
    for name, array in images.items():
        write_array(folder / f"{name}.npy", (array * 255).round().astype(np.uint8))
    seen = run.judges[0].main.features(made.samples[made.prior][:SHOWN])
    write_array(folder / "neighbours.npy", metrics.nearest(seen, run.references[0].train, NEIGHBOURS)[1])


def last_rows(log: list[dict]) -> list[dict]:
    """Returns the last row of each stage that trained the generator; `images_seen` counts from the stage's start."""
    return list({row["stage"]: row for row in log if "held_out" not in row}.values())
