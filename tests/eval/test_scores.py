"""The arithmetic against plain restatements of it, and what it must not hide."""

from __future__ import annotations

import numpy as np
import pytest
from jinabert_onnx.errors import InputError
from jinabert_onnx_eval.scores import (
    cosines,
    fidelity,
    found_of,
    paired_difference,
    rank_correlation,
    ranks_of,
    similarities,
    top_overlap,
)

GENERATOR = np.random.default_rng(0)


def vectors(rows: int = 40) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((rows, 16)).astype(np.float32)


def test_equal_vectors_agree_in_everything():
    found = fidelity(2 * vectors(), vectors())
    assert found.min_cosine == pytest.approx(1)
    assert found.rank_correlation == pytest.approx(1)
    assert found.top_overlap == 1


def test_noise_costs_agreement_in_order():
    exact = vectors()
    little, much = (
        fidelity(exact + scale * GENERATOR.standard_normal(exact.shape).astype(np.float32), exact)
        for scale in (0.05, 0.5)
    )
    assert 1 > little.mean_cosine > much.mean_cosine
    assert little.min_cosine <= little.percentile_1 <= little.percentile_5 <= little.median_cosine
    assert little.rank_correlation is not None
    assert much.rank_correlation is not None
    assert 1 > little.rank_correlation > much.rank_correlation > 0
    assert little.top_overlap > much.top_overlap


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_a_vector_without_a_direction_is_refused(value: float):
    broken = vectors()
    broken[3] = value
    for compare in (fidelity, cosines, similarities):
        with pytest.raises(InputError, match="is zero, or holds NaN"):
            compare(broken, vectors())


def test_rank_correlation_sees_order_alone():
    values = np.array([0.1, 0.5, 0.3, 0.9])
    assert rank_correlation(values, values**3) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)


def test_top_overlap_leaves_the_text_itself_out():
    own = similarities(vectors(12), vectors(12))
    swapped = own.copy()
    np.fill_diagonal(swapped, -1)
    assert top_overlap(swapped, own) == 1


def test_the_rank_is_of_the_best_relevant_document():
    similarity = np.array([[0.9, 0.5, 0.7, 0.1]])
    assert ranks_of(similarity, np.array([[False, True, False, True]])).tolist() == [3]


def test_vectors_that_are_all_alike_find_nothing():
    alike = np.ones((30, 8), dtype=np.float32)
    found = found_of(ranks_of(similarities(alike, alike), np.eye(30, dtype=bool)), 30)
    assert (found.hit_1, found.hit_10) == (0, 0)


def test_a_difference_is_clear_only_where_there_is_one():
    base = GENERATOR.random(400)
    assert not paired_difference(base, GENERATOR.permutation(base)).is_clear
    shifted = paired_difference(base + 0.1, base)
    assert shifted.is_clear
    assert shifted.low <= shifted.mean <= shifted.high
    assert shifted.mean == pytest.approx(0.1)
