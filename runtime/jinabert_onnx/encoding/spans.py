"""The arithmetic of late chunking: spans of a text, the tokens each pools, windows over long texts, sums over windows.

A text is embedded whole and pooled span by span, so that each span's vector knows its context. Content tokens are
counted without special ones. Only the mean is taken: cls has no meaning for a part of a text. Knows nothing of
tokenizers, sessions or prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import InputError, InputTypeError
from jinabert_onnx.text.inputs import require_range
from jinabert_onnx.text.sentences import sentence_spans

from .pooling import Vectors

Span = tuple[int, int]
Splitter = Callable[[str], Iterable[Span]]


@dataclass(frozen=True)
class Window:
    """Content tokens [start, end) that run together, of which the embeddings of [take_start, take_end) are taken."""

    start: int
    end: int
    take_start: int
    take_end: int


def resolve_spans(text: str, spans: str | Iterable[Span] | Splitter) -> list[Span]:
    """Return the (start, end) character pairs that are meant, each checked; in any order, and they may overlap.

    Args:
        text: the text that they are of.
        spans: the pairs; "sentences" for `sentence_spans`; or a function from the text to the pairs.

    Raises:
        InputTypeError: not of these types; names the span's index.
        InputError: another word than "sentences", or a span that is empty, reversed or outside the text.
    """
    if isinstance(spans, str):
        if spans != "sentences":
            raise InputError(f"spans {spans!r} is unknown; use 'sentences', pairs (start, end) or a function")
        return sentence_spans(text)
    pairs = spans(text) if callable(spans) else spans
    if not isinstance(pairs, Iterable):
        raise InputTypeError(f"spans are {type(pairs).__name__}, not pairs (start, end) of characters")
    return [_checked(index, pair, len(text)) for index, pair in enumerate(pairs)]


def token_ranges(spans: Sequence[Span], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the content tokens [first, last) of each span: those that share a character with it, and between them.

    A token that straddles two spans is pooled in both: its embedding speaks for the characters of either, and a
    span must not lose the one word that it may hold.

    Args:
        spans: (start, end) in characters.
        starts: int64 (tokens,), each token's first character, never decreasing.
        ends: int64 (tokens,), the character after its last, never decreasing.

    Returns:
        int64 (spans, 2).

    Raises:
        InputError: a span holds no token; it is named.
    """
    pairs = np.array(spans, dtype=np.int64).reshape(-1, 2)  # (spans, 2)
    first = np.searchsorted(ends, pairs[:, 0], side="right")  # (spans,)
    last = np.searchsorted(starts, pairs[:, 1], side="left")
    empty = np.flatnonzero(first >= last)
    if empty.size:
        raise InputError(f"span {empty[0]} {spans[empty[0]]} holds no token; leave it out", index=int(empty[0]))
    return np.stack([first, last], axis=1).astype(np.int64)


def plan_windows(count: int, room: int, overlap: int) -> list[Window]:
    """Lay as few windows over `count` content tokens as there can be, of sizes that differ by at most one.

    Every window has at most `room` tokens and shares `overlap` with the next. Each token is taken once, and where
    two windows hold it from the one in which it lies farther from the cut: they change in the middle of the overlap.

    Raises:
        InputError: `overlap` is negative or not less than `room`.
    """
    require_range("overlap", overlap, 0, room - 1)
    if count <= room:
        return [Window(0, count, 0, count)] if count else []
    number = -(-(count - overlap) // (room - overlap))
    windows: list[Window] = []
    start = take_start = 0
    for index in range(number):
        size = (count - overlap + index) // number + overlap  # the smaller ones come first
        end = start + size
        take_end = end - overlap + overlap // 2 if index + 1 < number else count
        windows.append(Window(start, end, take_start, take_end))
        start, take_start = end - overlap, take_end
    return windows


def add_window(
    sums: NDArray[np.float64],
    counts: NDArray[np.int64],
    ranges: NDArray[np.int64],
    window: Window,
    embeddings: Vectors,
) -> None:
    """Add what is taken from one window to the spans it belongs to, in place; nothing of the window is kept.

    Args:
        sums: float64 (spans, hidden), zeros before the first window.
        counts: int64 (spans,), zeros before the first window: tokens summed.
        ranges: int64 (spans, 2), of `token_ranges`.
        window: where the embeddings stand.
        embeddings: float32 (window.end - window.start, hidden), content tokens only.
    """
    first = np.maximum(ranges[:, 0], window.take_start)  # (spans,)
    last = np.minimum(ranges[:, 1], window.take_end)
    for span in np.flatnonzero(first < last):
        taken = embeddings[first[span] - window.start : last[span] - window.start]  # (tokens, hidden)
        sums[span] += taken.sum(axis=0, dtype=np.float64)
        counts[span] += len(taken)


def mean_of_spans(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> Vectors:
    """Return the spans' vectors, float32 (spans, hidden), after the last window."""
    vectors: Vectors = (sums / counts[:, None]).astype(np.float32)
    return vectors


def _checked(index: int, pair: object, length: int) -> Span:
    if isinstance(pair, str | bytes) or not isinstance(pair, Iterable):
        raise InputTypeError(
            f"span {index} is {type(pair).__name__}, not a pair (start, end) of characters", index=index
        )
    limits = list(pair)
    if len(limits) != 2:
        raise InputTypeError(
            f"span {index} has {len(limits)} elements, not two: (start, end) in characters", index=index
        )
    start, end = (require_range(f"the {name} of span {index}", limit, 0, length) for name, limit in
                  zip(("start", "end"), limits, strict=True))  # fmt: skip
    if end <= start:
        raise InputError(f"span {index} ({start}, {end}) is empty; its end must lie after its start", index=index)
    return start, end
