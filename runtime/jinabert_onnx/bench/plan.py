"""What to measure: every combination of the values asked for, and what is left out of those that nobody asked for.

Knows nothing of models, texts or clocks; what a cell would take is told to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .statistics import FEWEST_ROUNDS

BATCH_SIZES, QUICK_BATCH_SIZES = (1, 8, 32), (1, 8)
ROUNDS, QUICK_ROUNDS = 10, 5
SECONDS, QUICK_SECONDS = 600.0, 18.0

_FOR_FEWEST = 0.75  # of the time, that the fewest rounds may take; quick cells need the rest for percentiles

# Tokens of one call. More in one call is the same work again: on a CPU the runtime itself runs 512 at a time.
_CALL_TOKENS = 8192


@dataclass(frozen=True)
class Wanted:
    """What was asked for; an empty tuple or None is what this package chooses.

    Attributes:
        seconds: for timing the cells, about; cold starts and memory come on top.
        rounds: in how many rounds every cell takes its turn.
    """

    precisions: tuple[str, ...] = ()
    provider: str = "auto"
    threads: tuple[int, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    quick: bool = False
    seconds: float | None = None
    rounds: int | None = None

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
    """One figure of the sweep: calls of `batch_size` texts, or pairs, of `length` tokens each."""

    configuration: Configuration
    batch_size: int
    length: int

    @property
    def shape(self) -> str:
        """Return what is run, in words."""
        return f"{self.batch_size} x {self.length}"

    @property
    def lengths(self) -> list[int]:
        """Return the tokens of each text or pair of a call."""
        return [self.length] * self.batch_size

    def __str__(self) -> str:
        return f"{self.configuration}: {self.shape}"


@dataclass(frozen=True)
class Skipped:
    """What was not measured, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class Cost:
    """What a cell is expected to take: seconds of one call, and bytes of this process at its peak."""

    seconds: float
    memory: int


def cells_of(wanted: Wanted, configurations: Sequence[Configuration], lengths: Sequence[int]) -> list[Cell]:
    """Return every combination of what was asked for, or of the defaults; `lengths` are those where none were."""
    lengths = wanted.lengths or lengths
    sizes = wanted.batch_sizes or (QUICK_BATCH_SIZES if wanted.quick else BATCH_SIZES)
    return [Cell(one, size, length) for one in configurations for size in sizes for length in lengths]


def choose(
    cells: Sequence[Cell], wanted: Wanted, longest: int, cost: Callable[[Cell], Cost], memory: int | None
) -> tuple[list[Cell], list[Skipped]]:
    """Leave out what the machine cannot hold and what would take too long, unless it was asked for.

    Args:
        cells: all that could be measured.
        wanted: what was asked for.
        longest: the most tokens that the model takes at once.
        cost: what a cell is expected to take.
        memory: bytes that this process may come to; None where it is not known.
    """
    left, skipped = _FOR_FEWEST * wanted.budget, {}
    for cell in sorted(cells, key=lambda cell: cost(cell).seconds):
        expected = cost(cell)
        seconds = expected.seconds * wanted.fewest_rounds
        why = _reason(cell, expected, longest, memory)
        if why is None and seconds > left:
            why = f"about {expected.seconds:.2g} s a call is too long for {wanted.budget:g} s in all"
        if why is None or _is_asked_for(cell, wanted):
            left -= seconds
        else:
            skipped[cell] = why
    kept = [cell for cell in cells if cell not in skipped]
    return kept, [Skipped(str(cell), why) for cell, why in skipped.items()]


def _is_asked_for(cell: Cell, wanted: Wanted) -> bool:
    """Whether a cell runs whatever it takes: its length was named, and its batch size or none."""
    return cell.length in wanted.lengths and cell.batch_size in (wanted.batch_sizes or (1,))


def _reason(cell: Cell, expected: Cost, longest: int, memory: int | None) -> str | None:
    if cell.length > longest:
        return f"the model takes at most {longest} tokens"
    if cell.batch_size > 1 and cell.batch_size * cell.length > _CALL_TOKENS:
        return f"more than {_CALL_TOKENS} tokens per call are batches of the same kind again"
    if memory is not None and expected.memory > memory:
        return f"takes about {expected.memory / 1e9:.1f} GB, and {memory / 1e9:.1f} GB are free"
    return None
