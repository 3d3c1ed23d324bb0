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
    """How much of one model waits for a worker, and how fast it runs: in tokens, and in tokens a second.

    `ended` is when the worker last ran it, if more has waited since: until it runs again others have their turn.
    """

    waiting: int = 0
    rate: float = 0.0
    ended: float | None = None


class _Line:
    """What waits for one worker."""

    def __init__(self, queues: ModelQueues[Served], models: Sequence[Served]) -> None:
        self.queues = queues
        self.loads = {served: _Load() for served in models}

    def add(self, job: Job, rows: Sequence[tuple[int, int]]) -> None:
        """Append rows (index, tokens) of a job."""
        load = self.loads[job.work.served]
        if not load.waiting:  # what waited may have been dropped since the worker last ran it
            load.ended = None
        self.queues.add(job.work.served, job, rows)
        load.waiting += sum(tokens for _, tokens in rows)

    def settle(self, rows: Sequence[Row]) -> None:
        """Count the tokens of rows as no longer waiting."""
        for row in rows:
            self.loads[row.owner.work.served].waiting -= row.tokens

    def note_rate(self, served: Served, tokens: int, start: float) -> None:
        """Follow how fast a model runs, the turns of others included, after a batch of so many tokens has.

        Small batches say little of what a full queue takes.
        """
        load, end = self.loads[served], time.monotonic()
        if 2 * tokens >= _budget(served):
            rate = tokens / max(end - (start if load.ended is None else load.ended), 1e-6)
            load.rate += (rate - load.rate) * (_SMOOTHING if load.rate else 1.0)
        load.ended = end if load.waiting else None

    def wait(self, served: Served) -> float:
        """Estimate the seconds until all that waits for a model has run."""
        load = self.loads[served]
        return load.waiting / load.rate if load.rate else 0.0


class Scheduler:
    """Runs the rows of jobs, each on its model. `close` it."""

    def __init__(self, models: Sequence[Served], max_queue_tokens: int, max_wait: float, metrics: Metrics) -> None:
        """Refuse work for a model while `max_queue_tokens` wait for it, or they take longer than `max_wait` seconds."""
        self._max_queue_tokens, self._max_wait = max_queue_tokens, max_wait
        self._metrics = metrics
        self._changed = threading.Condition()
        self._closed = False
        short = ModelQueues({served: FairQueue(_budget(served), _fitting(served)) for served in models})
        long = ModelQueues({served: FairQueue(0) for served in models})
        self._short, self._long = self._lines = _Line(short, models), _Line(long, models)
        self._workers = [
            threading.Thread(target=self._serve, args=(line,), name=f"jinabert-onnx {name}", daemon=True)
            for name, line in (("batches", self._short), ("long texts", self._long))
        ]
        for worker in self._workers:
            worker.start()

    def waiting_tokens(self, served: Served) -> int:
        """Return how many tokens wait or run on a model."""
        return sum(line.loads[served].waiting for line in self._lines)

    def require_room(self, served: Served, tokens: int) -> None:
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
        waiting, wait = self.waiting_tokens(served), max(line.wait(served) for line in self._lines)
        if not waiting or (waiting + tokens <= self._max_queue_tokens and wait <= self._max_wait):
            return None
        seconds = max(1, math.ceil(wait))
        message = f"the server is busy ({waiting} tokens wait); try again in {seconds} s"
        return Problem(429, message, "rate_limit_exceeded", retry_after=seconds)

    def submit(
        self, work: Work, limits: Limits, done: Callable[[BaseException | None], None], counted: bool = True
    ) -> Job:
        """Queue the rows of `work`; `done` is called from another thread. What is not `counted` is never refused.

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
            if counted:
                self.require_room(served, sum(lengths))
            self._short.add(job, [(index, tokens) for index, tokens in rows if tokens <= budget])
            self._long.add(job, [(index, tokens) for index, tokens in rows if tokens > budget])
            self._changed.notify_all()
        return job

    def end(self, job: Job) -> bool:
        """Drop the rows of a job that nobody awaits any more; return whether it had not ended before."""
        with self._changed:
            first, job.ended = not job.ended, True
            for line in self._lines if job.left else ():
                line.settle(line.queues.remove(job))
        return first

    def close(self) -> None:
        """Fail every queued job, and return once the batches that run have ended."""
        with self._changed:
            self._closed = True
            rows = []
            for line in self._lines:
                taken = line.queues.take_all()
                line.settle(taken)
                rows += taken
            self._changed.notify_all()
        self._fail(rows, StateError("the server is shutting down"))
        for worker in self._workers:
            worker.join()

    def _serve(self, line: _Line) -> None:
        while True:
            with self._changed:
                while not line.queues and not self._closed:
                    self._changed.wait()
                if not line.queues:
                    return
                rows = line.queues.take()
            tokens, start = sum(row.tokens for row in rows if not row.owner.ended), time.monotonic()
            self._run(rows)
            with self._changed:
                line.settle(rows)
                line.note_rate(rows[0].owner.work.served, tokens, start)

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
        seconds = time.monotonic() - start
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
