"""How much memory a process may take with a model, held to by all calls together. Knows the model of `memory` only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from .memory import MemoryModel
from .queueing import Queue
from .stopping import Limits


class MemoryLimit:
    """`limit` bytes for a process that runs one model; calls wait where together they would take more.

    A batch alone is let through whatever it takes: that it fits is planned beforehand.
    """

    def __init__(self, model: MemoryModel, limit: int) -> None:
        self.limit = limit
        self._model = model
        self._running = replace(model, opening=0)  # loaded by now
        self._queue = Queue()

    def peak(self, lengths: Sequence[int]) -> int:
        """Bytes of the process while one batch of texts of these lengths (tokens) runs, and nothing else."""
        return self._running.peak(lengths)

    def room(self, lengths: Sequence[int], limits: Limits) -> AbstractContextManager[None]:
        """Wait until a batch of texts of these lengths (tokens) fits beside what runs; it counts while the block lasts.

        Raises:
            CancelledError, DeadlineError: the call was ended while it waited.
        """
        resident = self._model.resident()
        needed = self._running.peak(lengths) - resident

        def fits(taken: int) -> bool:
            return taken == 0 or resident + taken + needed <= self.limit

        return self._queue.place(needed, fits, limits)
