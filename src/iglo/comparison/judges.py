"""Priors and claims as two judges see them: does the order depend on the feature network that measures?"""

from collections.abc import Mapping, Sequence

import numpy as np

from iglo.comparison.claims import Claim, by_judge, is_measured, outcome
from iglo.comparison.differences import BASE
from iglo.comparison.formats import format_of
from iglo.comparison.runs import OTHER_JUDGES, Values
from iglo.comparison.tables import PRIORS
from iglo.files.markdown import markdown_table


def prior_ranks(values: Values, judge: str = "") -> dict[str, float]:
    """Returns prior → its mean rank by kernel distance over all rows; 1 is the nearest.

    The priors are those that some row has; a row without one of them does not count.

    Args:
        judge: the name of another judge; "": the judge of all other numbers.
    """
    priors = _measured_priors(values, judge)
    names = [_prior_metric(name, judge) for name in priors]
    means = [[of_row[name].mean() for name in names] for of_row in values.values() if set(names) <= of_row.keys()]
    if not names or not means:
        return {}
    ranks = np.argsort(np.argsort(means, axis=1), axis=1) + 1
    return dict(zip(priors, ranks.mean(axis=0).tolist(), strict=True))


def prior_judge_lines(values: Values, titles: Mapping[str, str], judges: Mapping[str, str]) -> list[str]:
    """Returns the lines of a table of priors × judges: the kernel distance of one row, and the rank over all rows.

    Args:
        judges: name in metrics ("" for the judge of all other numbers) → name in the head of its columns.
    """
    row = BASE if BASE in values else next(iter(values))
    ranks = {judge: prior_ranks(values, judge) for judge in judges}
    heads = ["prior", *(f"{title}: {text}" for title in judges.values() for text in (titles[row], "mean rank"))]
    lines = []
    for prior in (name for name in PRIORS if any(name in of_judge for of_judge in ranks.values())):
        cells = [f"`{prior}`"]
        for judge in judges:
            known = values[row].get(_prior_metric(prior, judge))
            cells.append("–" if known is None else format_of("kd").shown(known))
            cells.append(f"{ranks[judge][prior]:.1f}" if prior in ranks[judge] else "–")
        lines.append(cells)
    return markdown_table(heads, lines)


def claim_judge_lines(claims: Sequence[Claim], values: Values, judges: Mapping[str, str]) -> list[str]:
    """Returns the lines of a table of claims × judges, for the claims whose numbers each judge has measured."""
    lines = []
    for claim in claims:
        versions = [by_judge(claim, judge) if judge else claim for judge in judges]
        if isinstance(claim.right, tuple) and all(is_measured(each, values) for each in versions):
            lines.append([claim.statement, *(outcome(each, values) for each in versions)])
    return markdown_table(["claim", *judges.values()], lines) if lines else []


def _measured_priors(values: Values, judge: str) -> list[str]:
    """Returns the priors that some row has; early runs have fewer."""
    return [name for name in PRIORS if any(_prior_metric(name, judge) in of_row for of_row in values.values())]


def _prior_metric(prior: str, judge: str) -> str:
    return f"{OTHER_JUDGES}{judge}.priors.{prior}.kd" if judge else f"priors.{prior}.kd"
