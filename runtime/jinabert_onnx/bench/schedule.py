"""How often each cell runs: rounds and passes, so that all together take about the time that there is.

Knows seconds only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOST_PASSES = 50  # of one cell in one round: more tell little and let others wait


@dataclass(frozen=True)
class Turns:
    """In how many rounds a cell takes its turn, and how many passes a turn has that count."""

    rounds: int
    passes: int

    @property
    def total(self) -> int:
        """Passes in all; in a turn of several, one more that warms up."""
        return self.rounds * (self.passes + (self.passes > 1))


def share_out(seconds: Sequence[float], budget: float, rounds: int, fewest: int) -> list[Turns]:
    """Turns of cells whose passes take so many `seconds`, for about `budget` seconds in all.

    Every cell gets the same time: quick ones many passes in each of `rounds` rounds, slow ones one in some of them, in
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
    places = np.linspace(0, rounds - 1, turns.rounds).round() if turns.rounds > 1 else np.array([0])
    return bool(number in places)


def _turns(seconds: float, share: float, rounds: int, fewest: int) -> Turns:
    passes = share / max(seconds, 1e-9)
    if passes < rounds:
        return Turns(max(min(fewest, rounds), int(passes)), 1)
    return Turns(rounds, max(1, min(_MOST_PASSES, int(passes / rounds) - 1)))
