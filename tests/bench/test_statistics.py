"""Intervals hold what they promise: on samples whose true figure is known."""

from __future__ import annotations

import numpy as np
import pytest
from jinabert_onnx.bench.statistics import estimate, is_supported, ratio_interval, student

TRIALS = 200


def drawn(generator: np.random.Generator, rounds: int, middle: float = 1.0) -> list[list[float]]:
    """Samples whose rounds differ by 2 %, and within a round by 5 %."""
    levels = np.exp(0.02 * generator.standard_normal((rounds, 1)))
    return (middle * levels * np.exp(0.05 * generator.standard_normal((rounds, 5)))).tolist()


@pytest.mark.parametrize(
    ("freedom", "confidence", "value"),
    [(4, 0.95, 2.776), (9, 0.95, 2.262), (30, 0.95, 2.042), (4, 0.99, 4.604), (18, 0.999, 3.922), (2, 0.999, 31.60)],
)
def test_student_is_that_of_tables(freedom: int, confidence: float, value: float):
    assert student(freedom, confidence) == pytest.approx(value, rel=0.001)


@pytest.mark.parametrize("rounds", [5, 10])
def test_an_interval_holds_the_true_median_95_times_of_100(rounds: int):
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(TRIALS):
        interval = estimate(drawn(generator, rounds)).interval
        assert interval is not None
        held += interval.low <= 1 <= interval.high
    assert held / TRIALS > 0.91


@pytest.mark.parametrize("rounds", [5, 10])
def test_the_interval_of_a_ratio_holds_the_true_one(rounds: int):
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(TRIALS):
        interval = ratio_interval(drawn(generator, rounds), drawn(generator, rounds, 1.3), 0.95)
        assert interval is not None
        held += interval.low <= 1.3 <= interval.high
    assert 0.91 < held / TRIALS < 0.995


def test_too_few_rounds_tell_no_interval():
    assert estimate([[1.0], [1.1], [1.2], [1.3]]).interval is None
    assert estimate([[1.0], [1.1], [1.2], [1.3], [1.4]]).interval is not None
    assert ratio_interval([[1.0], [1.1]], [[1.0], [1.1], [1.2]], 0.95) is None


@pytest.mark.parametrize(("percent", "samples"), [(50, 2), (95, 20), (99, 100)])
def test_a_percentile_needs_a_sample_beyond_it(percent: int, samples: int):
    assert is_supported(percent, samples)
    assert not is_supported(percent, samples - 1)
