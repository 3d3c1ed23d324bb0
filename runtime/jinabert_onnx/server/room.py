"""Room in memory for open requests: their bodies, the texts in them, and their answers until they are sent.

Used by the event loop's thread only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jinabert_onnx.engine.memory_model import give_back_freed
from jinabert_onnx.http.problems import Problem, RequestError

# Bytes held for each byte of a body: the body itself, and its texts, of which Python may take several for a letter.
HELD_PER_BYTE = 4
_LARGE = 2_000_000  # bytes of one request, after which freed memory is given back to the system


class Room:
    """`size` bytes for all open requests together."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0  # bytes
        self._had_large = False

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Yield what a request takes while the block lasts."""
        share = Share(self)
        try:
            yield share
        finally:
            self._release(share)

    def _release(self, share: Share) -> None:
        self.taken -= share.taken
        self._had_large = self._had_large or share.taken > _LARGE
        if self._had_large and not self.taken:
            self._had_large = False
            give_back_freed()


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
            message = f"the request takes more than the {self._room.size} bytes available for it; send it in parts"
            raise RequestError(Problem(400, message, "memory_limit"))
        if self._room.taken + size > self._room.size:
            raise RequestError(Problem(429, "too many large requests", "rate_limit_exceeded", retry_after=1))
        self.taken += size
        self._room.taken += size
