"""Room in memory for open requests: their bodies, the texts in them, and their answers until they are sent.

Used by the event loop's thread only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jinabert_onnx.engine.memory_model import give_back_freed
from jinabert_onnx.http.problems import Problem, RequestError

_LARGE = 2_000_000  # bytes of one request, after which freed memory is given back to the system
BODY = 4  # bytes that are held for one of a body: itself, and its texts, of which Python may take several for a letter


class Share:
    """What one request has taken of a room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.taken = 0  # bytes

    def take(self, size: int) -> None:
        """Take `size` bytes more, until the request ends.

        Raises:
            RequestError: there is no room beside others, 429, or for this request alone, 400.
        """
        if self.taken + size > self._room.size:
            message = f"the request takes more than the {self._room.size} bytes that there are for it; send it in parts"
            raise RequestError(Problem(400, message, "memory_limit", "input"))
        if self._room.taken + size > self._room.size:
            raise RequestError(Problem(429, "too many large requests", "rate_limit_exceeded", retry_after=1))
        self.taken += size
        self._room.taken += size


class Room:
    """`size` bytes for all open requests together."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0  # bytes
        self._used_much = False  # whether a large request has been in memory

    @contextmanager
    def share(self) -> Iterator[Share]:
        """What a request takes while the block lasts."""
        share = Share(self)
        try:
            yield share
        finally:
            self.taken -= share.taken
            self._used_much = self._used_much or share.taken > _LARGE
            if self._used_much and not self.taken:
                self._used_much = False
                give_back_freed()
