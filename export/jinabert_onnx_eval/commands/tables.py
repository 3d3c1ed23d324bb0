"""Figures as lines of aligned text. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jinabert_onnx_eval.scores import CONFIDENCE, Difference


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table: the first column to the left, the others to the right, two blanks between."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    for row in (header, *rows):
        first, *others = zip(row, widths, strict=True)
        cells = "".join(f"  {text:>{width}}" for text, width in others)
        yield f"{first[0]:<{first[1]}}{cells}".rstrip()


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "-" if share is None else f"{100 * share:.1f} %"


def decimal(value: float | None, places: int) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{places}f}"


def points(difference: Difference) -> str:
    """A difference of shares in percentage points, its interval, and whether it is more than chance."""
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    verdict = "clear" if difference.is_clear else "within chance"
    return f"{mean:+.1f} points ({CONFIDENCE:.0%}: {low:+.1f} to {high:+.1f}; {verdict})"
