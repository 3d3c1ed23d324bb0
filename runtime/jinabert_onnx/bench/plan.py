"""What to measure: every combination of the values asked for, and what is left out of those that nobody asked for.

Knows nothing of models, texts or clocks; what a cell would take is told to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .statistics import FEWEST_ROUNDS
from .workloads import WORKLOADS

LENGTHS, QUICK_LENGTHS = (16, 128, 512, 2048, 8192), (16, 128, 512)  # tokens
BATCH_SIZES, QUICK_BATCH_SIZES = (1, 8, 32), (1, 8)
QUICK_WORKLOADS = ("queries",)
ROUNDS, QUICK_ROUNDS = 10, 5
SECONDS, QUICK_SECONDS = 600.0, 18.0

_FOR_SLOWEST = 0.75  # of the time, that the fewest rounds may take; quick cells need the rest for percentiles

# Tokens of one call. More in one call is the same work again: on a CPU the runtime itself runs 512 at a time.
_CALL_TOKENS = 8192


@dataclass(frozen=True)
class Wanted:
    """What was asked for; an empty tuple or None is what this package chooses.

    Attributes:
        seconds: for timing the cells, about; cold starts and memory come on top.
        rounds: in how many rounds every cell takes its turn.
        seed: of texts, their lengths' order and the order of turns.
    """

    precisions: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    workloads: tuple[str, ...] = ()
    quick: bool = False
    seconds: float | None = None
    rounds: int | None = None
    seed: int = 0

    @property
    def budget(self) -> float:
        """Return seconds for timing."""
        return self.seconds or (QUICK_SECONDS if self.quick else SECONDS)

    @property
    def most_rounds(self) -> int:
        """Rounds of the sweep."""
        return self.rounds or (QUICK_ROUNDS if self.quick else ROUNDS)

    @property
    def fewest_rounds(self) -> int:
        """Rounds that even the slowest cell takes part in."""
        return self.rounds or min(FEWEST_ROUNDS, self.most_rounds)


@dataclass(frozen=True)
class Configuration:
    """One loaded model: `provider` is "cpu" or "cuda"."""

    precision: str
    provider: str
    threads: int

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{self.precision}, {threads if self.provider == 'cpu' else self.provider}"


@dataclass(frozen=True)
class Cell:
    """One figure of the sweep: calls of `batch_size` texts of `length` tokens each, or of a workload's lengths."""

    configuration: Configuration
    batch_size: int
    length: int | None
    workload: str | None

    @property
    def shape(self) -> str:
        """Return what is run, in words."""
        return f"{self.batch_size} x {self.length if self.workload is None else self.workload}"

    def __str__(self) -> str:
        return f"{self.configuration}: {self.shape}"


@dataclass(frozen=True)
class Skipped:
    """What was not measured, and why."""

    what: str
    why: str


def shapes(wanted: Wanted) -> list[tuple[int, int | None, str | None]]:
    """(batch size, length or None, workload or None) of every cell of a configuration.

    Whoever names lengths gets no workloads unasked, and the other way round.
    """
    free = not wanted.lengths and not wanted.workloads
    lengths = wanted.lengths or ((QUICK_LENGTHS if wanted.quick else LENGTHS) if free else ())
    workloads = wanted.workloads or ((QUICK_WORKLOADS if wanted.quick else tuple(WORKLOADS)) if free else ())
    sizes = wanted.batch_sizes or (QUICK_BATCH_SIZES if wanted.quick else BATCH_SIZES)
    fixed = [(size, length, None) for size in sizes for length in lengths]
    return [*fixed, *((size, None, workload) for size in sizes for workload in workloads)]


def is_asked_for(wanted: Wanted, cell: Cell) -> bool:
    """Return whether a cell runs whatever it takes: its length or workload was named, and its batch size.

    Where only one of the two was named, it runs with the smallest of the other.
    """
    what_named = cell.length in wanted.lengths or cell.workload in wanted.workloads
    size_named = cell.batch_size in wanted.batch_sizes
    if what_named:
        return size_named or cell.batch_size == min(size for size, _, _ in shapes(wanted))
    lengths = [length for _, length, _ in shapes(wanted) if length is not None]
    return size_named and cell.length is not None and cell.length == min(lengths)


def calls_of(cell: Cell, seed: int, limit: int) -> tuple[tuple[int, ...], ...]:
    """Return the lengths of the texts of each call of one pass; `limit` is the model's longest text.

    They depend on the seed, the batch size and what is run, so that all configurations, and later runs, get the same.
    """
    if cell.workload is None:
        assert cell.length is not None
        return ((cell.length,) * cell.batch_size,)
    workload = WORKLOADS[cell.workload]
    calls = -(-max(workload.texts, cell.batch_size) // cell.batch_size)
    generator = np.random.default_rng([seed, cell.batch_size, list(WORKLOADS).index(cell.workload)])
    lengths = workload.lengths(calls * cell.batch_size, generator, limit)
    return tuple(tuple(lengths[start : start + cell.batch_size]) for start in range(0, len(lengths), cell.batch_size))


@dataclass(frozen=True)
class Cost:
    """What a cell is expected to take: seconds of one pass, and bytes of this process at its peak."""

    seconds: float
    memory: int


def choose(
    cells: Sequence[Cell],
    wanted: Wanted,
    longest: int,
    cost: Callable[[Cell], Cost],
    memory: int | None,
) -> tuple[list[Cell], list[Skipped]]:
    """Leave out what the machine cannot hold and what would take too long, unless it was asked for.

    Args:
        cells: all that could be measured.
        wanted: what was asked for.
        longest: tokens of the longest text that the model takes.
        cost: what a cell is expected to take.
        memory: bytes that this process may come to; None where it is not known.
    """
    kept, skipped = [], []
    for cell in cells:
        why = None if is_asked_for(wanted, cell) else _reason(cell, wanted, longest, cost, memory)
        if why is None:
            kept.append(cell)
        else:
            skipped.append(Skipped(str(cell), why))
    for cell in _beyond_budget(kept, wanted, cost):
        kept.remove(cell)
        skipped.append(Skipped(str(cell), f"{_about(cost(cell).seconds)} a pass, and the others fill the time"))
    return kept, skipped


def _reason(cell: Cell, wanted: Wanted, longest: int, cost: Callable[[Cell], Cost], memory: int | None) -> str | None:
    if cell.length is not None and cell.length > longest:
        return f"the model's longest text has {longest} tokens"
    mean = cell.length or WORKLOADS[cell.workload or ""].median
    if cell.batch_size > 1 and cell.batch_size * mean > _CALL_TOKENS:
        return f"more than {_CALL_TOKENS} tokens a call are batches of the same kind again"
    expected = cost(cell)
    if memory is not None and expected.memory > memory:
        return f"takes about {expected.memory / 1e9:.1f} GB, and {memory / 1e9:.1f} GB are free"
    if expected.seconds * wanted.fewest_rounds > wanted.budget / 3:
        return f"{_about(expected.seconds)} a pass is too long for {wanted.budget:g} s in all; ask for it, or --seconds"
    return None


def _beyond_budget(cells: Sequence[Cell], wanted: Wanted, cost: Callable[[Cell], Cost]) -> Iterator[Cell]:
    """The slowest cells that nobody asked for, until the fewest rounds of the others fit."""
    excess = sum(cost(cell).seconds for cell in cells) * wanted.fewest_rounds - _FOR_SLOWEST * wanted.budget
    for cell in sorted(cells, key=lambda cell: -cost(cell).seconds):
        if excess > 0 and not is_asked_for(wanted, cell):
            excess -= cost(cell).seconds * wanted.fewest_rounds
            yield cell


def _about(seconds: float) -> str:
    return f"about {seconds:.0f} s" if seconds >= 10 else f"about {seconds:.1f} s"
