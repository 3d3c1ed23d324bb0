"""One request's bytes to its answer's bytes, on the event loop: what takes long is done in threads.

Knows nothing of HTTP but statuses, through `http.problems`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.engine.cancellation import Cancellation, Limits
from jinabert_onnx.engine.memory_model import give_back_freed
from jinabert_onnx.errors import DeadlineError
from jinabert_onnx.http import embeddings, schema
from jinabert_onnx.http.embeddings import Policy, Work
from jinabert_onnx.http.reading import reading_memory
from jinabert_onnx.http.schema import EmbeddingsRequest

from .room import Share
from .scheduler import Scheduler

# Bytes of a body that is read on the event loop: handing it to a thread takes longer than tokenizing it.
_SMALL = 4096
_LARGE = 262_144  # bytes of a body that is read in the thread for large ones, so that others do not wait for it
_PER_CHANNEL, _PER_NUMBER = 8, 24  # bytes of memory: of a vector, twice; of a number in JSON, as its buffer grows
_MANY = 64  # vectors that are turned into JSON in a thread

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """The body of a response, and what it took."""

    body: bytes
    texts: int
    tokens: int


class Service:
    """Answers requests with one model. `close` it."""

    def __init__(self, model: LoadedModel, policy: Policy, scheduler: Scheduler, timeout: float) -> None:
        """Give each request `timeout` seconds."""
        self._model, self._policy, self._scheduler, self._timeout = model, policy, scheduler, timeout
        self._small = ThreadPoolExecutor(1, "jinabert-onnx texts")
        self._large = ThreadPoolExecutor(1, "jinabert-onnx large texts")

    async def answer(self, body: bytes, share: Share) -> Answer:
        """Return the answer to a request's body; the memory it takes counts in `share`.

        Raises:
            JinaBertError: there is none; `problem_of` says why.
        """
        try:
            async with asyncio.timeout(self._timeout):
                request, work = await self._in_thread(len(body), lambda cancellation: self._read(body, cancellation))
                share.take(self._size_of(request))
                await self._run(work)
                size = len(body) if len(request.input) < _MANY else _LARGE
                content = await self._in_thread(size, lambda _: embeddings.response_body(work, request, self._policy))
        except TimeoutError:
            raise DeadlineError(f"not done within {self._timeout:g} seconds") from None
        return Answer(content, len(request.input), work.tokens)

    def close(self) -> None:
        """End the threads."""
        self._small.shutdown(cancel_futures=True)
        self._large.shutdown(cancel_futures=True)

    def _size_of(self, request: EmbeddingsRequest) -> int:
        """Return the most bytes of memory that vectors and answer take."""
        manifest = self._model.bundle.manifest
        numbers = request.dimensions or manifest.dimensions
        return len(request.input) * (_PER_CHANNEL * manifest.model.hidden_size + _PER_NUMBER * numbers)

    def _read(self, body: bytes, cancellation: Cancellation) -> tuple[EmbeddingsRequest, Work]:
        memory = self._model.memory if len(body) > _SMALL else None  # the event loop, which reads those, must not wait
        limits = Limits(self._timeout, cancellation)
        try:
            with memory.room(reading_memory(body), limits) if memory else contextlib.nullcontext():
                request = schema.parse_request(body)
                return request, embeddings.plan(self._model, request, self._policy)
        finally:
            if len(body) > _LARGE:
                give_back_freed()

    async def _in_thread(self, size: int, call: Callable[[Cancellation], Result]) -> Result:
        """Return what `call` gives, from a thread unless it is small; ended early, nothing holds on to it any more."""
        cancellation = Cancellation()
        if size <= _SMALL:
            return call(cancellation)
        waiting = [call]  # taken by the thread; an executor keeps what it has not begun, and with it a request's body
        future = (self._small if size <= _LARGE else self._large).submit(lambda: waiting.pop()(cancellation))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:  # the time is up, or the client has gone
            waiting.clear()
            cancellation.cancel()
            if not future.cancelled():
                await asyncio.wait([asyncio.wrap_future(future)])
            raise
        finally:
            del future  # it holds the error that is raised, whose trace holds this frame: a circle, with the body in it

    async def _run(self, work: Work) -> None:
        """Wait until the scheduler has run every row; ended early, its rows are taken back."""
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[None] = loop.create_future()
        cancellation = Cancellation()
        job = self._scheduler.submit(
            work,
            Limits(None, cancellation),
            lambda error: _settle_from_thread(loop, finished, error),
        )
        try:
            await finished
        finally:
            if self._scheduler.end(job):  # the time is up, or the client has gone
                cancellation.cancel()


def _settle_from_thread(
    loop: asyncio.AbstractEventLoop, finished: asyncio.Future[None], error: BaseException | None
) -> None:
    """Settle a future of an event loop from another thread; nobody awaits it where the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle, finished, error)


def _settle(finished: asyncio.Future[None], error: BaseException | None) -> None:
    if finished.done():
        return
    if error is None:
        finished.set_result(None)
    else:
        finished.set_exception(error)
