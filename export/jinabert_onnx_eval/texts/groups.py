"""Texts by length: sentences as they are, consecutive ones joined, and long texts.

Knows nothing of vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jinabert_onnx.errors import InputError

from jinabert_onnx_eval.scores import TOP

from .read import EvalTexts, Pair

Count = Callable[[Sequence[str]], Sequence[int]]  # texts to the tokens of each, special ones included

LENGTHS = (64, 128, 256, 512, 2048)  # tokens that joined sentences have at least, as `Count` counts each alone
LONG = "long texts"


@dataclass(frozen=True)
class Group:
    """Texts of like length: pairs of one meaning, and others of which there is no translation."""

    name: str
    pairs: tuple[Pair, ...]
    others: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Return all of them: the English of the pairs, the German, the others."""
        return (*(pair.english for pair in self.pairs), *(pair.german for pair in self.pairs), *self.others)


def group_by_length(texts: EvalTexts, count: Count, longest: int) -> list[Group]:
    """Sentences, sentences joined to `LENGTHS` up to `longest` tokens, and long texts, as far as there are enough.

    Raises:
        InputError: no group has more than `TOP` texts, among which the most similar can be compared.
    """
    english = tuple(pair.english for pair in texts.pairs)
    german = tuple(pair.german for pair in texts.pairs)
    sizes = [count(english), count(german)]
    other_sizes = [count(texts.sentences)]
    groups = [Group("sentences", texts.pairs, texts.sentences)]
    for length in LENGTHS:
        if length <= longest:
            pairs = (Pair(" ".join(english[run]), " ".join(german[run])) for run in runs(sizes, length))
            others = (" ".join(texts.sentences[run]) for run in runs(other_sizes, length))
            groups.append(Group(f"{length} tokens", tuple(pairs), tuple(others)))
    groups.append(Group(LONG, (), texts.long))
    groups = [group for group in groups if len(group.texts) > TOP]
    if not groups:
        raise InputError(f"{texts.name}: no more than {TOP} texts of any length; add some")
    return groups


def runs(sizes: Sequence[Sequence[int]], length: int) -> list[slice]:
    """Return consecutive texts that together have `length` tokens or more in every column of `sizes`.

    What is left at the end is too short to count.
    """
    found = []
    start, totals = 0, np.zeros(len(sizes), dtype=np.int64)
    for index, row in enumerate(zip(*sizes, strict=True)):
        totals += row
        if totals.min() >= length:
            found.append(slice(start, index + 1))
            start, totals = index + 1, np.zeros(len(sizes), dtype=np.int64)
    return found
