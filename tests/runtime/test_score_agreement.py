"""Logits become scores without losing digits, and are judged by scores and by order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jinabert_onnx.bundle.score_agreement import activate, compare_scores, rank_correlation

FLOATS = st.floats(-80, 80, width=32)


@given(arrays.arrays(np.float32, (5, 1), elements=FLOATS))
def test_sigmoid_keeps_the_digits_of_small_scores(logits: np.ndarray) -> None:
    right = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_allclose(activate(logits, "sigmoid"), right, rtol=1e-6)


@given(arrays.arrays(np.float32, (4, 3), elements=FLOATS))
def test_softmax_gives_shares(logits: np.ndarray) -> None:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(activate(logits, "softmax"), powers / powers.sum(axis=1, keepdims=True), atol=1e-6)


def test_extreme_logits_do_not_overflow() -> None:
    np.testing.assert_array_equal(activate(np.array([[-1e30], [1e30]], np.float32), "sigmoid"), [[0], [1]])


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "identity"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_is_no_number_is_never_near(activation: str, precision: str) -> None:
    right = np.arange(6, dtype=np.float32).reshape(3, 2)
    wrong = right.copy()
    wrong[1, 1] = np.nan
    assert compare_scores(right, right, activation).within(precision)
    assert not compare_scores(wrong, right, activation).within(precision)


def test_logits_that_are_scores_are_judged_by_what_they_span() -> None:
    right = np.linspace(0, 1000, 50, dtype=np.float32)[:, None]
    near, far = right + np.float32(5), right + np.float32(200) * (np.arange(50)[:, None] % 2)
    assert compare_scores(near, right, "identity").max_score_difference == pytest.approx(0.005, rel=1e-4)
    assert compare_scores(near, right, "identity").within("int8")
    assert not compare_scores(far.astype(np.float32), right, "identity").within("int8")


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=30))
def test_rank_correlation_is_one_for_the_same_order_and_minus_one_for_the_opposite(values: list[int]) -> None:
    array = np.array(values, dtype=np.float32)
    assert rank_correlation(array**3, array) == pytest.approx(1)
    if len(set(values)) > 1:
        assert rank_correlation(-array, array) == pytest.approx(-1)
        assert rank_correlation(np.zeros_like(array), array) == 0
