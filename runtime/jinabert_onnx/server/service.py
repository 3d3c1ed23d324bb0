"""One request's bytes to its answer's bytes, on the event loop: what takes long is done in threads.

Knows nothing of HTTP but statuses, through `http.problems`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from jinabert_onnx.engine.cancellation import Cancellation, Limits
from jinabert_onnx.engine.memory_model import give_back_freed
from jinabert_onnx.errors import DeadlineError
from jinabert_onnx.http.reading import reading_memory
from jinabert_onnx.http.served import Served
from jinabert_onnx.http.work import Plan, Work

from .room import Share
from .scheduler import Scheduler

# Bytes of a body that is read on the event loop: handing it to a thread takes longer than tokenizing it.
_SMALL = 4096
_LARGE = 262_144  # bytes of a body that is read in the thread for large ones, so that others do not wait for it
_MANY = 64  # texts, vectors or documents that are read, or turned into JSON, in a thread

Fields = dict[str, object]  # of the request's line in the log

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """The body of a response, and the model that it is of."""

    body: bytes
    served: Served


class Service:
    """Answers requests with several models. `close` it."""

    def __init__(self, models: Sequence[Served], scheduler: Scheduler, timeout: float) -> None:
        """Give each request `timeout` seconds."""
        self._models, self._scheduler, self._timeout = models, scheduler, timeout
        self._memory = models[0].model.memory  # a limit is one of the process, and all models have it
        self._small = ThreadPoolExecutor(1, "jinabert-onnx texts")
        self._large = ThreadPoolExecutor(1, "jinabert-onnx large texts")

    async def answer(self, plan: Plan, body: bytes, share: Share, fields: Fields) -> Answer:
        """Return the answer to a request's body; the memory it takes counts in `share`, what it was goes to `fields`.

        Raises:
            JinaBertError: there is none; `problem_of` says why.
        """
        try:
            async with asyncio.timeout(self._timeout):
                work = await self._in_thread(_reading_size(body), partial(self._read, plan, body))
                fields.update(model=work.served.name)
                share.take(work.held)
                await self._run(work)
                size = len(body) if work.items < _MANY else _LARGE
                content = await self._in_thread(size, lambda _: work.answer())
        except TimeoutError:
            raise DeadlineError(f"not done within {self._timeout:g} seconds") from None
        fields.update(texts=work.items, tokens=work.tokens)
        return Answer(content, work.served)

    def close(self) -> None:
        """End the threads."""
        self._small.shutdown(cancel_futures=True)
        self._large.shutdown(cancel_futures=True)

    def _read(self, plan: Plan, body: bytes, cancellation: Cancellation) -> Work:
        is_small = _reading_size(body) <= _SMALL  # the event loop, which reads those, must not wait
        memory = None if is_small else self._memory
        limits = Limits(self._timeout, cancellation)
        try:
            with memory.room(reading_memory(body), limits) if memory else contextlib.nullcontext():
                return plan(self._models, body)
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


def _reading_size(body: bytes) -> int:
    """Return the bytes of a body, or more where it has so many items that they take longer than their bytes."""
    if len(body) > _SMALL:  # counting in a large one would hold up the event loop
        return len(body)
    return len(body) if body.count(b",") < _MANY else _SMALL + 1


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
