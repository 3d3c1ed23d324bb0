"""The comparison with the card as a table to read, as JSON, CSV and Markdown.

Knows nothing of mteb, and decides nothing.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jinabert_onnx.bench.columns import aligned

from .card import MODEL, CardRow
from .compare import AGREES, DIFFERS, NOT_COMPARABLE, NOT_RUN, Comparison, Result, points

_HEADER = ("task", "metric", "card", "ours", "difference", "tolerance", "verdict", "why")
_ELSEWHERE = ("task", "split", "subset", "ours")
_WORDS = ("task", "metric", "verdict", "why", "split", "subset")  # columns that stand to the left


@dataclass(frozen=True)
class Elsewhere:
    """A score that the card has nothing to say of; `score` is mteb's main score in points, None for no number."""

    task: str
    split: str
    subset: str
    score: float | None


def not_on_card(rows: Iterable[CardRow], results: Mapping[str, Result]) -> list[Elsewhere]:
    """Return what was run beside the rows of the card."""
    known = {(row.task, row.split, row.subset) for row in rows}
    return [
        Elsewhere(result.task, split, subset, points(scores.get("main_score")))
        for result in results.values()
        for split, of_split in result.scores.items()
        for subset, scores in of_split.items()
        if (result.task, split, subset) not in known
    ]


def lines_of(comparisons: Sequence[Comparison], elsewhere: Sequence[Elsewhere], of_card_model: bool) -> Iterator[str]:
    """Yield the report to read: a table, what is not on the card, and the sum of it."""
    yield from _table(_HEADER, [_cells(one) for one in comparisons])
    if elsewhere:
        yield ""
        yield "not on the card (mteb's main score, 0 to 100):"
        yield from _table(_ELSEWHERE, [_cells_elsewhere(one) for one in elsewhere])
    yield ""
    yield summary(comparisons)
    if not of_card_model:
        yield f"The card is of {MODEL}, and this bundle is not known to be made of it: differences are to be expected."


def summary(comparisons: Sequence[Comparison]) -> str:
    """Return one sentence: how many rows agree, differ, were not run, and cannot be compared."""
    counts = Counter(one.verdict for one in comparisons)
    comparable = len(comparisons) - counts[NOT_COMPARABLE]
    shown = sum(one.verdict == NOT_COMPARABLE and one.ours is not None for one in comparisons)
    return (
        f"{comparable} of {len(comparisons)} rows of the card can be compared: {counts[AGREES]} agree, "
        f"{counts[DIFFERS]} differ, {counts[NOT_RUN]} not run. "
        f"{counts[NOT_COMPARABLE]} cannot; of those {shown} were run."
    )


def csv_of(comparisons: Sequence[Comparison]) -> str:
    """Return the table with full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("task", "type", "mteb_task", "split", "subset", "revision", *_HEADER[1:]))
    for one in comparisons:
        row, measure = one.row, one.row.measure
        writer.writerow(
            (
                *(row.name, row.type, row.task, row.split, row.subset, row.revision),
                *(measure.card, one.card, one.ours, one.difference, one.tolerance, one.verdict, one.reason),
            )
        )
    return stream.getvalue()


def markdown_of(
    title: str, comparisons: Sequence[Comparison], elsewhere: Sequence[Elsewhere], of_card_model: bool
) -> str:
    """Return the report as a page; the table has the rows that can be compared or were run."""
    shown = [one for one in comparisons if one.verdict != NOT_COMPARABLE or one.ours is not None]
    lines = [f"# {title}", "", summary(comparisons)]
    if not of_card_model:
        lines += ["", f"The card is of {MODEL}; this bundle is not known to be made of it."]
    lines += ["", *_markdown_table(_HEADER, [_cells(one) for one in shown])]
    if elsewhere:
        rows = [_cells_elsewhere(one) for one in elsewhere]
        lines += ["", "Not on the card (mteb's main score):", "", *_markdown_table(_ELSEWHERE, rows)]
    return "\n".join(lines) + "\n"


def data_of(comparisons: Sequence[Comparison], elsewhere: Sequence[Elsewhere]) -> dict[str, Any]:
    """Return all figures, for JSON."""
    return {
        "card": MODEL,
        "summary": summary(comparisons),
        "rows": [_row_data(one) for one in comparisons],
        "not_on_card": [asdict(one) for one in elsewhere],
    }


def _row_data(one: Comparison) -> dict[str, Any]:
    row = one.row
    return {
        "name": row.name,
        "type": row.type,
        "mteb_task": row.task,
        "split": row.split,
        "subset": row.subset,
        "revision": row.revision,
        "metric": row.measure.card,
        "mteb_metric": row.measure.mteb,
        "card": one.card,
        "ours": one.ours,
        "difference": one.difference,
        "tolerance": one.tolerance,
        "verdict": one.verdict,
        "why": one.reason,
        "mteb_version": one.mteb,
        "other_metrics": {name: {"card": card, "ours": ours} for name, (card, ours) in one.others.items()},
    }


def _cells(one: Comparison) -> tuple[str, ...]:
    row = one.row
    figures = (_figure(one.card), _figure(one.ours), _figure(one.difference, "+"), _figure(one.tolerance))
    return (row.name, row.measure.card, *figures, one.verdict, one.reason)


def _cells_elsewhere(one: Elsewhere) -> tuple[str, ...]:
    return (one.task, one.split, one.subset, _figure(one.score))


def _figure(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Aligned columns: words to the left, figures to the right."""
    return aligned(header, rows, [column for column, name in enumerate(header) if name in _WORDS])


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
