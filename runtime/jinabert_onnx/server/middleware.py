"""What every request must pass before the application sees it: key, size, time; and what is noted of its answer.

A body is read whole, within its limits, before anything is done with it. A client that goes away ends its request.
Knows nothing of embeddings.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from jinabert_onnx.engine.memory_model import give_back_freed
from jinabert_onnx.errors import StateError
from jinabert_onnx.http.problems import Problem, RequestError, problem_of, require_uncompressed, trace_of

from .access_log import LOGGER, log_request
from .keys import Keys
from .metrics import Metrics
from .options import Options
from .room import BODY, Room
from .state import State

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = frozenset({"/health", "/ready", "/ping"})  # for probes, which have no key
SHARE = "jinabert_onnx.share"  # of the scope: the request's `Share` of memory
FIELDS = "jinabert_onnx.fields"  # of the scope: what the application adds to the request's line in the log

_MOST_OPEN = 512  # requests without an answer yet
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_LARGE = 1_000_000  # bytes
_SLICE = 65_536  # bytes
_DISCARD_SECONDS = 2.0
_GONE = 499  # the status that is noted for a client that did not wait


class ClientGoneError(Exception):
    """The client closed its connection."""


class Guard:
    """ASGI middleware around the application."""

    def __init__(
        self,
        app: App,
        options: Options,
        metrics: Metrics,
        state: State,
        admit: Callable[[str], None],
        routes: frozenset[str],
    ) -> None:
        """`admit` refuses a path that there is no room for; `routes` are the paths that are counted by name."""
        self._app, self._options, self._metrics, self._state = app, options, metrics, state
        self._admit, self._routes = admit, routes
        self._keys = Keys(options.keys)
        self._open = 0
        self._room = Room(options.held)
        self._grown = False  # whether a large answer has been in memory

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, _request_id(scope), self._state)
        start = time.perf_counter()
        scope[FIELDS] = {}
        answer.body_awaited = scope["method"] in ("POST", "PUT", "PATCH")
        try:
            self._require_key(scope)
            with self._counted():
                await self._handle(scope, receive, answer)
                self._grown = self._grown or answer.size > _LARGE
        except ClientGoneError:
            answer.status = _GONE
        except asyncio.CancelledError:  # the time to drain is up
            await answer.refuse(problem_of(StateError("the server has ended")), receive)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                LOGGER.error("request %s failed: %s", answer.request_id, trace_of(error))
            await answer.refuse(problem, receive)
        finally:
            self._note(scope, answer, time.perf_counter() - start)

    async def _handle(self, scope: Message, receive: Receive, answer: _Answer) -> None:
        if not answer.body_awaited:
            await self._app(scope, receive, answer.send)
            return
        if self._open > _MOST_OPEN:
            raise RequestError(Problem(429, "too many open requests; try again", "rate_limit_exceeded", retry_after=1))
        require_uncompressed(_header(scope, b"content-encoding").decode("latin-1"))
        self._admit(scope["path"])
        with self._room.share() as scope[SHARE]:
            body = await self._read(scope, receive)
            answer.body_awaited = False
            await _until_gone(lambda: self._app(scope, _replay(body), answer.send), receive)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """A request that is open while the block lasts."""
        self._open += 1
        self._metrics.open_requests.set(self._open)
        try:
            yield
        finally:
            self._open -= 1
            self._metrics.open_requests.set(self._open)
            if self._grown and not self._open:
                self._grown = False
                give_back_freed()

    def _require_key(self, scope: Message) -> None:
        given = _header(scope, b"authorization")
        if scope["path"] not in OPEN_PATHS and not self._keys.allow(given):
            told = "is not valid" if given else "is missing"
            raise RequestError(Problem(401, f"the API key {told}; send Authorization: Bearer KEY", "invalid_api_key"))

    async def _read(self, scope: Message, receive: Receive) -> bytes:
        """The body, which takes its share of memory as it comes."""
        parts: list[bytes] = []
        declared = _header(scope, b"content-length")
        if declared.isdigit():
            self._require_size(int(declared))
        size, more = 0, True
        try:
            async with asyncio.timeout(self._options.body_timeout):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    part = message.get("body", b"")
                    size, more = size + len(part), message.get("more_body", False)
                    self._require_size(size)
                    scope[SHARE].take(BODY * len(part))
                    parts.append(part)
        except TimeoutError:
            seconds = self._options.body_timeout
            raise RequestError(Problem(408, f"the body did not come within {seconds:g} s", "slow_body")) from None
        return b"".join(parts)

    def _require_size(self, size: int) -> None:
        limit = self._options.max_body
        if size > limit:
            message = f"the body has more than {limit} bytes; send the texts in parts"
            raise RequestError(Problem(413, message, "body_too_large"))

    def _note(self, scope: Message, answer: _Answer, seconds: float) -> None:
        path = scope["path"]
        route = path if path in self._routes else "other"
        self._metrics.answered(route, answer.status, seconds)
        if path in OPEN_PATHS and answer.status == 200:
            return  # probes come every few seconds
        fields = {"id": answer.request_id, "method": scope["method"], "route": route, "status": answer.status}
        log_request(fields | {"ms": round(seconds * 1000, 1)} | scope[FIELDS])


class _Answer:
    """The response on its way: adds what every response has, and remembers its status."""

    def __init__(self, send: Send, request_id: str, state: State) -> None:
        self._send, self._state, self.request_id = send, state, request_id
        self._started = False
        self.status = 500
        self.size = 0  # bytes
        self.body_awaited = False  # whether the client may still be sending

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._started = message["status"], True
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode("ascii"))]
            if self._state.draining:
                message["headers"].append((b"connection", b"close"))
        body = message.get("body", b"")
        self.size += len(body)
        sent = 0
        while len(body) - sent > _SLICE:  # what is sent at once is held until the client reads it
            await self._send({"type": message["type"], "body": body[sent : sent + _SLICE], "more_body": True})
            sent += _SLICE
        if sent:
            message["body"] = body[sent:]
        await self._send(message)

    async def refuse(self, problem: Problem, receive: Receive) -> None:
        if self._started:
            return
        body = problem.body()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode("ascii"))]
        if problem.retry_after is not None:
            headers.append((b"retry-after", str(problem.retry_after).encode("ascii")))
        if problem.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if problem.status == 408:
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        if self.body_awaited and problem.status != 408:
            await _discard(receive)
        await self.send({"type": "http.response.body"})


async def _until_gone(run: Callable[[], Awaitable[None]], receive: Receive) -> None:
    """Run to the end, or until the client has gone.

    Raises:
        ClientGoneError: the client has gone, and `run` was cancelled.
    """
    work = asyncio.ensure_future(run())
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


async def _discard(receive: Receive) -> None:
    """Read what is left of a body for a while: closing before that would take the answer from a client that sends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while (await receive()).get("more_body", False):
                pass


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes) -> Receive:
    """A `receive` that gives the body once, and then waits."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("this waits until it is cancelled")

    return receive


def _header(scope: Message, name: bytes) -> bytes:
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")


def _request_id(scope: Message) -> str:
    given = _header(scope, b"x-request-id")
    return given.decode("ascii") if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
