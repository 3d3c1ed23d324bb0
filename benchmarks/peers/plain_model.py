"""JinaBERT as it is written where nobody minds memory: whole biases, whole scores, whole feed-forward.

Holds the modules of `JinaBertEncoder` for their weights only; what it computes is all its own, so that changes
of the project's model never change what the project is compared with. Knows nothing of files.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.alibi import alibi_slopes
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from torch import Tensor, nn


class PlainEncoder(nn.Module):
    """Token ids and mask, int64 (batch, sequence), to token embeddings, float32 (batch, sequence, hidden)."""

    def __init__(self, encoder: JinaBertEncoder, heads: int) -> None:
        super().__init__()
        self.weights = encoder
        self.heads = heads

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Rows where the mask is 0 hold finite values without meaning."""
        bias, mask = self.biases(attention_mask)
        embeddings = self.weights.embeddings
        hidden: Tensor = embeddings.word_embeddings(input_ids) + embeddings.token_type_embeddings.weight[0]
        hidden = embeddings.LayerNorm(hidden)
        for layer in self.weights.encoder.layer:
            hidden = _layer(layer, hidden, self._self_attention(layer, hidden, bias, mask))
        return hidden.float()

    def biases(self, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """To add to scores: by distance (1, heads, sequence, sequence), for masked keys (batch, 1, 1, sequence)."""
        weight = self.weights.embeddings.word_embeddings.weight
        positions = torch.arange(attention_mask.shape[1], device=weight.device)
        distances = (positions[:, None] - positions).abs().to(weight.dtype)
        slopes = torch.tensor(alibi_slopes(self.heads), dtype=weight.dtype, device=weight.device)
        hidden_keys = (1 - attention_mask[:, None, None, :]).to(weight.dtype) * torch.finfo(weight.dtype).min
        return -slopes[None, :, None, None] * distances, hidden_keys

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        """Attention over (batch, heads, sequence, head size)."""
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
        return torch.matmul(torch.softmax(scores + mask + bias, dim=-1), value)

    def _self_attention(self, layer: Any, hidden: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        attention = layer.attention.self
        query, key, value = attention.query(hidden), attention.key(hidden), attention.value(hidden)
        if hasattr(attention, "layer_norm_q"):
            query, key = attention.layer_norm_q(query), attention.layer_norm_k(key)
        context = self.attend(self._by_head(query), self._by_head(key), self._by_head(value), bias, mask)
        output = layer.attention.output
        projected: Tensor = output.dense(context.transpose(1, 2).reshape(hidden.shape))
        return output.LayerNorm(projected + hidden)  # type: ignore[no-any-return]

    def _by_head(self, values: Tensor) -> Tensor:
        batch, sequence, _ = values.shape
        return values.view(batch, sequence, self.heads, -1).transpose(1, 2)


def open_encoder(checkpoint: str) -> tuple[JinaBertEncoder, int]:
    """Return the checkpoint's encoder in float32, and its number of heads."""
    opened = open_checkpoint(checkpoint)
    return opened.load_encoder(), opened.config.num_attention_heads


def _layer(layer: Any, hidden: Tensor, attended: Tensor) -> Tensor:
    """One layer's normalisation and feed-forward, of either variant."""
    mlp = layer.mlp
    if hasattr(mlp, "gated_layers"):  # plain: the first half of the gate is activated
        first, second = mlp.gated_layers(attended).chunk(2, dim=-1)
        return mlp.layernorm(mlp.wo(mlp.activation(first) * second) + attended)  # type: ignore[no-any-return]
    attended = layer.layer_norm_1(hidden + attended)
    first, second = mlp.up_gated_layer(attended).chunk(2, dim=-1)
    return layer.layer_norm_2(attended + mlp.down_layer(first * mlp.activation(second)))  # type: ignore[no-any-return]
