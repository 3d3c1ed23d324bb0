"""Attention with symmetric linear biases (ALiBi): slopes, and the computation in torch.

score(i, j) = q_i . k_j / sqrt(head size) - slope_head * |i - j|, softmax over the visible j.

The queries are taken in blocks, so that memory grows with the length and not with its square. The arithmetic between
the two matrix products is float32, or float64 in an encoder that is float64 throughout. The biases come from positions:
no table of them is stored. While tracing for ONNX, one node of the operator in `operators.padded_attention` stands for
all of it, in either of torch's exporters.
Knows nothing of layers or of the model around it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from jinabert_onnx_export.errors import ExportError
from jinabert_onnx_export.operators.padded_attention import (
    DOMAIN,
    DOMAIN_VERSION,
    QUERY_BLOCK,
    AlibiAttention,
    attention_function,
)

_LOWEST = torch.finfo(torch.float32).min


def alibi_slopes(num_heads: int) -> list[float]:
    """Return the slope of each head.

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
    """Compute attention of every query over the visible keys.

    Args:
        query, key, value: (batch, sequence, hidden), hidden = heads * head size.
        key_mask: bool (batch, sequence); a row without any visible key attends to all of them evenly,
            so that every value stays finite.
        slopes: one per head.

    Returns:
        (batch, sequence, hidden), of the type of `value`.
    """
    if torch.onnx.is_in_onnx_export():
        return _operator_node(query, key, value, key_mask, slopes)
    batch, sequence, hidden = value.shape
    values = value.view(batch, sequence, len(slopes), -1).transpose(1, 2)  # (batch, heads, sequence, head size)
    blocks = _weights(query, key, key_mask, slopes)
    contexts = [torch.matmul(weights.to(values.dtype), values) for weights in blocks]
    return torch.cat(contexts, dim=2).transpose(1, 2).reshape(batch, sequence, hidden)


def received_attention(query: Tensor, key: Tensor, key_mask: Tensor, slopes: list[float]) -> Tensor:
    """Compute each key's share of all rows' attention, (batch, heads, sequence); over the keys they sum to 1."""
    received = sum(weights.sum(dim=2) for weights in _weights(query, key, key_mask, slopes))
    return received / query.shape[1]  # type: ignore[return-value]


def _weights(query: Tensor, key: Tensor, key_mask: Tensor, slopes: list[float]) -> Iterator[Tensor]:
    """Yield the attention weights of one block of queries after the other, (batch, heads, block, sequence).

    They are float32, or float64 where `query` is.
    """
    batch, sequence, hidden = query.shape
    heads = len(slopes)
    queries = query.view(batch, sequence, heads, -1).transpose(1, 2)  # (batch, heads, sequence, head size)
    keys = key.view(batch, sequence, heads, -1).permute(0, 2, 3, 1)  # (batch, heads, head size, sequence)
    queries = queries / math.sqrt(hidden // heads)
    exact = torch.promote_types(query.dtype, torch.float32)
    # Slopes are float32 numbers in every precision, as weights are.
    negative_slopes = -torch.tensor(slopes, dtype=torch.float32).to(exact)[:, None, None]  # (heads, 1, 1)
    columns = torch.arange(sequence)
    for rows in torch.split(columns, QUERY_BLOCK):
        scores = torch.matmul(queries[:, :, rows], keys).to(exact)  # (batch, heads, block, sequence)
        distances = (rows[:, None] - columns).abs()  # (block, sequence)
        scores = scores + negative_slopes * distances
        yield scores.masked_fill(~key_mask[:, None, None, :], _LOWEST).softmax(-1)


def _operator_node(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor, slopes: list[float]) -> Tensor:
    """The node that stands for the attention in the exported graph; arguments and result as above."""
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return _TorchScriptNode.apply(query, key, value, key_mask, slopes)  # type: ignore[no-any-return, no-untyped-call]
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::AlibiAttention",
        (query, key, value, key_mask),
        attrs={"slopes": slopes},
        dtype=value.dtype,
        shape=value.shape,
        version=DOMAIN_VERSION,
    )


class _TorchScriptNode(torch.autograd.Function):
    """The same node for torch's TorchScript exporter, the one that optimum uses; the file gets the body with it."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor, slopes: list[float]) -> Tensor:
        """A tensor of the result's shape and type: the tracer looks at no values."""
        return value.clone()

    @staticmethod
    def symbolic(g: Any, query: Any, key: Any, value: Any, key_mask: Any, slopes: list[float]) -> Any:
        """Emit what the exporter writes instead of `forward`.

        Raises:
            ExportError: the file is to have another opset than the operator's body, and would be invalid.
        """
        body_opset = attention_function().opset_import[0].version
        if g.opset != body_opset:
            raise ExportError(f"JinaBERT is exported in opset {body_opset}, not {g.opset}; leave the opset out")
        return g.onnxscript_op(AlibiAttention, query, key, value, key_mask, slopes_f=slopes).setType(value.type())
