"""A limit for the memory of a process with a model. Knows `memory_model` and what the system reports, no sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from jinabert_onnx.errors import MemoryLimitError, StateError
from jinabert_onnx.foreign_errors import is_from_reading

from .batching import TOKEN_BUDGETS
from .cancellation import Limits
from .memory_model import MemoryModel, in_megabytes
from .waiting import Queue

_STATUS = Path("/proc/self/statm")  # sizes in pages, the resident one second; Linux only


class MemoryLimit:
    """`limit` bytes for a process, of which one model has a part: batches run one after the other, whoever called.

    Several at a time would need as much again, and fragment onnxruntime's memory so that others cannot use it. A batch
    of short texts runs beside others where there is room for it twice: it fragments little, and need not wait for a
    long text.
    """

    def __init__(self, model: MemoryModel, limit: int, give_back: Callable[[], None]) -> None:
        """Limit the process that has loaded what `model` describes to `limit` bytes.

        `give_back` releases what earlier batches of the model took.
        """
        self.limit = limit
        self._give_back = [give_back]
        self._model = replace(model, loading=0)  # loaded by now
        self._queue = Queue()

    @property
    def model(self) -> MemoryModel:
        """Return the model of the memory that the process takes."""
        return self._model

    def reserve(self, size: int) -> None:
        """Count `size` bytes more as held by the process: those of the program around the model."""
        self._model = replace(self._model, permanent=self._model.permanent + size)

    def join(self, other: MemoryLimit, limit: int, size: int) -> None:
        """Take turns with the batches of `other`, within one limit; `size` bytes are those of other models."""
        if other is not self:
            other._give_back += self._give_back
        self._queue, self._give_back, self.limit = other._queue, other._give_back, limit
        self.reserve(size)

    def peak(self, lengths: Sequence[int]) -> int:
        """Compute the bytes of the process while one batch of texts of these lengths (tokens) runs."""
        return self._model.peak(lengths)

    @contextmanager
    def room(self, wanted: int, limits: Limits) -> Iterator[None]:
        """Take `wanted` bytes for something else than a batch while the block lasts.

        Raises:
            MemoryLimitError: there are never so many.
            CancelledError, DeadlineError: the call was ended while it waited.
        """
        resident = self._model.resident()
        if resident + wanted > self.limit:
            raise MemoryLimitError(
                f"reading it may take {in_megabytes(wanted)}, and {in_megabytes(self.limit - resident)} are left; send "
                "it in parts"
            )
        with self._queue.place(wanted, lambda taken: taken == 0 or resident + taken + 2 * wanted <= self.limit, limits):
            held = resident_memory()
            if held is not None and held + wanted > self.limit:
                self._release()
            yield

    def turn(self, limits: Limits, lengths: Sequence[int]) -> AbstractContextManager[None]:
        """Run a batch of texts of these lengths while the block lasts.

        Raises:
            CancelledError, DeadlineError: the call was ended while it waited.
        """
        resident = self._model.resident()
        needed = self.peak(lengths) - resident
        small = max(lengths) * len(lengths) <= TOKEN_BUDGETS["cpu"]
        return self._queue.place(
            needed, lambda taken: taken == 0 or (small and resident + taken + 2 * needed <= self.limit), limits
        )

    def make_room(self, lengths: Sequence[int]) -> None:
        """Release what earlier batches still hold, if a batch of texts of these lengths might not fit beside it."""
        resident = resident_memory()
        if resident is not None and resident + self.peak(lengths) - self._model.resident() > self.limit:
            self._release()

    def _release(self) -> None:
        for give_back in self._give_back:
            with suppress(StateError):  # a model that is closed, or whose bundle has changed
                give_back()


def share_limit(memories: Sequence[MemoryLimit]) -> None:
    """Let the models of one process count each other's bytes, and take turns; the limit is the largest of theirs."""
    sizes = [memory.model.beyond_process() for memory in memories]
    limit = max((memory.limit for memory in memories), default=0)
    for memory, size in zip(memories, sizes, strict=True):
        memory.join(memories[0], limit, sum(sizes) - size)


def resident_memory() -> int | None:
    """Read the bytes of this process that are in memory; None where the system does not report them."""
    try:
        return int(_STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError) as error:
        if not is_from_reading(error):
            raise
        return None
