"""Figures as the words of a table. Knows nothing of what they mean."""

from __future__ import annotations

from jinabert_onnx_eval.scores import CONFIDENCE, Difference


def percent(share: float | None) -> str:
    """Return a share as a percentage with one decimal."""
    return "-" if share is None else f"{100 * share:.1f} %"


def decimal(value: float | None, places: int) -> str:
    """Return a number, or a dash."""
    return "-" if value is None else f"{value:.{places}f}"


def points(difference: Difference) -> str:
    """Return a difference of shares in percentage points, its interval, and whether it is more than chance."""
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    verdict = "clear" if difference.is_clear else "within chance"
    return f"{mean:+.1f} points ({CONFIDENCE:.0%}: {low:+.1f} to {high:+.1f}; {verdict})"
