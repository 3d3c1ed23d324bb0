"""Middleware that answers 429 while too many requests are open or the queue is full, before a body is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from jinabert_onnx.http.problems import Problem, RequestError

from .asgi import App, Message, Receive, Send, has_body

_MOST_OPEN = 512  # requests to one path without an answer yet


class Admission:
    """The middleware; counts requests that are open."""

    def __init__(self, app: App, queues: Mapping[str, Callable[[], None]], report: Callable[[int], None]) -> None:
        """Ask the queue of a request's path, which raises if it is full; `report` is given each new count."""
        self._app, self._queues, self._report = app, queues, report
        self._open: Counter[str] = Counter()  # by path; those without a queue are one

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Run the application, unless there is too much to do already.

        Raises:
            RequestError: there is: 429.
        """
        path = scope["path"] if scope["path"] in self._queues else ""
        self._count(path, 1)
        try:
            if has_body(scope) and self._open[path] > _MOST_OPEN:
                message = "too many open requests; try again"
                raise RequestError(Problem(429, message, "rate_limit_exceeded", retry_after=1))
            if has_body(scope) and path:
                self._queues[path]()
            await self._app(scope, receive, send)
        finally:
            self._count(path, -1)

    def _count(self, path: str, change: int) -> None:
        self._open[path] += change
        self._report(self._open.total())
