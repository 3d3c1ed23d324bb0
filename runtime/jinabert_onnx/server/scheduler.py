"""Continuous batching: rows of all requests, merged into batches by two workers, one of them for long rows.

A batch is of one model. A row of more tokens than a batch holds runs alone, in a worker of its own, so that short
requests do not wait for it: they run beside it. However many models there are, no more than these two batches run at a
time. Knows nothing of HTTP.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from jinabert_onnx.encoding.pooling import Vectors
from jinabert_onnx.encoding.steps import batches_of, running
from jinabert_onnx.engine.batching import TOKEN_BUDGETS
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import BundleChangedError, CancelledError, DeadlineError, StateError
from jinabert_onnx.http.problems import Problem, RequestError, trace_of
from jinabert_onnx.http.served import Served
from jinabert_onnx.http.work import Work

from .fair_queue import FairQueue, Row
from .metrics import Metrics
from .model_queues import ModelQueues

_SMOOTHING = 0.1  # weight of the newest batch in the rate

logger = logging.getLogger("jinabert_onnx.server")


@dataclass(eq=False)
class Job:
    """One request's work on its way.

    Attributes:
        work: its model and its rows.
        limits: how it may end early.
        done: called once, from a worker, with None or what went wrong.
        left: rows that have not run.
        counted: whether its rows are in the metrics.
        ended: whether `done` was called, or nobody awaits it.
    """

    work: Work
    limits: Limits
    done: Callable[[BaseException | None], None]
    left: int
    counted: bool = True
    ended: bool = False
    since: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class _Load:
    """How much waits for one model, and how fast it runs: in tokens, and in tokens a second."""

    waiting: int = 0
    rate: float = 0.0


class Scheduler:
    """Runs the rows of jobs, each on its model. `close` it."""

    def __init__(self, models: Sequence[Served], max_queue_tokens: int, max_wait: float, metrics: Metrics) -> None:
        """Refuse work for a model while `max_queue_tokens` wait for it, or they take longer than `max_wait` seconds."""
        self._max_queue_tokens, self._max_wait = max_queue_tokens, max_wait
        self._metrics = metrics
        self._loads = {served: _Load() for served in models}
        self._changed = threading.Condition()
        self._closed = False
        self._short = ModelQueues({served: FairQueue(_budget(served), _fitting(served)) for served in models})
        self._long = ModelQueues({served: FairQueue(0) for served in models})
        self._workers = [
            threading.Thread(target=self._serve, args=(queues,), name=f"jinabert-onnx {name}", daemon=True)
            for name, queues in (("batches", self._short), ("long texts", self._long))
        ]
        for worker in self._workers:
            worker.start()

    def waiting_tokens(self, served: Served) -> int:
        """Return how many tokens wait or run on a model."""
        return self._loads[served].waiting

    def require_room(self, served: Served, tokens: int = 1) -> None:
        """Return if work of so many tokens may come for a model; any may while nothing waits for it.

        Raises:
            RequestError: its queue is full: 429.
        """
        problem = self._full(served, tokens)
        if problem is not None:
            raise RequestError(problem)

    def require_room_in_any(self, models: Sequence[Served]) -> None:
        """Return unless the queues of all these models are full.

        Raises:
            RequestError: they are: 429.
        """
        problems = [problem for served in models if (problem := self._full(served, 1)) is not None]
        if problems and len(problems) == len(models):
            raise RequestError(problems[0])

    def _full(self, served: Served, tokens: int) -> Problem | None:
        waiting, wait = self._loads[served].waiting, self._wait(served)
        if not waiting or (waiting + tokens <= self._max_queue_tokens and wait <= self._max_wait):
            return None
        seconds = max(1, math.ceil(wait))
        message = f"the server is busy ({waiting} tokens wait); try again in {seconds} s"
        return Problem(429, message, "rate_limit_exceeded", retry_after=seconds)

    def _wait(self, served: Served) -> float:
        """Estimate the seconds in which all that waits for a model has run.

        Meanwhile each other model is given as many tokens, if so many wait for it.
        """
        waiting = self._loads[served].waiting
        return sum(min(load.waiting, waiting) / load.rate for load in self._loads.values() if load.rate)

    def submit(
        self, work: Work, limits: Limits, done: Callable[[BaseException | None], None], counted: bool = True
    ) -> Job:
        """Queue the rows of `work`; `done` is called from another thread.

        Raises:
            RequestError: the queue is full.
            MemoryLimitError: a row does not fit into the memory that the model may take.
            StateError: closed.
        """
        served, lengths = work.served, [len(ids) for ids in work.input_ids]
        if served.model.memory is not None:  # refuses what cannot fit
            batches_of(served.model, lengths, len(lengths))
        job = Job(work, limits, done, left=len(lengths), counted=counted)
        budget, rows = _budget(served), list(enumerate(lengths))
        with self._changed:
            if self._closed:
                raise StateError("the server is shutting down")
            self.require_room(served, sum(lengths))
            self._loads[served].waiting += sum(lengths)
            self._short.add(served, job, [(index, tokens) for index, tokens in rows if tokens <= budget])
            self._long.add(served, job, [(index, tokens) for index, tokens in rows if tokens > budget])
            self._changed.notify_all()
        return job

    def end(self, job: Job) -> bool:
        """Drop the rows of a job that nobody awaits any more; return whether it had not ended before."""
        with self._changed:
            first, job.ended = not job.ended, True
            for queues in (self._short, self._long) if job.left else ():
                self._settle(queues.remove(job))
        return first

    def close(self) -> None:
        """Fail every queued job, and return once the batches that run have ended."""
        with self._changed:
            self._closed = True
            rows = [row for queues in (self._short, self._long) for row in queues.take_all()]
            self._settle(rows)
            self._changed.notify_all()
        self._fail(rows, StateError("the server is shutting down"))
        for worker in self._workers:
            worker.join()

    def _settle(self, rows: list[Row]) -> None:
        """Count the tokens of rows as no longer waiting."""
        for row in rows:
            self._loads[row.owner.work.served].waiting -= row.tokens

    def _serve(self, queues: ModelQueues[Served]) -> None:
        while True:
            with self._changed:
                while not queues and not self._closed:
                    self._changed.wait()
                if not queues:
                    return
                rows = queues.take()
            self._run(rows)
            with self._changed:
                self._settle(rows)

    def _run(self, rows: list[Row]) -> None:
        """Run rows as one batch; where it fails, each alone, so that one request's trouble is not another's."""
        rows = [row for row in rows if not row.owner.ended]
        if not rows:
            return
        try:
            self._run_batch(rows)
        except (CancelledError, DeadlineError, BundleChangedError) as error:
            self._fail(rows, error)
        except Exception as error:
            if len(rows) > 1:
                logger.warning("a batch of %d rows failed (%s); running each alone", len(rows), type(error).__name__)
                for row in rows:
                    self._run([row])
                return
            logger.error("a row failed: %s", trace_of(error))
            self._fail(rows, error)

    def _run_batch(self, rows: list[Row]) -> None:
        start = time.monotonic()
        limits = rows[0].owner.limits if len(rows) == 1 else Limits()  # several requests end together or not at all
        works: list[Work] = [row.owner.work for row in rows]
        batch = [work.input_ids[row.index] for work, row in zip(works, rows, strict=True)]
        types = [work.token_type_ids[row.index] for work, row in zip(works, rows, strict=True) if work.token_type_ids]
        with running(works[0].served.model, batch, limits, types or None) as (outputs, _):
            self._note(works[0].served, rows, start)
            for row, output in zip(rows, outputs, strict=True):
                self._take(row, output)

    def _take(self, row: Row, output: Vectors) -> None:
        job: Job = row.owner
        try:
            job.work.take(row.index, output)
        except Exception as error:  # of this request; the others of the batch go on
            self._fail([row], error)
            return
        with self._changed:
            job.left -= 1
            finished = job.left == 0
        if finished and self.end(job):
            job.done(None)

    def _note(self, served: Served, rows: list[Row], start: float) -> None:
        tokens, seconds = sum(row.tokens for row in rows), time.monotonic() - start
        if 2 * tokens >= _budget(served):  # smaller batches say little of what a full queue takes
            load = self._loads[served]
            load.rate += (tokens / max(seconds, 1e-6) - load.rate) * (_SMOOTHING if load.rate else 1.0)
        counted = [row for row in rows if row.owner.counted]
        if counted:
            self._metrics.batch(served.name, len(counted), sum(row.tokens for row in counted), seconds)
        for row in counted:
            self._metrics.waited(served.name, start - row.owner.since)

    def _fail(self, rows: list[Row], error: BaseException) -> None:
        for row in rows:
            if self.end(row.owner):
                row.owner.done(error)


def _budget(served: Served) -> int:
    return TOKEN_BUDGETS[served.model.session.provider]


def _fitting(served: Served) -> Callable[[Sequence[int]], bool]:
    """Return what says whether rows of such lengths, run together, stay within the memory that the model may take."""
    memory = served.model.memory
    return lambda lengths: memory is None or memory.peak(lengths) <= memory.limit


def warm_up(scheduler: Scheduler, models: Sequence[Served], seconds: float) -> None:
    """Run a short, a middling and a full batch on each model, so that first requests need not; `seconds` at most."""
    end = time.monotonic() + seconds
    for served in models:
        for tokens in (16, 128, TOKEN_BUDGETS["cpu"]):
            if (left := end - time.monotonic()) > 0:
                _run_once(scheduler, served, tokens, left)


def _run_once(scheduler: Scheduler, served: Served, tokens: int, seconds: float) -> None:
    """Run a row of so many tokens, for `seconds` at most."""
    row = np.zeros(tokens, dtype=np.int64)
    types = [row] if served.model.session.takes_token_types else None
    work = Work(served, [row], types, lambda index, output: None, bytes, items=1, tokens=tokens, held=0)
    finished = threading.Event()
    job = scheduler.submit(work, Limits(seconds), lambda error: finished.set(), counted=False)
    if not finished.wait(seconds):
        scheduler.end(job)
