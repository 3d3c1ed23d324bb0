"""The CPU threads that a model computes with: a number, as many as this process may use, or a pool shared with others.

Knows nothing of onnxruntime or models.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from jinabert_onnx.errors import InputError
from jinabert_onnx.text.inputs import require_range

from .cancellation import Limits
from .cpu import MAX_THREADS, available_threads
from .waiting import Queue


class SharedThreads:
    """CPU threads that several Embedders of one process share, so that together they compute with no more.

    They take turns, a batch at a time; each call waits until no other one computes.

        pool = SharedThreads(4)
        german, code = (Embedder.load(path, threads=pool) for path in ("base-de", "base-code"))

    Attributes:
        threads: how many.
        reason: where the number comes from, in words.
    """

    def __init__(self, threads: int | str = "auto") -> None:
        """Take `threads`, from 1 to 1024, or with "auto" what this process may use.

        Raises:
            InputError: out of range, or another word than "auto".
        """
        self.threads, self.reason = count_threads(threads)
        self._queue = Queue()

    def turn(self, limits: Limits) -> AbstractContextManager[None]:
        """Compute alone while the block lasts; a thread that holds a turn gives it up by taking another.

        Raises:
            CancelledError, DeadlineError: the call was ended while it waited.
        """
        return self._queue.place(1, lambda taken: taken == 0, limits)


def count_threads(threads: int | str) -> tuple[int, str]:
    """Return a number of threads and in words where it comes from, of a number or "auto".

    Raises:
        InputTypeError: neither an integer nor a word.
        InputError: out of range, or another word than "auto".
    """
    if isinstance(threads, str):
        if threads != "auto":
            raise InputError(f"threads {threads!r} is unknown; give a number or 'auto'")
        available = available_threads()
        return available.threads, available.reason
    return require_range("threads", threads, 1, MAX_THREADS), "as asked"
