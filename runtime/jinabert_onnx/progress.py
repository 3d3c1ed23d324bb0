"""A progress line on a terminal: share done, rate, time left. Writes to stderr, knows nothing of the work."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

_WIDTH, _LEAST = 24, 4  # characters of the bar, and what is too few to show anything
_COLUMNS = 80  # where there is no terminal that tells
_INTERVAL = 0.1  # seconds between redraws


class Progress:
    """Counts up to `total`, and draws once `delay` seconds have passed, so that short work stays silent.

        with Progress(len(texts), "texts", enabled=None) as progress:
            progress.advance(32)

    Args:
        total: how many there are; None if unknown, which shows the count and the rate alone.
        unit: what is counted, in the plural.
        enabled: True draws at once and anywhere; None only where `stream` is a terminal, after `delay`.
        delay: seconds before the first drawing.
        stream: where to draw; default stderr.
        done: how many were done before; they do not count for the rate.
    """

    def __init__(
        self,
        total: int | None,
        unit: str,
        enabled: bool | None,
        delay: float = 2.0,
        stream: TextIO | None = None,
        done: int = 0,
    ) -> None:
        self._stream = stream or sys.stderr
        self._total, self._unit, self._done, self._done_before = total, unit, done, done
        usable = self._stream is not None and not self._stream.closed  # a service may have no stderr
        self._enabled = usable and (self._stream.isatty() if enabled is None else enabled)
        self._start = time.monotonic()
        self._next_draw = self._start + (0.0 if enabled else delay)
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._drawn:
            self._draw()
            self._stream.write("\n")
            self._stream.flush()

    def advance(self, count: int) -> None:
        """Add `count` to those that are done, and redraw if it is time."""
        self._done += count
        if self._enabled and time.monotonic() >= self._next_draw:
            self._draw()

    def _draw(self) -> None:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        self._next_draw = self._start + elapsed + _INTERVAL
        self._drawn = True
        rate = (self._done - self._done_before) / elapsed
        room = self._columns() - 1  # a terminal would go on to the next line behind its last column
        self._stream.write(f"\r{self._state(rate, room)[:room]}\x1b[K")
        self._stream.flush()

    def _columns(self) -> int:
        """The width of the terminal now; it may change at any time."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except (OSError, ValueError, AttributeError):  # no terminal, or a stream that is no file
            return _COLUMNS

    def _state(self, rate: float, room: int) -> str:
        if self._total is None:
            return f"{self._done} {self._unit}, {rate:.1f}/s"
        seconds_left = (self._total - self._done) / rate if rate else 0.0
        numbers = f"{self._done}/{self._total} {self._unit}, {rate:.1f}/s, {_duration(seconds_left)} left"
        width = min(_WIDTH, room - len(numbers) - len("[] "))
        if width < _LEAST:
            return numbers
        filled = width * self._done // max(1, self._total)
        return f"[{'#' * filled}{'.' * (width - filled)}] {numbers}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
