"""Middleware that asks for an API key before anything else of a request is looked at."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from jinabert_onnx.http.problems import Problem, RequestError

from .asgi import PROBE_PATHS, App, Message, Receive, Send, header


def require_key(app: App, keys: Sequence[str]) -> App:
    """Return `app`, of which all but the probes needs one of `keys`; without any, everybody may come in."""
    known = [key.encode("ascii") for key in keys]

    async def checking(scope: Message, receive: Receive, send: Send) -> None:
        given = header(scope, b"authorization")
        if known and scope["path"] not in PROBE_PATHS and not _is_known(given, known):
            why = "is not valid" if given else "is missing"
            raise RequestError(Problem(401, f"the API key {why}; send Authorization: Bearer KEY", "invalid_api_key"))
        await app(scope, receive, send)

    return checking


def _is_known(authorization: bytes, keys: Sequence[bytes]) -> bool:
    """Return whether the value of an Authorization header is "Bearer" and one of the keys."""
    scheme, _, given = authorization.strip().partition(b" ")
    matches = [hmac.compare_digest(given.strip(), key) for key in keys]  # all, so that the time it takes tells nothing
    return scheme.lower() == b"bearer" and any(matches)
