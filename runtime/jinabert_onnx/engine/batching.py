"""Ragged token ids to batches: which texts run together, and their padded arrays.

Knows lengths only; nothing of tokenizers or models. The memory that a batch takes is a function passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import MemoryLimitError

from .memory_model import in_megabytes

# Rows times longest row of one batch. On a CPU small batches are fastest, because their activations stay in
# the cache (benchmarks/README.md); a GPU needs large ones to be busy (not measured yet).
TOKEN_BUDGETS = {"cpu": 512, "cuda": 16384}


def plan_batches(
    lengths: Sequence[int],
    batch_size: int,
    token_budget: int,
    peak: Callable[[Sequence[int]], int] = lambda lengths: 0,
    max_memory: int = 0,
) -> list[NDArray[np.intp]]:
    """Group texts of like length: a list of index arrays that together hold every index once.

    Longest first, so that the peak of memory comes at once and progress estimates err on the safe side.
    A batch has at most `batch_size` rows and `token_budget` padded tokens; a longer text goes alone. Batches are halved
    until `peak`, the bytes of a process that runs texts of such lengths, is at most `max_memory`; default: no limit.

    Raises:
        MemoryLimitError: a text alone does not fit; names it and the longest that would.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    _require_fitting(lengths, peak, max_memory)
    batches, start = [], 0
    while start < len(order):
        longest = lengths[order[start]]
        batch = order[start : start + min(batch_size, max(1, token_budget // max(1, longest)))]
        while len(batch) > 1 and peak([lengths[index] for index in batch]) > max_memory:
            batch = batch[: len(batch) // 2]
        batches.append(batch)
        start += len(batch)
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


def _require_fitting(lengths: Sequence[int], peak: Callable[[Sequence[int]], int], max_memory: int) -> None:
    """Refuse the first of the longest texts that do not fit even alone."""
    for length in sorted(set(lengths), reverse=True):
        needed = peak([length])
        if needed > max_memory:
            shortest = next(tokens for tokens in range(1, length + 1) if peak([tokens]) > max_memory)
            advice = f"cut texts to {shortest - 1} tokens (max_length)" if shortest > 1 else "no text fits"
            raise MemoryLimitError(
                f"text {list(lengths).index(length)} has {length} tokens and takes {in_megabytes(needed)}, more than "
                f"max_memory allows ({in_megabytes(max_memory)}); {advice}, or raise max_memory"
            )
