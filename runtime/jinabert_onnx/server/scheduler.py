"""Continuous batching: rows of all requests, merged into batches by two workers, one of them for long rows.

A row of more tokens than a batch holds runs alone, in a worker of its own, so that short requests do not wait for it:
they run beside it on the same threads. Knows nothing of HTTP.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.encoding.pooling import Vectors
from jinabert_onnx.encoding.steps import batches_of, running
from jinabert_onnx.engine.batching import TOKEN_BUDGETS
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import BundleChangedError, CancelledError, DeadlineError, StateError
from jinabert_onnx.http.embeddings import Work
from jinabert_onnx.http.problems import Problem, RequestError, trace_of

from .fair_queue import FairQueue, Row
from .metrics import Metrics

_SMOOTHING = 0.1  # weight of the newest batch in the rate

logger = logging.getLogger("jinabert_onnx.server")


@dataclass(eq=False)
class Job:
    """One request's work on its way.

    Attributes:
        work: its rows.
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


class Scheduler:
    """Runs the rows of jobs on one model. `close` it."""

    def __init__(self, model: LoadedModel, max_queue_tokens: int, max_wait: float, metrics: Metrics) -> None:
        """Refuse work while `max_queue_tokens` wait, or the queue takes longer than `max_wait` seconds."""
        self._model = model
        self._max_queue_tokens, self._max_wait = max_queue_tokens, max_wait
        self._metrics = metrics
        self._budget = TOKEN_BUDGETS[model.session.provider]
        self._changed = threading.Condition()
        self._waiting = 0  # tokens
        self._rate = 0.0  # tokens a second
        self._closed = False
        self._short, self._long = FairQueue(self._budget, self._fits), FairQueue(0)
        self._workers = [
            threading.Thread(target=self._serve, args=(queue,), name=f"jinabert-onnx {name}", daemon=True)
            for name, queue in (("batches", self._short), ("long texts", self._long))
        ]
        for worker in self._workers:
            worker.start()

    @property
    def waiting_tokens(self) -> int:
        """Return how many tokens wait or run."""
        return self._waiting

    def require_room(self, tokens: int = 1) -> None:
        """Return if work of so many tokens may come; any may while nothing waits.

        Raises:
            RequestError: the queue is full: 429.
        """
        wait = self._waiting / self._rate if self._rate else 0.0  # seconds
        if self._waiting and (self._waiting + tokens > self._max_queue_tokens or wait > self._max_wait):
            seconds = max(1, math.ceil(wait))
            message = f"the server is busy ({self._waiting} tokens wait); try again in {seconds} s"
            raise RequestError(Problem(429, message, "rate_limit_exceeded", retry_after=seconds))

    def submit(
        self, work: Work, limits: Limits, done: Callable[[BaseException | None], None], counted: bool = True
    ) -> Job:
        """Queue the rows of `work`; `done` is called from another thread.

        Raises:
            RequestError: the queue is full.
            MemoryLimitError: a row does not fit into the memory that the model may take.
            StateError: closed.
        """
        lengths = [len(ids) for ids in work.input_ids]
        if self._model.memory is not None:  # refuses what cannot fit
            batches_of(self._model, lengths, len(lengths))
        job = Job(work, limits, done, left=len(lengths), counted=counted)
        with self._changed:
            if self._closed:
                raise StateError("the server is shutting down")
            self.require_room(sum(lengths))
            self._waiting += sum(lengths)
            rows = list(enumerate(lengths))
            self._short.add(job, [(index, tokens) for index, tokens in rows if tokens <= self._budget])
            self._long.add(job, [(index, tokens) for index, tokens in rows if tokens > self._budget])
            self._changed.notify_all()
        return job

    def end(self, job: Job) -> bool:
        """Drop the rows of a job that nobody awaits any more; return whether it had not ended before."""
        with self._changed:
            first, job.ended = not job.ended, True
            for queue in (self._short, self._long) if job.left else ():
                self._waiting -= sum(row.tokens for row in queue.remove(job))
        return first

    def close(self) -> None:
        """Fail every queued job, and return once the batches that run have ended."""
        with self._changed:
            self._closed = True
            rows = [row for queue in (self._short, self._long) for row in queue.take_all()]
            self._waiting -= sum(row.tokens for row in rows)
            self._changed.notify_all()
        self._fail(rows, StateError("the server is shutting down"))
        for worker in self._workers:
            worker.join()

    def _fits(self, lengths: Sequence[int]) -> bool:
        memory = self._model.memory
        return memory is None or memory.peak(lengths) <= memory.limit

    def _serve(self, queue: FairQueue) -> None:
        while True:
            with self._changed:
                while not queue and not self._closed:
                    self._changed.wait()
                if not queue:
                    return
                rows = queue.take()
            self._run(rows)
            with self._changed:
                self._waiting -= sum(row.tokens for row in rows)

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
        batch = [row.owner.work.input_ids[row.index] for row in rows]
        with running(self._model, batch, limits) as (embeddings, _):
            self._note(rows, start)
            for row, tokens in zip(rows, embeddings, strict=True):
                self._take(row, tokens[: row.tokens])

    def _take(self, row: Row, embeddings: Vectors) -> None:
        job: Job = row.owner
        try:
            job.work.take(row.index, embeddings)
        except Exception as error:  # of this request; the others of the batch go on
            self._fail([row], error)
            return
        with self._changed:
            job.left -= 1
            finished = job.left == 0
        if finished and self.end(job):
            job.done(None)

    def _note(self, rows: list[Row], start: float) -> None:
        tokens, seconds = sum(row.tokens for row in rows), time.monotonic() - start
        if 2 * tokens >= self._budget:  # smaller batches say little of what a full queue takes
            self._rate += (tokens / max(seconds, 1e-6) - self._rate) * (_SMOOTHING if self._rate else 1.0)
        counted = [row for row in rows if row.owner.counted]
        if counted:
            self._metrics.batch(len(counted), sum(row.tokens for row in counted), seconds)
        for row in counted:
            self._metrics.waited(start - row.owner.since)

    def _fail(self, rows: list[Row], error: BaseException) -> None:
        for row in rows:
            if self.end(row.owner):
                row.owner.done(error)


def warm_up(scheduler: Scheduler, model: LoadedModel, seconds: float) -> None:
    """Run a short, a middling and a full batch, so that first requests need not; `seconds` at most."""
    end = time.monotonic() + seconds
    for tokens in (16, 128, TOKEN_BUDGETS["cpu"]):
        left = end - time.monotonic()
        if left <= 0:
            return
        finished = threading.Event()
        work = Work([np.zeros(tokens, dtype=np.int64)], lambda index, embeddings: None, lambda: np.empty(0), tokens)
        job = scheduler.submit(
            work,
            Limits(left),
            lambda error, finished=finished: finished.set(),  # type: ignore[misc]
            counted=False,
        )
        if not finished.wait(left):
            scheduler.end(job)
