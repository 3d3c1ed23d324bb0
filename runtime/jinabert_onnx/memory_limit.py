"""How much memory a process may take with a model, held to by all calls together. Knows the model of `memory` only."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .memory import MemoryModel
from .stopping import Limits

_WAIT = 0.05  # seconds between two looks at whether a waiting call was ended


class MemoryLimit:
    """`limit` bytes for a process that runs one model; calls wait where together they would take more.

    A batch alone is let through whatever it takes: that it fits is planned beforehand.
    """

    def __init__(self, model: MemoryModel, limit: int) -> None:
        self.limit = limit
        self._model = model
        self._taken: list[int] = []  # bytes beyond the resident ones, of each batch that runs
        self._changed = threading.Condition()

    def peak(self, lengths: Sequence[int]) -> int:
        """Bytes of the process while one batch of texts of these lengths (tokens) runs, and nothing else."""
        return self._model.peak(lengths)

    @contextmanager
    def room(self, lengths: Sequence[int], limits: Limits) -> Iterator[None]:
        """Wait until a batch of texts of these lengths (tokens) fits beside what runs; it counts while the block lasts.

        Raises:
            CancelledError, DeadlineError: the call was ended while it waited.
        """
        resident = self._model.resident()
        needed = self._model.peak(lengths) - resident
        with self._changed:
            while self._taken and resident + sum(self._taken) + needed > self.limit:
                self._changed.wait(_WAIT)
                limits.check()
            self._taken.append(needed)
        try:
            yield
        finally:
            with self._changed:
                self._taken.remove(needed)
                self._changed.notify_all()
