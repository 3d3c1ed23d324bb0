"""Ragged token ids to batches: which texts run together, and their padded arrays.

Knows lengths only; nothing of tokenizers, models or memory in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Rows times longest row of one batch. On a CPU small batches are fastest, because their activations stay in
# the cache (benchmarks/batching.py); a GPU needs large ones to be busy (not measured yet).
TOKEN_BUDGETS = {"cpu": 512, "cuda": 16384}


def plan_batches(lengths: Sequence[int], batch_size: int, token_budget: int) -> list[NDArray[np.intp]]:
    """Group texts of like length: a list of index arrays that together hold every index once.

    Longest first, so that the peak of memory comes at once and progress estimates err on the safe side.
    A batch has at most `batch_size` rows and `token_budget` padded tokens; a longer text goes alone.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = lengths[order[start]]
        rows = min(batch_size, max(1, token_budget // max(1, longest)))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def pad(input_ids: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stack ragged ids into `input_ids` and `attention_mask`, both int64 (batch, sequence).

    Padding is id 0 with mask 0. The mask comes from the lengths, never from a pad id.
    """
    lengths = np.array([len(ids) for ids in input_ids])
    attention_mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)  # (batch, sequence)
    padded = np.zeros_like(attention_mask)
    padded[attention_mask == 1] = np.concatenate(input_ids)
    return padded, attention_mask
