"""Ending a call early: from another thread, or when its time is up. Knows nothing of models.

A running model is ended between two of its operators: within some tens of milliseconds at base size.
"""

from __future__ import annotations

import numbers
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from jinabert_onnx.errors import CancelledError, DeadlineError, InputError, InputTypeError


class RunOptions(Protocol):
    """The part of onnxruntime's RunOptions that ends a run: it stops once `terminate` is set."""

    terminate: bool


class Cancellation:
    """Ends every call it is given to, from any thread, and all that are given it later.

    stop = Cancellation()
    threading.Timer(5, stop.cancel).start()
    model.encode(texts, cancellation=stop)  # raises CancelledError after five seconds
    """

    def __init__(self) -> None:
        # Without a lock: a signal handler that raises where one is waited for would leave options behind.
        self._running: dict[object, RunOptions] = {}
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Return whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """End the calls; they raise a CancelledError. Calling it again changes nothing."""
        self._cancelled = True
        for options in self._running.copy().values():
            options.terminate = True

    @contextmanager
    def ending(self, options: RunOptions) -> Iterator[None]:
        """Let `cancel` end the run that has these options, while the block lasts."""
        call = object()
        try:
            self._running[call] = options
            if self._cancelled:  # looked at last: a `cancel` that does not see these options yet is seen here
                options.terminate = True
            yield
        finally:
            self._running.pop(call, None)


class Limits:
    """Limits of one call: ended after `timeout` seconds (None: never), or by its Cancellation (None: never)."""

    def __init__(self, timeout: float | None = None, cancellation: Cancellation | None = None) -> None:
        """Start the clock.

        Raises:
            InputTypeError: `timeout` is not a number, or `cancellation` not a Cancellation.
            InputError: `timeout` is not above 0.
        """
        if timeout is not None and (not isinstance(timeout, numbers.Real) or isinstance(timeout, bool)):
            raise InputTypeError(f"timeout is {type(timeout).__name__}, not a number of seconds")
        if timeout is not None and not timeout > 0:
            raise InputError(f"timeout is {timeout}; it must be above 0 seconds")
        if timeout is not None and timeout > threading.TIMEOUT_MAX:
            timeout = None
        timeout = None if timeout is None else float(timeout)
        if cancellation is not None and not isinstance(cancellation, Cancellation):
            raise InputTypeError(f"cancellation is {type(cancellation).__name__}, not a Cancellation")
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._cancellation = cancellation

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def check(self) -> None:
        """Return if the call may go on.

        Raises:
            CancelledError: it was cancelled.
            DeadlineError: its time is up.
        """
        if self.seconds_left == 0 or (self._cancellation is not None and self._cancellation.cancelled):
            raise self.error()

    def error(self) -> CancelledError | DeadlineError:
        """Return the error for a call that was ended: cancelled, or out of time."""
        if self._cancellation is not None and self._cancellation.cancelled:
            return CancelledError("the call was cancelled")
        return DeadlineError(f"not done within {self._timeout:g} seconds; give fewer or shorter texts, or more time")

    @contextmanager
    def ending(self, options: RunOptions) -> Iterator[None]:
        """Let the deadline and the Cancellation end the run that has these options, while the block lasts."""
        timer = None
        if self.seconds_left is not None:
            timer = threading.Timer(self.seconds_left, setattr, (options, "terminate", True))
            timer.daemon = True
        try:
            if timer is not None:
                timer.start()
            if self._cancellation is None:
                yield
            else:
                with self._cancellation.ending(options):
                    yield
        finally:
            if timer is not None:
                timer.cancel()
