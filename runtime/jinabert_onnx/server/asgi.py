"""The types of ASGI, and what several middlewares read of a request. Knows no server and no application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PROBE_PATHS = frozenset({"/health", "/ready", "/ping"})  # asked every few seconds, without a key
FIELDS = "jinabert_onnx.fields"  # of the scope: what the application adds to the request's line in the log
REQUEST_ID = "jinabert_onnx.request_id"  # of the scope


class ClientGoneError(Exception):
    """The client closed its connection, or stopped reading its answer."""


def has_body(scope: Message) -> bool:
    """Return whether a request's method is one that comes with a body."""
    return scope["method"] in ("POST", "PUT", "PATCH")


def header(scope: Message, name: bytes) -> bytes:
    """Return the value of the first header of this lower-case name, or nothing."""
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")
