"""Rows of several models that wait for one worker: which model is next, and which of its rows run together.

Fair between models, as `fair_queue` is between requests: each has been given a number of tokens, and the one with the
fewest is next. A model that had nothing to do begins where the others are, so that it saves nothing up. Knows nothing
of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from .fair_queue import FairQueue, Row

Model = TypeVar("Model")


class ModelQueues(Generic[Model]):
    """A queue of rows for each model."""

    def __init__(self, queues: Mapping[Model, FairQueue]) -> None:
        """Take the empty queue of each model."""
        self._queues = queues
        self._given = dict.fromkeys(queues, 0)  # tokens, of which idleness takes nothing away
        self._reached = 0  # what the model that ran last had been given before

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, model: Model, owner: Any, rows: Iterable[tuple[int, int]]) -> None:
        """Append the rows (index, tokens) of one request."""
        if not self._queues[model]:
            self._given[model] = max(self._given[model], self._reached)
        self._queues[model].add(owner, rows)

    def remove(self, owner: Any) -> list[Row]:
        """Remove and return every row of a request that has ended."""
        return [row for queue in self._queues.values() for row in queue.remove(owner)]

    def take(self) -> list[Row]:
        """Remove and return the rows to run next, which are of one model."""
        model = min((model for model, queue in self._queues.items() if queue), key=self._given.__getitem__)
        rows = self._queues[model].take()
        self._reached = self._given[model]
        self._given[model] += sum(row.tokens for row in rows)
        return rows

    def take_all(self) -> list[Row]:
        """Remove and return all rows."""
        return [row for queue in self._queues.values() for row in queue.take_all()]
