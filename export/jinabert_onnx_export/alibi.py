"""Attention with symmetric linear biases (ALiBi): slopes, and the computation in torch.

score(i, j) = q_i . k_j / sqrt(head size) - slope_head * |i - j|, softmax over the visible j.

The queries are taken in blocks, so that memory grows with the length and not with its square, and the
arithmetic between the two matrix products is float32. The biases come from positions: no table of them is
stored. While tracing, one node of the operator in `alibi_operator` stands for all of it.
Knows nothing of layers or of the model around it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .alibi_operator import DOMAIN, DOMAIN_VERSION, QUERY_BLOCK

_LOWEST = torch.finfo(torch.float32).min


def alibi_slopes(num_heads: int) -> list[float]:
    """The slope of each head.

    For a power of two n: s, s^2, .. s^n with s = 2^(-8/n). Otherwise those of the power of two p below n,
    then every second one of 2p, until there are n.

    Source: Press, Smith, Lewis, "Train Short, Test Long" (arXiv:2108.12409), and its published code for
    head counts that are not powers of two.
    """
    power = 2 ** int(math.log2(num_heads))
    base = 2.0 ** (-8.0 / power)
    slopes = [base ** (head + 1) for head in range(power)]
    if power == num_heads:
        return slopes
    return slopes + alibi_slopes(2 * power)[0::2][: num_heads - power]


def alibi_attention(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor, slopes: list[float]) -> Tensor:
    """Attention of every query over the visible keys.

    Args:
        query, key, value: (batch, sequence, hidden), hidden = heads * head size.
        key_mask: bool (batch, sequence); a row without any visible key attends to all of them evenly,
            so that every value stays finite.
        slopes: one a head.

    Returns:
        (batch, sequence, hidden), of the type of `value`.
    """
    if torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::AlibiAttention",
            (query, key, value, key_mask),
            attrs={"slopes": slopes},
            dtype=value.dtype,
            shape=value.shape,
            version=DOMAIN_VERSION,
        )
    batch, sequence, hidden = query.shape
    heads = len(slopes)
    queries = query.view(batch, sequence, heads, -1).transpose(1, 2)  # (batch, heads, sequence, head size)
    keys = key.view(batch, sequence, heads, -1).permute(0, 2, 3, 1)  # (batch, heads, head size, sequence)
    values = value.view(batch, sequence, heads, -1).transpose(1, 2)  # (batch, heads, sequence, head size)
    queries = queries / math.sqrt(hidden // heads)
    negative_slopes = -torch.tensor(slopes, dtype=torch.float32)[:, None, None]  # (heads, 1, 1)
    columns = torch.arange(sequence)
    contexts = []
    for rows in torch.split(columns, QUERY_BLOCK):
        scores = torch.matmul(queries[:, :, rows], keys).float()  # (batch, heads, block, sequence)
        distances = (rows[:, None] - columns).abs()  # (block, sequence)
        scores = scores + negative_slopes * distances
        scores = scores.masked_fill(~key_mask[:, None, None, :], _LOWEST)
        contexts.append(torch.matmul(scores.softmax(-1).to(values.dtype), values))
    return torch.cat(contexts, dim=2).transpose(1, 2).reshape(batch, sequence, hidden)
