"""Middleware that sends answers in pieces, and gives up on a client that stops reading its answer.

What is sent at once is held in memory until the client has read it; what a request holds, others cannot have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from .asgi import App, ClientGoneError, Message, Receive, Send

_PIECE = 65_536  # bytes


def end_slow_readers(app: App, seconds: float) -> App:
    """Return `app`, of whose answers a client must take each piece of 64 KiB within `seconds`.

    Raises:
        ClientGoneError: it did not.
    """

    async def sending(scope: Message, receive: Receive, send: Send) -> None:
        async def send_pieces(message: Message) -> None:
            for piece in _pieces(message):
                try:
                    async with asyncio.timeout(seconds):
                        await send(piece)
                except TimeoutError:
                    raise ClientGoneError from None

        await app(scope, receive, send_pieces)

    return sending


def _pieces(message: Message) -> Iterator[Message]:
    """Yield a message of ASGI as several with short bodies."""
    body, sent = message.get("body", b""), 0
    while len(body) - sent > _PIECE:
        yield {"type": message["type"], "body": body[sent : sent + _PIECE], "more_body": True}
        sent += _PIECE
    yield {**message, "body": body[sent:]} if sent else message
