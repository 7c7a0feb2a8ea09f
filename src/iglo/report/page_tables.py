"""The tables of numbers on the page of a run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iglo.report.page_measures import MEASURES, Measure

FEWEST_FOR_FRECHET = 2048  # images on each side; with fewer, the Fréchet distance in 2048 features is biased
OF_PRIORS = ("kd", "precision", "recall", "density", "coverage", "copy_rate", "recognised", "confidence")
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of numbers. A row is a name and a cell for each measure."""

    title: str
    measures: Sequence[Measure]
    rows: Sequence[tuple[str, Sequence[str]]]
    note: str = ""

    @property
    def feature_networks(self) -> list[str]:
        """The names of the networks that measured."""
        return list(dict.fromkeys(measure.feature_network for measure in self.measures if measure.feature_network))


def tables(values: Values) -> list[Table]:
    """Returns the tables of numbers of a run that have a number.

    Args:
        values: the run's metrics, nested.
    """
    return [table for table in _tables(values) if table.rows]


def counts_in_words(values: Values, asked: str) -> str:
    """Returns a sentence on the images that trained, chose and measured.

    Args:
        asked: the param `prior`.
    """
    counts, name = values.get("counts", {}), chosen_prior(values)
    if not counts:
        return ""
    images = f"The model learned from {counts['train']:,} training images."
    if name and asked == "best" and any("validation" in each for _, each in _of(values, "priors")):
        images += (
            f" The prior {name} was chosen by the kernel distance of its samples to {counts['validation']:,} "
            "validation images."
        )
    elif name:
        images += f" The prior is {name}."
    images += _neighbours_in_words(values.get("priors", {}).get("neighbours", {}).get("validation", {}))
    return f"{images} Samples and midpoints are compared with {counts['test']:,} test images, which chose nothing."


def _neighbours_in_words(chosen: Values) -> str:
    """Returns a sentence on the settings of the prior `neighbours`; nothing if they were not chosen."""
    if "k" not in chosen:
        return ""
    rates = {_name(key): value for key, value in chosen.items()}
    words = f" The prior neighbours has k = {chosen['k']} and noise {chosen['noise']:g}, chosen on validation images"
    if "copy_rate" in rates and "copy_rate_real" in rates:
        words += (
            f": {rates['copy_rate']:.1%} of the samples that chose them are copies of training images, and "
            f"{rates['copy_rate_real']:.1%} of the validation images"
        )
    return f"{words}."


def chosen_prior(values: Values) -> str | None:
    """Returns the name of the prior whose numbers are those of the samples."""
    samples = values.get("samples")
    for name, each in _of(values, "priors"):
        if samples and {key: value for key, value in each.items() if key != "validation"} == samples:
            return name
    return None


def _tables(values: Values) -> Iterator[Table]:
    train, test, counts = (values.get(key, {}) for key in ("train", "test", "counts"))
    yield _table(
        "Images compared with their reconstructions",
        {
            "training images from their own codes, G(z)": train.get("recon", {}),
            "training images through the encoder, G(E(x))": train.get("encoder", {}),
            "test images through the encoder, G(E(x))": test.get("encoder", {}),
            "test images themselves": test.get("images", {}),
        },
    )
    yield _table("Sets of images, each compared with the test images", _sets(values, counts), _note(counts))
    yield _table(
        "Samples of every prior",
        _priors(values),
        "The first number is measured on validation images, the others on test images.",
    )
    yield _table("Interpolations between training codes", {"this run": values.get("interpolation", {})})
    yield _table("Interpolations between lines", {"this run": values.get("lines", {})})
    yield _table("Are samples copies of training images?", _memorisation(values))
    yield _table("The first subset, compared with random subsets of the same size", _split(values.get("split", {})))


def _sets(values: Values, counts: Values) -> dict[str, Values]:
    """Returns the rows of the image sets: from the best that there is, real images, to the worst."""
    samples, off_code = counts.get("samples"), values.get("off_code", {})
    reconstructions = min(samples, counts["train"]) if counts else None
    named = {
        "real": ("real images (validation), the floor", counts.get("validation")),
        "reconstructions": ("reconstructions G(z)", reconstructions),
        "samples": (f"samples of {chosen_prior(values) or 'the chosen prior'}", samples),
        "midpoints": ("midpoints of random pairs", counts.get("midpoints")),
        "graph_midpoints": ("midpoints of these pairs along the graph of codes", counts.get("midpoints")),
        "noise": ("noise, the ceiling", samples),
    }
    rows = {}
    for key, (name, count) in named.items():
        ratio = {
            f"off_code_{measure.removeprefix(f'{key}_')}": measure
            for measure in off_code
            if measure.startswith(f"{key}_")
        }
        found, errors = (
            {ours: source[theirs] for ours, theirs in ratio.items() if theirs in source}
            for source in (off_code, off_code.get("se", {}))
        )
        rows[f"{name}, {count:,} images" if count else name] = _merged(values.get(key, {}), found, errors)
    return rows


def _merged(row: Values, values: Values, errors: Values) -> Values:
    """Returns a row with more values and standard errors; an empty row stays empty."""
    return {**row, **values, "se": {**row.get("se", {}), **errors}} if row else {}


def _note(counts: Values) -> str:
    fewest = min((counts[key] for key in ("samples", "test") if key in counts), default=FEWEST_FOR_FRECHET)
    words = "Value ± standard error. A set is good if its numbers are near those of real images."
    if fewest < FEWEST_FOR_FRECHET:
        words += (
            f" With fewer than {FEWEST_FOR_FRECHET:,} images on each side, the Fréchet distance is biased: it is too "
            "large, and the more so the fewer images there are. Use the kernel distance and its standard error."
        )
    return words


def _priors(values: Values) -> dict[str, Values]:
    """Returns the rows of the priors: first the distance that chose, then some numbers of the test images."""
    chosen, rows = chosen_prior(values), {}
    for name, each in _of(values, "priors"):
        choice = each.get("validation", {})
        first = {f"validation_{key}": value for key, value in choice.items() if _name(key) == "kd"}
        errors = {f"validation_{key}": value for key, value in choice.get("se", {}).items()}
        shown = {key: value for key, value in each.items() if _name(key) in OF_PRIORS}
        row = {**first, **shown, "se": {**errors, **each.get("se", {})}}
        rows[f"{name} (chosen)" if name == chosen else name] = row if first or shown else {}
    return rows


def _split(split: Values) -> dict[str, Values]:
    chance = {f"subset_{key.removesuffix('_random')}": key for key in split if key.endswith("_random")}
    errors = split.get("se", {})
    return {
        "the first subset": {key: split[key.removeprefix("subset_")] for key in chance},
        "random subsets": {key: split[source] for key, source in chance.items()}
        | ({"se": {key: errors[source] for key, source in chance.items() if source in errors}} if chance else {}),
    }


def _of(values: Values, section: str) -> list[tuple[str, Values]]:
    return list(values.get(section, {}).items())


def _memorisation(values: Values) -> dict[str, Values]:
    """Returns a row for each space; some numbers in the features are among those of the samples."""
    rows, samples = {}, values.get("samples", {})
    for space, own in _of(values, "memorisation"):
        name, _, network = space.partition("_")
        moved = {key: f"{key}_{network}" for key in ("novelty", "copy_rate") if network}
        found, errors = (
            {key: source[theirs] for key, theirs in moved.items() if theirs in source}
            for source in (samples, samples.get("se", {}))
        )
        rows[f"in {name}"] = {**found, **own, "se": {**errors, **own.get("se", {})}}
    return rows


def _table(title: str, named: Mapping[str, Values], note: str = "") -> Table:
    """Returns a table of the rows that have numbers, with a column for each measure and a last row of ideal values."""
    errors = {name: {_measure(key): value for key, value in row.get("se", {}).items()} for name, row in named.items()}
    named = {
        name: {_measure(key): value for key, value in row.items() if key != "se"} for name, row in named.items() if row
    }
    measures = [*dict.fromkeys(measure for row in named.values() for measure in row)]
    rows = [
        (name, [measure.shown(row.get(measure), errors[name].get(measure)) for measure in measures])
        for name, row in named.items()
        if row
    ]
    if rows and any(measure.aim for measure in measures):
        rows.append(("ideal", [measure.aim or "–" for measure in measures]))
    return Table(title, measures, rows, note)


def _measure(key: str) -> Measure:
    """Returns the measure of a key: `kd_random_alexnet` is `kd` in the features of the network `random_alexnet`."""
    name = _name(key)
    feature_network = key.removeprefix(f"{name}_") if name and key != name else None
    return MEASURES[name].by(feature_network) if name else Measure(key)


def _name(key: str) -> str | None:
    """Returns the name in MEASURES of a key."""
    return next((name for name in MEASURES if key == name or key.startswith(f"{name}_")), None)
