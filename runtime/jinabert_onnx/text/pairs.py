"""Inputs of a cross-encoder, checked and brought into one form: pairs of texts, or single texts.

Knows nothing of tokens or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from jinabert_onnx.errors import InputTypeError

from .inputs import as_stream

TextOrPair = str | tuple[str, str]


def as_pairs(pairs: object) -> tuple[list[TextOrPair], bool]:
    """Return the inputs as a list, and whether `pairs` was a single one: a text, or a tuple of two.

    A list of two texts is two inputs, as it is elsewhere; within a list, a pair may be any sequence of two.

    Raises:
        InputTypeError: neither an input nor an iterable of inputs; names the index of the first that is none.
    """
    return [as_input(given, index) for index, given in enumerate(as_pair_stream(pairs))], _is_one(pairs)


def as_pair_stream(pairs: object) -> Iterable[object]:
    """Return a single input as a list of one, and any other iterable as it is, its elements not yet checked.

    Raises:
        InputTypeError: no iterable of inputs.
    """
    return [pairs] if _is_one(pairs) else as_stream(pairs, "pairs")


def as_input(given: object, index: int) -> TextOrPair:
    """Return a text or a pair of texts, which is the input of this index.

    Raises:
        InputTypeError: it is neither.
    """
    if isinstance(given, str):
        return given
    if isinstance(given, np.ndarray):  # a row of a table
        given = given.tolist()
    if isinstance(given, Sequence) and _is_pair(given):
        return given[0], given[1]
    raise InputTypeError(f"pair {index} is {_described(given)}; give two texts, or one as a str", index=index)


def characters_of(given: TextOrPair) -> int:
    """Count the characters of a text, or of both of a pair."""
    return len(given) if isinstance(given, str) else sum(map(len, given))


def _is_one(pairs: object) -> bool:
    return isinstance(pairs, str) or (isinstance(pairs, tuple) and _is_pair(pairs))


def _is_pair(given: Sequence[object]) -> bool:
    return len(given) == 2 and all(isinstance(text, str) for text in given)


def _described(given: object) -> str:
    if isinstance(given, list | tuple):
        return f"a {type(given).__name__} of {', '.join(type(text).__name__ for text in given[:3]) or 'nothing'}"
    return type(given).__name__
