"""Medians, percentiles and their confidence intervals, of samples that come in rounds.

Samples of one round share what the machine did then, so intervals come from resampling whole rounds. Knows nothing of
what was timed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
PERCENTILES = (50, 95, 99)
FEWEST_ROUNDS = 5  # resamples of fewer hold the true value far less often than they should

_FEWEST_OF_A_RATIO = 3  # below, nothing can be said of how rounds vary
_RESAMPLES = 2000
_KEPT = 100  # samples of a round that are resampled: of more, evenly spaced quantiles stand for them
_SEED = 0
_STEPS = 20_001  # of an integral
_NORMAL = NormalDist()

Rounds = Sequence[Sequence[float]]  # samples by round, as many in each


@dataclass(frozen=True)
class Interval:
    """Where the true value is in 95 of 100 such measurements."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval; None where there were too few rounds for one."""

    value: float
    interval: Interval | None


def is_supported(percent: int, samples: int) -> bool:
    """Return whether a percentile can be told: at least one sample lies beyond it."""
    return samples * (100 - percent) >= 100


def estimate(rounds: Rounds, percent: int = 50) -> Estimate:
    """Return a percentile of all samples, with its interval."""
    samples = np.asarray(rounds, dtype=np.float64)  # (rounds, samples of a round)
    value = float(np.quantile(samples, percent / 100))
    if len(samples) < FEWEST_ROUNDS:
        return Estimate(value, None)
    return Estimate(value, interval_of(resampled(samples, percent), len(samples)))


def resampled(rounds: Rounds | NDArray[np.float64], percent: int) -> NDArray[np.float64]:
    """Return the percentile of each resample (resamples,) of as many rounds, drawn with replacement."""
    samples = np.asarray(rounds, dtype=np.float64)
    if samples.shape[1] > _KEPT:
        samples = np.quantile(samples, (np.arange(_KEPT) + 0.5) / _KEPT, axis=1).T
    drawn = np.random.default_rng(_SEED).integers(len(samples), size=(_RESAMPLES, len(samples)))
    values: NDArray[np.float64] = np.quantile(samples[drawn].reshape(_RESAMPLES, -1), percent / 100, axis=1)
    return values


def interval_of(values: NDArray[np.float64], rounds: int) -> Interval:
    """Return the interval that resampled `values` of so many rounds give.

    Resamples of few rounds vary less than new measurements would. So the quantiles are taken further out, by Student's
    t and the factor between the variances of a sample and of its resamples; with the fewest that is nearly all of them.
    """
    width = student(rounds - 1) * math.sqrt(rounds / (rounds - 1))
    tail = _NORMAL.cdf(-width)
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def ratio_interval(earlier: Rounds, later: Rounds, confidence: float) -> Interval | None:
    """Return the interval of the later median / the earlier one, of independent rounds; None where there are too few.

    Welch's, of the logarithms: the runs may vary by unlike amounts.
    """
    if min(len(earlier), len(later)) < _FEWEST_OF_A_RATIO:
        return None
    spreads = [_spread(np.asarray(rounds, dtype=np.float64)) for rounds in (earlier, later)]
    total = sum(spreads)
    freedoms = (spread**2 / (len(rounds) - 1) for spread, rounds in zip(spreads, (earlier, later), strict=True))
    freedom = total**2 / max(sum(freedoms), 1e-300)
    middle = math.log(float(np.median(later)) / float(np.median(earlier)))
    width = student(max(freedom, 2.0), confidence) * math.sqrt(total)
    return Interval(math.exp(middle - width), math.exp(middle + width))


def _spread(rounds: NDArray[np.float64]) -> float:
    """The variance of the logarithm of the median (rounds, samples of a round)."""
    medians = np.log(resampled(rounds, 50))
    return float(medians.var()) * len(rounds) / (len(rounds) - 1)


def student(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Student's t, two-sided: with x = sqrt(freedom) tan(angle), its density is a power of the angle's cosine."""
    angles = np.linspace(0, math.pi / 2, _STEPS)
    density = np.cos(angles) ** (freedom - 1)
    within = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])  # by trapezoids, from -angle to angle
    return math.sqrt(freedom) * math.tan(float(np.interp(confidence * within[-1], within, angles)))
