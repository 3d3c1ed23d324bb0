"""Calls that wait their turn: first come, first served. Knows nothing of what they wait for.

A signal's handler may raise between any two steps of a call, and inside `threading`'s conditions would leave a lock
behind. So there is no lock: each step is one of dict's own, which nothing interrupts, and leaving needs one only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from .cancellation import Limits

_WAIT = 0.05  # seconds between two looks at whether a waiting call was ended

Bell = SimpleQueue[None]  # wakes the call that waits for it


class Queue:
    """Holds what calls have taken, and lets the next in once it fits; nobody overtakes, so nobody waits for ever.

    A child of a fork begins with an empty one: the calls that held something go on in the parent only.
    """

    def __init__(self) -> None:
        self._begin()

    @contextmanager
    def place(self, wanted: int, fits: Callable[[int], bool], limits: Limits) -> Iterator[None]:
        """Take `wanted` while the block lasts, once nobody waits before and `fits` of the sum that is taken already.

        Raises:
            CancelledError, DeadlineError: the call was ended while it waited.
        """
        if os.getpid() != self._process:
            self._begin()
        waiting, taken = self._waiting, self._taken
        bell: Bell = SimpleQueue()
        try:
            waiting[bell] = None
            while not (_first(waiting) is bell and fits(sum(list(taken.values())))):
                with contextlib.suppress(Empty):
                    bell.get(timeout=_WAIT)
                limits.check()
            taken[bell] = wanted
            del waiting[bell]
            _ring_first(waiting)
            yield
        finally:
            taken.pop(bell, None)
            waiting.pop(bell, None)
            _ring_first(waiting)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._waiting: dict[Bell, None] = {}
        self._taken: dict[Bell, int] = {}


def _first(waiting: dict[Bell, None]) -> Bell:
    return list(waiting)[0]  # noqa: RUF015 - another thread may change it between the two steps of an iterator


def _ring_first(waiting: dict[Bell, None]) -> None:
    for bell in list(waiting)[:1]:
        bell.put(None)
