"""Passes over cells, timed: all take turns, in a new order each round, so that drift of the machine hits all alike.

What is timed is `encode`: tokenizing, batches, the model, pooling. Knows nothing of how much is to be run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.engine.cancellation import Cancellation

from .plan import Cell
from .record import CeilingRates, CellTimes
from .roofline import Ceiling, Rates
from .schedule import Turns, is_turn

_WARM_SECONDS, _MOST_WARM = 0.1, 5  # passes before the first that counts: until it took so long, or so many


@dataclass(frozen=True)
class Job:
    """A cell ready to run: its model, and the texts and lengths of each call of a pass."""

    cell: Cell
    model: Embedder
    texts: tuple[tuple[str, ...], ...]
    lengths: tuple[tuple[int, ...], ...]

    def run(self, cancellation: Cancellation) -> list[float]:
        """Run one pass; return the seconds of each call."""
        limit = self.model.bundle.manifest.model.max_tokens
        seconds = []
        for texts in self.texts:
            start = time.perf_counter()
            self.model.encode(
                texts,
                self.cell.batch_size,
                max_length=limit,
                truncation="error",
                prompt="",
                show_progress_bar=False,
                cancellation=cancellation,
            )
            seconds.append(time.perf_counter() - start)
        return seconds


def warm_up(job: Job, cancellation: Cancellation) -> float:
    """Run a cell untimed, and say how many seconds its quickest pass took."""
    seconds: list[float] = []
    while not seconds or (sum(seconds) < _WARM_SECONDS and len(seconds) < _MOST_WARM):
        seconds.append(sum(job.run(cancellation)))
    return min(seconds)


def time_rounds(
    jobs: Sequence[Job],
    turns: Sequence[Turns],
    rounds: int,
    ceilings: Mapping[Ceiling, Rates],
    seed: int,
    cancellation: Cancellation,
    advance: Callable[[int], None],
) -> tuple[tuple[CellTimes, ...], tuple[CeilingRates, ...]]:
    """Time every job in its turns; `ceilings`, with what they were at first, are measured once a round too.
    `advance` is told the number of the job after each pass.

    Raises:
        CancelledError: it was cancelled.
    """
    generator = np.random.default_rng(seed)
    times: list[list[tuple[float, ...]]] = [[] for _ in jobs]
    rates = {ceiling: [first] for ceiling, first in ceilings.items()}
    for number in range(rounds):
        for ceiling, found in rates.items():
            found.append(ceiling.measure())
        for index in generator.permutation(len(jobs)):
            if is_turn(turns[index], number, rounds):
                times[index].append(_turn(jobs[index], turns[index].passes, cancellation, partial(advance, index)))
    cells = (CellTimes(job.cell, job.lengths, tuple(found)) for job, found in zip(jobs, times, strict=True))
    return tuple(cells), tuple(CeilingRates(ceiling.threads, tuple(found)) for ceiling, found in rates.items())


def _turn(job: Job, passes: int, cancellation: Cancellation, advance: Callable[[], None]) -> tuple[float, ...]:
    """Seconds of each call. One pass before those of a quick cell is not counted: another model had the caches."""
    seconds: list[float] = []
    if passes > 1:
        job.run(cancellation)
        advance()
    for _ in range(passes):
        seconds += job.run(cancellation)
        advance()
    return tuple(seconds)
