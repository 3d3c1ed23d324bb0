"""Pooling against plain loops over the visible tokens."""

from __future__ import annotations

import numpy as np
import pytest
from jinabert_onnx.encoding.pooling import normalize, pool


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    mask = (np.arange(9) < np.array([9, 1, 4])[:, None]).astype(np.int64)
    return generator.normal(size=(3, 9, 5)).astype(np.float32), mask


@pytest.mark.parametrize(
    ("mode", "by_hand"),
    [
        ("mean", lambda tokens: tokens.mean(axis=0)),
        ("max", lambda tokens: tokens.max(axis=0)),
        ("cls", lambda tokens: tokens[0]),
    ],
)
def test_only_visible_tokens_are_pooled(batch: tuple, mode: str, by_hand) -> None:
    embeddings, mask = batch
    expected = np.stack([by_hand(row[: visible.sum()]) for row, visible in zip(embeddings, mask, strict=True)])
    pooled = pool(embeddings, mask, mode)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-6)


def test_normalised_rows_have_length_one_and_zeros_stay_zeros() -> None:
    rows = np.array([[3, 4], [0, 0], [1e-10, 0]], dtype=np.float32)
    np.testing.assert_allclose(normalize(rows), [[0.6, 0.8], [0, 0], [1, 0]], atol=1e-6)
    assert normalize(rows).dtype == np.float32
