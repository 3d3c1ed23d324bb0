"""Calls that wait their turn: first come, first served. Knows nothing of what they wait for."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .cancellation import Limits

_WAIT = 0.05  # seconds between two looks at whether a waiting call was ended


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
        changed, waiting, taken = self._changed, self._waiting, self._taken
        ticket = object()
        with changed:
            waiting.append(ticket)
            try:
                while waiting[0] is not ticket or not fits(sum(taken)):
                    changed.wait(_WAIT)
                    limits.check()
                taken.append(wanted)
            finally:
                waiting.remove(ticket)
                changed.notify_all()
        try:
            yield
        finally:
            with changed:
                taken.remove(wanted)
                changed.notify_all()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._taken: list[int] = []
