"""Calls of cells, timed: all take turns, in a new order each round, so that drift of the machine hits all alike.

Knows nothing of what a call does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jinabert_onnx.engine.cancellation import Cancellation

from .plan import Cell
from .record import CeilingRates, CellTimes
from .roofline import Ceiling, Rates

_WARM_SECONDS, _MOST_WARM = 0.1, 5  # calls before the first that counts: until it took so long, or so many
_MOST_CALLS = 50  # of one cell in one round: more tell little and let others wait


@dataclass(frozen=True)
class Job:
    """A cell ready to run."""

    cell: Cell
    call: Callable[[Cancellation], object]

    def run(self, cancellation: Cancellation) -> float:
        """Run one call; return its seconds."""
        start = time.perf_counter()
        self.call(cancellation)
        return time.perf_counter() - start


@dataclass(frozen=True)
class Turns:
    """In how many rounds a cell takes its turn, and how many calls a turn has that count."""

    rounds: int
    calls: int

    @property
    def total(self) -> int:
        """Calls in all; in a turn of several, one more that warms up."""
        return self.rounds * (self.calls + (self.calls > 1))


def share_out(seconds: Sequence[float], budget: float, rounds: int, fewest: int) -> list[Turns]:
    """Return the turns of cells whose calls take so many `seconds`, for about `budget` seconds in all.

    Every cell gets the same time: quick ones many calls in each of `rounds` rounds, slow ones one in some of them, in
    `fewest` at least, even where that is more than the budget.
    """
    low, high = 0.0, budget
    for _ in range(40):  # halvings: the share at which the whole takes the budget
        share = (low + high) / 2
        turns = [_turns(one, share, rounds, fewest) for one in seconds]
        spent = sum(one * turn.total for one, turn in zip(seconds, turns, strict=True))
        low, high = (share, high) if spent <= budget else (low, share)
    return [_turns(one, low, rounds, fewest) for one in seconds]


def is_turn(turns: Turns, number: int, rounds: int) -> bool:
    """Return whether a cell takes part in round `number` of `rounds`: its turns are spread evenly over them."""
    return number in np.linspace(0, rounds - 1, turns.rounds).round()


def _turns(seconds: float, share: float, rounds: int, fewest: int) -> Turns:
    calls = share / max(seconds, 1e-9)
    if calls < rounds:
        return Turns(max(min(fewest, rounds), int(calls)), 1)
    return Turns(rounds, max(1, min(_MOST_CALLS, int(calls / rounds) - 1)))


def warm_up(job: Job, cancellation: Cancellation) -> float:
    """Run a cell untimed, and say how many seconds its quickest call took."""
    seconds: list[float] = []
    while not seconds or (sum(seconds) < _WARM_SECONDS and len(seconds) < _MOST_WARM):
        seconds.append(job.run(cancellation))
    return min(seconds)


def time_rounds(
    jobs: Sequence[Job],
    turns: Sequence[Turns],
    rounds: int,
    ceilings: Mapping[Ceiling, Rates],
    cancellation: Cancellation,
    advance: Callable[[int], None],
) -> tuple[tuple[CellTimes, ...], tuple[CeilingRates, ...]]:
    """Time every job in its turns; `ceilings`, with what they were at first, are measured once a round too.
    `advance` is told the number of calls after each turn.

    Raises:
        CancelledError: it was cancelled.
    """
    generator = np.random.default_rng(0)
    times: list[list[tuple[float, ...]]] = [[] for _ in jobs]
    rates = {ceiling: [first] for ceiling, first in ceilings.items()}
    for number in range(rounds):
        for ceiling, found in rates.items():
            found.append(ceiling.measure())
        for index in generator.permutation(len(jobs)):
            job, calls = jobs[index], turns[index].calls
            if not is_turn(turns[index], number, rounds):
                continue
            if calls > 1:  # not counted: another model had the caches
                job.run(cancellation)
            times[index].append(tuple(job.run(cancellation) for _ in range(calls)))
            advance(calls + (calls > 1))
    cells = (CellTimes(job.cell, tuple(found)) for job, found in zip(jobs, times, strict=True))
    return tuple(cells), tuple(CeilingRates(ceiling.threads, tuple(found)) for ceiling, found in rates.items())
