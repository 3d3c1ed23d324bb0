"""Figures as lines of aligned text. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]], left: Container[int] = (0,)) -> Iterator[str]:
    """Yield a table: the columns numbered in `left` to the left, the others to the right, two blanks between."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = zip(line, widths, strict=True)
        yield "  ".join(f"{text:{'<' if n in left else '>'}{width}}" for n, (text, width) in enumerate(cells)).rstrip()
