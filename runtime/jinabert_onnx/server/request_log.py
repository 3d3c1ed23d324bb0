"""Middleware that gives every request an id, and notes its status and time for Prometheus and in the log.

The outermost one: what it notes is what the client got. Knows nothing of texts, and never logs one.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping

from .access_log import log_request
from .asgi import FIELDS, PROBE_PATHS, REQUEST_ID, App, ClientGoneError, Message, Receive, Send, header
from .metrics import Metrics

_SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")  # another one could forge lines of the log
_CLIENT_GONE = 499  # the status that is noted for a client that did not wait


class RequestLog:
    """The middleware; `routes` are the paths that are counted by name, all others together.

    With each stands the model that requests there are for, unless they say; empty if there is none or are several.
    """

    def __init__(self, app: App, metrics: Metrics, routes: Mapping[str, str]) -> None:
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Run the application, and note what came of it."""
        request_id = scope[REQUEST_ID] = _request_id(scope)
        model = self._routes.get(scope["path"], "")
        scope[FIELDS] = {"model": model} if model else {}
        status, start = 500, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode("ascii"))]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientGoneError:
            status = _CLIENT_GONE
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Message, status: int, seconds: float) -> None:
        path = scope["path"]
        route = path if path in self._routes else "other"
        self._metrics.answered(scope[FIELDS].get("model", ""), route, status, seconds)
        if path in PROBE_PATHS and status == 200:
            return  # they would fill the log
        fields = {"id": scope[REQUEST_ID], "method": scope["method"], "route": route, "status": status}
        log_request(fields | {"ms": round(seconds * 1000, 1)} | scope[FIELDS])


def _request_id(scope: Message) -> str:
    given = header(scope, b"x-request-id")
    return given.decode("ascii") if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
