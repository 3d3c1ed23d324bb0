"""Rows of many requests that wait for one worker, and which of them run together next.

Fair between requests: each row stands at the place where its request would be if requests were served token by token,
in turns (start-time fair queueing). So a request of one text that comes after one of thousands goes ahead of most of
these, and none waits for ever. Knows nothing of threads or models.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

_LOOK_AHEAD = 256  # waiting rows that are considered for a batch


@dataclass(order=True, frozen=True)
class Row:
    """One row of token ids that waits.

    Attributes:
        place: the start tag of fair queueing: its turn, in tokens served before.
        number: of the row among all; the first of equals runs first.
        owner: the request that it is of.
        index: which of the request's rows it is.
        tokens: how many it has.
    """

    place: int
    number: int
    owner: Any = field(compare=False)
    index: int = field(compare=False)
    tokens: int = field(compare=False)


class FairQueue:
    """A queue of rows, of which a batch takes at most `token_budget` padded tokens; a longer row goes alone."""

    def __init__(self, token_budget: int, fits: Callable[[Sequence[int]], bool] = lambda lengths: True) -> None:
        """Run rows together only where `fits` allows their lengths, within the budget."""
        self._token_budget = token_budget
        self._fits = fits
        self._rows: list[Row] = []  # a heap
        self._served = 0  # the place of the row that ran last
        self._number = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, owner: Any, rows: Iterable[tuple[int, int]]) -> None:
        """Append the rows (index, tokens) of one request."""
        place = self._served
        for index, tokens in rows:
            heapq.heappush(self._rows, Row(place, self._number, owner, index, tokens))
            self._number += 1
            place += tokens

    def remove(self, owner: Any) -> list[Row]:
        """Remove and return every row of a request that has ended."""
        removed = [row for row in self._rows if row.owner is owner]
        if removed:
            self._rows = [row for row in self._rows if row.owner is not owner]
            heapq.heapify(self._rows)
        return removed

    def take(self) -> list[Row]:
        """Remove and return the rows to run next: the first in turn, and of those soon in turn the nearest in length.

        Packed graphs compute no padding in linear layers, but rows of one length waste none anywhere.
        """
        first = heapq.heappop(self._rows)
        self._served = max(self._served, first.place)
        if first.tokens * 2 > self._token_budget or not self._rows:
            return [first]
        candidates = [heapq.heappop(self._rows) for _ in range(min(_LOOK_AHEAD, len(self._rows)))]
        batch = [first, *self._like(first, candidates)]
        chosen = {row.number for row in batch}
        for row in candidates:
            if row.number not in chosen:
                heapq.heappush(self._rows, row)
        return batch

    def take_all(self) -> list[Row]:
        """Remove and return all rows."""
        rows, self._rows = sorted(self._rows), []
        return rows

    def _like(self, first: Row, candidates: list[Row]) -> list[Row]:
        """Return the candidates to run beside `first`, those nearest to its length."""
        chosen: list[Row] = []
        for row in sorted(candidates, key=lambda row: (abs(row.tokens - first.tokens), row)):
            lengths = [first.tokens, *(other.tokens for other in chosen), row.tokens]
            if max(lengths) * len(lengths) > self._token_budget or not self._fits(lengths):
                break
            chosen.append(row)
        return chosen
