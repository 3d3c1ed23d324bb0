"""Middleware that answers a request whose handling raised an error: with its status, in OpenAI's shape.

Knows nothing of what can go wrong; `http.problems` does.
"""

from __future__ import annotations

import asyncio
import contextlib

from jinabert_onnx.errors import StateError
from jinabert_onnx.http.problems import Problem, problem_of, trace_of

from .access_log import LOGGER
from .asgi import REQUEST_ID, App, ClientGoneError, Message, Receive, Send, has_body

_DISCARD_SECONDS = 2.0


def respond_to_errors(app: App) -> App:
    """Return `app`, of which errors become answers, but for `ClientGoneError`."""

    async def answering(scope: Message, receive: Receive, send: Send) -> None:
        exchange = _Exchange(scope, receive, send)
        try:
            await app(scope, exchange.receive, exchange.send)
        except ClientGoneError:
            raise
        except asyncio.CancelledError:  # the time to drain is up
            await exchange.refuse(problem_of(StateError("the server has ended")))
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                LOGGER.error("request %s failed: %s", scope[REQUEST_ID], trace_of(error))
            await exchange.refuse(problem)

    return answering


class _Exchange:
    """One request and its answer, as far as they have come."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._body_awaited = has_body(scope)  # whether the client may still be sending
        self._started = False  # the answer

    async def receive(self) -> Message:
        message = await self._receive()
        self._body_awaited = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        self._started = True
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self._started:
            return
        body, headers = problem.body(), problem.headers() | {"content-type": "application/json"}
        headers["content-length"] = str(len(body))
        too_slow = problem.status == 408
        if too_slow:
            headers["connection"] = "close"
        encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        if self._body_awaited and not too_slow:
            await self._discard_body()
        await self.send({"type": "http.response.body"})

    async def _discard_body(self) -> None:
        """Read what is left for a while: closing before that would take the answer from a client that sends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                while self._body_awaited:
                    await self.receive()
