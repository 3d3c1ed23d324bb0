"""Batches hold every text once, stay within their limits, and pad by length alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from jinabert_onnx.batching import pad, plan_batches

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


@given(rows=st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=9), min_size=1, max_size=6))
def test_padding_keeps_the_ids_and_masks_the_rest(rows: list[list[int]]) -> None:
    input_ids, attention_mask = pad([np.array(row, dtype=np.int64) for row in rows])
    assert input_ids.dtype == attention_mask.dtype == np.int64
    assert input_ids.shape == attention_mask.shape == (len(rows), max(map(len, rows)))
    for row, ids, mask in zip(rows, input_ids, attention_mask, strict=True):
        assert ids[: len(row)].tolist() == row
        assert mask.tolist() == [1] * len(row) + [0] * (len(mask) - len(row))
        assert not ids[len(row) :].any()
