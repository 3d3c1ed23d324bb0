"""Middleware that answers 429 while too many requests are open or the queue is full, before a body is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jinabert_onnx.http.problems import Problem, RequestError

from .asgi import App, Message, Receive, Send, has_body

_MOST_OPEN = 512  # requests without an answer yet


class Admission:
    """The middleware; counts requests that are open."""

    def __init__(self, app: App, queues: Mapping[str, Callable[[], None]], report: Callable[[int], None]) -> None:
        """Ask the queue of a request's path, which raises if it is full; `report` is given each new count."""
        self._app, self._queues, self._report = app, queues, report
        self._open = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Run the application, unless there is too much to do already.

        Raises:
            RequestError: there is: 429.
        """
        self._count(1)
        try:
            if has_body(scope) and self._open > _MOST_OPEN:
                message = "too many open requests; try again"
                raise RequestError(Problem(429, message, "rate_limit_exceeded", retry_after=1))
            require_room = self._queues.get(scope["path"])
            if has_body(scope) and require_room:
                require_room()
            await self._app(scope, receive, send)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._open += change
        self._report(self._open)
