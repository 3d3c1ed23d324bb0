"""A queue of calls: first come, first served. Knows nothing of what they wait for.

A signal handler may raise between any two steps of a call; inside `threading`'s conditions it would leave a lock held.
So there is no lock: each step is one operation of a dict, which nothing interrupts, and leaving takes only one.
"""

from __future__ import annotations

import contextlib
import os
from _thread import get_ident
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TypeVar

from .cancellation import Limits

_POLL_INTERVAL = 0.05  # seconds between two looks at whether a waiting call was ended

_Wakeup = SimpleQueue[None]  # wakes the call that waits for it
_Entry = tuple[int, _Wakeup]  # of a call: its thread, and what wakes it
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Queue:
    """Lets calls take parts of something, in their order: the next one waits until it fits, and none is overtaken.

    A thread has one place at a time: a second one replaces it. A forked child begins with an empty queue: the calls
    that took something go on in the parent only.
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
        entries = self._entries
        wakeup: _Wakeup = SimpleQueue()
        forget_interrupted(entries)
        entry = (get_ident(), wakeup)
        try:
            entries[entry] = None
            while not (_first(entries) is wakeup and fits(_sum_taken(entries))):
                with contextlib.suppress(Empty):
                    wakeup.get(timeout=_POLL_INTERVAL)
                limits.check()
            entries[entry] = amount
            _wake_first(entries)
            yield
        finally:
            entries.pop(entry, None)
            _wake_first(entries)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._entries: dict[_Entry, int | None] = {}  # what each call has taken, None while it waits; in their order


def forget_interrupted(entries: dict[tuple[int, _Key], _Value]) -> None:
    """Remove what earlier calls of this thread left in `entries`, whose keys begin with a thread.

    An exception that a signal handler raises as contextlib enters or leaves a generator's block does not reach the
    generator, which then ends, and removes its entry, only once the exception is gone.
    """
    thread = get_ident()
    for key in list(entries):
        if key[0] == thread:
            entries.pop(key, None)


def _first(entries: dict[_Entry, int | None]) -> _Wakeup | None:
    """Return what wakes the call that is the first in line."""
    # A copy, since another thread may change it between two steps of an iterator.
    return next((wakeup for (_, wakeup), taken in entries.copy().items() if taken is None), None)


def _sum_taken(entries: dict[_Entry, int | None]) -> int:
    return sum(taken for taken in entries.copy().values() if taken is not None)


def _wake_first(entries: dict[_Entry, int | None]) -> None:
    wakeup = _first(entries)
    if wakeup is not None:
        wakeup.put(None)
