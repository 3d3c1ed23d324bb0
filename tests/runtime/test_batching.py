"""Batches hold every text once, stay within their limits, and pad by length alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinabert_onnx.engine.batching import pad, plan_batches
from jinabert_onnx.errors import MemoryLimitError

LENGTHS = st.lists(st.integers(1, 9000), max_size=60)


@given(lengths=LENGTHS, batch_size=st.integers(1, 40), budget=st.integers(1, 20_000))
def test_every_text_stands_in_one_batch_within_the_limits(lengths: list[int], batch_size: int, budget: int) -> None:
    batches = plan_batches(lengths, batch_size, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget


@given(lengths=LENGTHS)
def test_the_longest_come_first_and_equals_keep_their_order(lengths: list[int]) -> None:
    order = [int(index) for batch in plan_batches(lengths, 8, 512) for index in batch]
    assert order == sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))


def peak(lengths: Sequence[int]) -> int:
    return 1_000_000 * (50 + sum(lengths))


@given(lengths=st.lists(st.integers(1, 100), max_size=60), limit=st.integers(150_000_000, 400_000_000))
def test_batches_shrink_until_their_peak_fits(lengths: list[int], limit: int) -> None:
    batches = plan_batches(lengths, 32, 512, peak, limit)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert peak([lengths[index] for index in batch]) <= limit


def test_a_limit_that_nothing_reaches_changes_no_batch() -> None:
    lengths = [9, 300, 40, 200, 7, 7]
    free, limited = plan_batches(lengths, 4, 512), plan_batches(lengths, 4, 512, peak, 10**12)
    assert [batch.tolist() for batch in free] == [batch.tolist() for batch in limited]


def test_a_text_that_does_not_fit_alone_is_refused_with_the_figures() -> None:
    message = r"text 2 has 120 tokens and takes 170MB.*allows \(150MB\); cut texts to 100 tokens"
    with pytest.raises(MemoryLimitError, match=message):
        plan_batches([3, 90, 120, 110, 120], 32, 512, peak, 150_000_000)


def test_where_no_text_fits_the_error_says_so() -> None:
    with pytest.raises(MemoryLimitError, match=r"text 0 has 5 tokens.*no text fits"):
        plan_batches([5], 32, 512, peak, 50_000_000)


@given(rows=st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=9), min_size=1, max_size=6))
def test_padding_keeps_the_ids_and_masks_the_rest(rows: list[list[int]]) -> None:
    input_ids, attention_mask = pad([np.array(row, dtype=np.int64) for row in rows])
    assert input_ids.dtype == attention_mask.dtype == np.int64
    assert input_ids.shape == attention_mask.shape == (len(rows), max(map(len, rows)))
    for row, ids, mask in zip(rows, input_ids, attention_mask, strict=True):
        assert ids[: len(row)].tolist() == row
        assert mask.tolist() == [1] * len(row) + [0] * (len(mask) - len(row))
        assert not ids[len(row) :].any()
