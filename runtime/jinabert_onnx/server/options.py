"""What an operator chooses about a server, beyond the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from jinabert_onnx.errors import InputError

from .room import HELD_PER_BYTE

KEYS_VARIABLE = "JINABERT_ONNX_API_KEYS"
_LARGEST_BODIES = 16  # that may be in memory at a time
_LEAST_HELD = 64 << 20  # bytes: the answer to a request of many texts, however small bodies must be
_SHORTEST_KEY = 16  # characters: less can be guessed


@dataclass(frozen=True)
class Options:
    """How a server behaves.

    Attributes:
        timeout: seconds for one request, from its last byte to its answer.
        body_timeout: seconds in which a request's body must have come, and the client have read a piece of its answer.
        max_body: bytes of a body.
        held: bytes of memory for all open requests: bodies, their texts, answers.
        max_queue_tokens: tokens that may wait for a model. Less may wait where these would take longer than half of
            `timeout`.
        drain: seconds after SIGTERM in which accepted requests may end.
        keys: of which a request must bring one; none for everybody.
        json_log: whether the log is JSON lines.
    """

    timeout: float
    body_timeout: float
    max_body: int
    held: int
    max_queue_tokens: int
    drain: float
    keys: tuple[str, ...]
    json_log: bool


def held_memory(max_body: int) -> int:
    """Return the bytes of memory that open requests may hold, where a body may have `max_body` bytes."""
    return max(_LEAST_HELD, _LARGEST_BODIES * HELD_PER_BYTE * max_body)


def read_keys(path: str | None) -> tuple[str, ...]:
    """Return API keys from a file, one per line, or else from the environment variable, separated by commas.

    Raises:
        InputError: a file without a key, or a key that is too short or not printable ASCII.
        OSError: the file cannot be read.
    """
    if path is not None:
        keys = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
        source = path
    else:
        keys = [key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",")]
        source = KEYS_VARIABLE
    keys = [key for key in keys if key]
    if not keys and (path is not None or os.environ.get(KEYS_VARIABLE)):
        raise InputError(f"{source}: holds no API key")
    for number, key in enumerate(keys, start=1):
        if len(key) < _SHORTEST_KEY or not (key.isascii() and key.isprintable()) or " " in key:
            raise InputError(
                f"{source}: key {number} must be at least {_SHORTEST_KEY} printable ASCII characters without spaces"
            )
    return tuple(keys)
