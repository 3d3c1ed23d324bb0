"""Our scores beside the card's, row by row, and what may be said of the difference.

Two scores are compared only where they are of the same data, the same split and subset, and the same metric. Knows
nothing of mteb's code, and of results only what `Result` holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from .card import CardRow, mteb_metric

AGREES = "agrees"
DIFFERS = "differs"
NOT_COMPARABLE = "not comparable"
NOT_RUN = "not run"

# Points within which two runs of the same vectors may lie. What has no part of chance moves by the rounding of 16-bit
# arithmetic, which the card may have been measured in; k-means and samples for training are drawn anew.
TOLERANCES: Mapping[str, float] = {
    "BitextMining": 0.2,
    "Classification": 1.0,
    "Clustering": 1.5,
    "PairClassification": 0.2,
    "Reranking": 0.2,
    "Retrieval": 0.2,
    "STS": 0.2,
    "Summarization": 0.5,
}
_DEVIATIONS = 2.0  # standard errors of a difference of means that chance may make


@dataclass(frozen=True)
class Pin:
    """What the installed mteb would run: the data set's commit, the splits and the subsets of a task."""

    revision: str
    splits: tuple[str, ...]
    subsets: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What was run.

    Attributes:
        task: mteb's name; revision: the data set's commit; mteb: the release that ran it.
        scores: by split, then by subset, mteb's scores, most of them of 0 to 1.
    """

    task: str
    revision: str
    mteb: str | None
    scores: Mapping[str, Mapping[str, Mapping[str, object]]]


@dataclass(frozen=True)
class Comparison:
    """A row of the card and what became of it; scores and tolerance are points of 0 to 100.

    Attributes:
        verdict: `AGREES`, `DIFFERS`, `NOT_COMPARABLE` or `NOT_RUN`; reason: of one that is neither of the first two.
        ours: None where it was not run, or is no finite number. Told also where it cannot be compared.
        others: the row's further metrics, by the card's names: the card's and ours.
    """

    row: CardRow
    verdict: str
    reason: str
    ours: float | None = None
    tolerance: float | None = None
    mteb: str | None = None
    others: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def card(self) -> float:
        """Return the card's score."""
        return self.row.metrics[self.row.measure.card]

    @property
    def difference(self) -> float | None:
        """Ours less the card's."""
        return None if self.ours is None else self.ours - self.card


def compare(row: CardRow, pin: Pin | None, result: Result | None) -> Comparison:
    """Return what may be said of `row`, given what mteb has of its task and what was run of it."""
    scores = {} if result is None else result.scores.get(row.split, {}).get(row.subset, {})
    ours = points(scores.get(row.measure.mteb))
    reason = why_not_comparable(row, pin, result if scores else None)
    others = _others(row, scores)
    mteb = result.mteb if result is not None and scores else None
    if reason:
        return Comparison(row, NOT_COMPARABLE, reason, ours, None, mteb, others)
    if not scores:
        return Comparison(row, NOT_RUN, "")
    tolerance = tolerance_of(row, scores)
    if ours is None:
        return Comparison(row, DIFFERS, f"mteb gave no number for {row.measure.mteb}", None, tolerance, mteb, others)
    verdict = AGREES if abs(ours - row.metrics[row.measure.card]) <= tolerance else DIFFERS
    return Comparison(row, verdict, "", ours, tolerance, mteb, others)


def why_not_comparable(row: CardRow, pin: Pin | None, result: Result | None = None) -> str:
    """Why scores of this row and of mteb's task are not of the same measurement; "" where they are.

    `result`, where there is one, tells which data were really read; mteb may pin others by now.
    """
    if pin is None:
        return "no such task in mteb"
    revision = pin.revision if result is None else result.revision
    found = []
    if row.revision is None:
        found.append(f"card names no revision (mteb {revision[:8]})")
    elif row.revision != revision:
        found.append(f"other revision (card {row.revision[:8]}, mteb {revision[:8]})")
    if row.split not in pin.splits:
        found.append(f"other split (card {row.split}, mteb {' and '.join(pin.splits)})")
    if row.subset not in pin.subsets:
        found.append(f"no subset {row.subset} in mteb")
    if row.measure.other_protocol is not None:
        found.append(row.measure.other_protocol)
    return "; ".join(found)


def tolerance_of(row: CardRow, scores: Mapping[str, object]) -> float:
    """Points that two runs of the same vectors may differ by.

    Where a score is the mean of repetitions with samples drawn anew, it is two standard errors of a difference of two
    such means, if that is more than the type's own figure.
    """
    least = TOLERANCES[row.type]
    repetitions = scores.get("scores_per_experiment")
    if not isinstance(repetitions, list) or len(repetitions) < 2:
        return least
    values = [points(one.get(row.measure.mteb)) for one in repetitions if isinstance(one, Mapping)]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return least
    mean = sum(known) / len(known)
    variance = sum((value - mean) ** 2 for value in known) / (len(known) - 1)
    return max(least, _DEVIATIONS * math.sqrt(2 * variance / len(known)))


def points(score: object) -> float | None:
    """Return a score of 0 to 1 (or -1 to 1) as points; None for what is no finite number."""
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        return None
    return 100.0 * score


def _others(row: CardRow, scores: Mapping[str, object]) -> dict[str, tuple[float, float]]:
    found = {}
    for name, card in row.metrics.items():
        counterpart = mteb_metric(row, name)
        ours = None if counterpart is None or name == row.measure.card else points(scores.get(counterpart))
        if ours is not None:
            found[name] = (card, ours)
    return found
