"""Middleware that reads a request's body, within its limits of size, time and memory, before the application runs.

A client that goes away meanwhile, or while the application runs, ends its request.
"""

from __future__ import annotations

import asyncio

from jinabert_onnx.http.problems import Problem, RequestError, require_uncompressed

from .asgi import App, ClientGoneError, Message, Receive, Send, has_body, header
from .room import HELD_PER_BYTE, Room, Share

SHARE = "jinabert_onnx.share"  # of the scope: the request's `Share` of memory


class WholeBody:
    """The middleware; bodies take what they hold in memory from `room`."""

    def __init__(self, app: App, room: Room, max_size: int, seconds: float) -> None:
        """Refuse bodies of more than `max_size` bytes, and those that take longer than `seconds` to come."""
        self._app, self._room, self._max_size, self._seconds = app, room, max_size, seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Read the body, if the request has one, and run the application on it.

        Raises:
            RequestError: it is compressed, 415; too large, 413; too slow, 408; or there is no room for it, 400 or 429.
            ClientGoneError: the client has gone.
        """
        if not has_body(scope):
            await self._app(scope, receive, send)
            return
        require_uncompressed(header(scope, b"content-encoding").decode("latin-1"))
        with self._room.share() as share:
            scope[SHARE] = share
            await self._read_and_run(scope, share, receive, send)

    async def _read_and_run(self, scope: Message, share: Share, receive: Receive, send: Send) -> None:
        declared = header(scope, b"content-length")
        if declared.isdigit():
            self._require_size(int(declared))
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(share, receive)
        except TimeoutError:
            message = f"the body did not come within {self._seconds:g} s"
            raise RequestError(Problem(408, message, "slow_body")) from None
        await _run_until_gone(self._app, scope, body, receive, send)

    async def _read(self, share: Share, receive: Receive) -> bytes:
        """Return the body, whose parts take their share of memory as they come."""
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            size, more = size + len(part), message.get("more_body", False)
            self._require_size(size)
            share.take(HELD_PER_BYTE * len(part))
            parts.append(part)
        return b"".join(parts)

    def _require_size(self, size: int) -> None:
        if size > self._max_size:
            message = f"the body has more than {self._max_size} bytes; send the texts in parts"
            raise RequestError(Problem(413, message, "body_too_large"))


async def _run_until_gone(app: App, scope: Message, body: bytes, receive: Receive, send: Send) -> None:
    """Run the application on a body to its end, or until the client has gone, which cancels it."""
    work = asyncio.ensure_future(app(scope, _replay(body), send))
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
            raise ClientGoneError
        work.result()
    finally:
        gone.cancel()
        work.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes) -> Receive:
    """Return a `receive` that gives the body once, and then waits."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("this waits until it is cancelled")

    return receive
