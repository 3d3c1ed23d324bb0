"""A queue of calls: first come, first served. Knows nothing of what they wait for.

A signal handler may raise between any two steps of a call; inside `threading`'s conditions it would leave a lock held.
So there is no lock: each step is one operation of a dict, which nothing interrupts, and leaving takes only one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from .cancellation import Limits

_POLL_INTERVAL = 0.05  # seconds between two looks at whether a waiting call was ended

_Wakeup = SimpleQueue[None]  # wakes the call that waits for it


class Queue:
    """Lets calls take parts of something, in their order: the next one waits until it fits, and none is overtaken.

    A forked child begins with an empty queue: the calls that took something go on in the parent only.
    """

    def __init__(self) -> None:
        self._begin()

    @contextmanager
    def place(self, amount: int, fits: Callable[[int], bool], limits: Limits) -> Iterator[None]:
        """Take `amount` while the block lasts, once this call is the first in line and `fits(sum taken already)`.

        Raises:
            CancelledError, DeadlineError: the call was ended while it waited.
        """
        if os.getpid() != self._process:
            self._begin()
        waiting, taken = self._waiting, self._taken
        wakeup: _Wakeup = SimpleQueue()
        try:
            waiting[wakeup] = None
            while not (_first(waiting) is wakeup and fits(sum(list(taken.values())))):
                with contextlib.suppress(Empty):
                    wakeup.get(timeout=_POLL_INTERVAL)
                limits.check()
            taken[wakeup] = amount
            del waiting[wakeup]
            _wake_first(waiting)
            yield
        finally:
            taken.pop(wakeup, None)
            waiting.pop(wakeup, None)
            _wake_first(waiting)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._waiting: dict[_Wakeup, None] = {}
        self._taken: dict[_Wakeup, int] = {}


def _first(waiting: dict[_Wakeup, None]) -> _Wakeup:
    return list(waiting)[0]  # noqa: RUF015 - another thread may change it between the two steps of an iterator


def _wake_first(waiting: dict[_Wakeup, None]) -> None:
    for wakeup in list(waiting)[:1]:
        wakeup.put(None)
