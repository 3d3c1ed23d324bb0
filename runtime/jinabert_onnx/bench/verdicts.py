"""A comparison of two runs as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .columns import aligned
from .compare import FASTER, LESS, MARGIN, MEMORY_MARGIN, MORE, SAME, SLOWER, UNCLEAR, Comparison, Difference
from .table import number

_ORDER = (SLOWER, MORE, FASTER, LESS, UNCLEAR, SAME)


def lines_of(found: Comparison) -> Iterator[str]:
    """Yield the lines of the whole table."""
    header = ("", "before", "after", "change", "surely between", "verdict")
    yield from aligned(header, [_row(item) for item in found.differences], left=(0, 4, 5))
    yield ""
    counts = Counter(item.verdict for item in found.differences)
    yield ", ".join(f"{counts[verdict]} {verdict}" for verdict in _ORDER if counts[verdict])
    yield from _only("before", found.only_before)
    yield from _only("after", found.only_after)
    for caveat in found.caveats:
        yield f"Note: {caveat}."
    yield from _explanation(found)


def _row(item: Difference) -> tuple[str, ...]:
    between = "-"
    if item.interval is not None:
        between = f"{_percent(item.interval.low)} to {_percent(item.interval.high)}"
    figures = (_figure(item, item.before), _figure(item, item.after), _percent(item.ratio))
    return (item.name, *figures, between, item.verdict)


def _figure(item: Difference, value: float) -> str:
    if item.kind == "memory":
        return f"{value / 1e6:.0f} MB"
    return f"{number(value * 1000)} ms"


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f} %"


def _only(when: str, names: tuple[str, ...]) -> Iterator[str]:
    if names:
        yield f"Only {when}: {'; '.join(names)}."


def _explanation(found: Comparison) -> Iterator[str]:
    margins = "; ".join(f"{margin:.1%} for {configuration}" for configuration, margin in found.margins.items())
    yield "Times are medians of a call, cold starts of processes; all intervals hold together 95 times of 100."
    yield "Slower or faster: the interval lies wholly beyond the margin. Same: wholly within. Unclear: neither; give"
    yield f"both runs more --seconds. The margin is {MARGIN:.0%} and what the machine's ceiling changed by:"
    yield f"{margins}."
    if any(item.kind == "memory" for item in found.differences):
        yield f"Memory is one figure a run and counts as different from {MEMORY_MARGIN:.0%} on."
