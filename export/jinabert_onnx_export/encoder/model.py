"""The JinaBERT encoder in torch, both variants. Parameter names are the checkpoint's own.

Token ids and mask in, token embeddings out, or logits of a head. Knows nothing of files, ONNX or pooling.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from .alibi import alibi_attention, alibi_slopes
from .config import JinaBertConfig

Variant = Literal["plain", "qk-post-norm"]


class Embeddings(nn.Module):
    """Word embedding plus that of the token's type, normalised. There are no positions."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(batch, sequence) int64 each -> (batch, sequence, hidden); without types all tokens are of type 0."""
        words, types = self.word_embeddings(input_ids), self.token_type_embeddings
        embedded = words + (types.weight[0] if token_type_ids is None else types(token_type_ids))
        return self.LayerNorm(embedded)  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Queries, keys and values, and attention over them.

    The qk-post-norm variant normalises queries and keys over the whole hidden size, before the heads.
    """

    def __init__(self, config: JinaBertConfig, variant: Variant) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.slopes = alibi_slopes(config.num_attention_heads)
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.normalises = variant == "qk-post-norm"
        if self.normalises:
            self.layer_norm_q = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
            self.layer_norm_k = nn.LayerNorm(hidden, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor, key_mask: Tensor) -> Tensor:
        """(batch, sequence, hidden), bool (batch, sequence) -> (batch, sequence, hidden)."""
        query, key = self.query_and_key(hidden_states)
        return alibi_attention(query, key, self.value(hidden_states), key_mask, self.slopes)

    def query_and_key(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """Return what scores are made of, two (batch, sequence, hidden)."""
        query, key = self.query(hidden_states), self.key(hidden_states)
        if self.normalises:
            query, key = self.layer_norm_q(query), self.layer_norm_k(key)
        return query, key


class AttentionOutput(nn.Module):
    """Projection of the attended values, residual, layer norm."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, context: Tensor, residual: Tensor) -> Tensor:
        """Two (batch, sequence, hidden) -> (batch, sequence, hidden)."""
        return self.LayerNorm(self.dense(context) + residual)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention and its output, the checkpoint's two parts `self` and `output`, which a layer calls."""

    def __init__(self, config: JinaBertConfig, variant: Variant) -> None:
        super().__init__()
        self.self = SelfAttention(config, variant)
        self.output = AttentionOutput(config)


class PlainFeedForward(nn.Module):
    """Gated feed-forward with its residual and layer norm; the first half of the gate is activated."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.width = config.intermediate_size
        self.activation = _activation(config)
        self.gated_layers = nn.Linear(config.hidden_size, 2 * self.width, bias=False)
        self.wo = nn.Linear(self.width, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, sequence, hidden) -> (batch, sequence, hidden)."""
        gated = self.gated_layers(hidden_states)  # (batch, sequence, 2 * width)
        product = self.activation(gated[..., : self.width]) * gated[..., self.width :]
        return self.layernorm(self.wo(product) + hidden_states)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """One layer: attention, in which tokens read each other, and the rest, in which each is by itself."""

    attention: Attention

    def forward(self, hidden_states: Tensor, key_mask: Tensor) -> Tensor:
        """(batch, sequence, hidden), bool (batch, sequence) -> (batch, sequence, hidden)."""
        return self.after_attention(self.attention.self(hidden_states, key_mask), hidden_states)

    def after_attention(self, context: Tensor, hidden_states: Tensor) -> Tensor:
        """Compute the rest of the layer for some tokens, of what attention gave for them and of its input."""
        raise NotImplementedError


class PlainLayer(Layer):
    """One layer of the plain variant: attention, feed-forward."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.attention = Attention(config, "plain")
        self.mlp = PlainFeedForward(config)

    def after_attention(self, context: Tensor, hidden_states: Tensor) -> Tensor:
        """Two (batch, tokens, hidden) -> (batch, tokens, hidden)."""
        return self.mlp(self.attention.output(context, hidden_states))  # type: ignore[no-any-return]


class QkPostNormFeedForward(nn.Module):
    """Gated feed-forward without residual; the second half of the gate is activated."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.width = config.intermediate_size
        self.activation = _activation(config)
        self.up_gated_layer = nn.Linear(config.hidden_size, 2 * self.width, bias=False)
        self.down_layer = nn.Linear(self.width, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(batch, sequence, hidden) -> (batch, sequence, hidden)."""
        gated = self.up_gated_layer(hidden_states)  # (batch, sequence, 2 * width)
        product = gated[..., : self.width] * self.activation(gated[..., self.width :])
        return self.down_layer(product)  # type: ignore[no-any-return]


class QkPostNormLayer(Layer):
    """One layer of the qk-post-norm variant: its input is added twice, inside and after the attention."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.attention = Attention(config, "qk-post-norm")
        self.layer_norm_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = QkPostNormFeedForward(config)
        self.layer_norm_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def after_attention(self, context: Tensor, hidden_states: Tensor) -> Tensor:
        """Two (batch, tokens, hidden) -> (batch, tokens, hidden)."""
        attended = self.layer_norm_1(hidden_states + self.attention.output(context, hidden_states))
        return self.layer_norm_2(attended + self.mlp(attended))  # type: ignore[no-any-return]


class Layers(nn.Module):
    """The stack of layers, under the checkpoint's name `layer`."""

    def __init__(self, config: JinaBertConfig, variant: Variant) -> None:
        super().__init__()
        layer = PlainLayer if variant == "plain" else QkPostNormLayer
        self.layer = nn.ModuleList(layer(config) for _ in range(config.num_hidden_layers))


class JinaBertEncoder(nn.Module):
    """Token ids and attention mask to token embeddings."""

    def __init__(self, config: JinaBertConfig, variant: Variant) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config, variant)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """`last_hidden_state` (batch, sequence, hidden), of two int64 (batch, sequence).

        It is float32, or float64 of an encoder in float64.
        Rows where the mask is 0 hold finite values without meaning.
        """
        key_mask = attention_mask > 0  # (batch, sequence)
        hidden_states = self.embeddings(input_ids)
        for layer in self.encoder.layer:
            hidden_states = layer(hidden_states, key_mask)
        return _at_least_float32(hidden_states)


class Pooler(nn.Module):
    """A linear layer and tanh, of a text's first token."""

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Tensor) -> Tensor:
        """(batch, hidden) -> (batch, hidden)."""
        return torch.tanh(self.dense(first))


class JinaBertClassifier(JinaBertEncoder):
    """Token ids, attention mask and, if it `takes_token_types`, their types to logits, of each text's first token.

    Of the last layer only the first token is computed after attention: nothing reads the others.
    """

    def __init__(self, config: JinaBertConfig, variant: Variant, labels: int, takes_token_types: bool) -> None:
        super().__init__(config, variant)
        self.pooler = Pooler(config)
        self.classifier = nn.Linear(config.hidden_size, labels)
        self.takes_token_types = takes_token_types

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Logits (batch, labels), of two or three int64 (batch, sequence); the mask must show each first token.

        They are float32, or float64 of an encoder in float64.
        """
        key_mask = attention_mask > 0  # (batch, sequence)
        hidden_states = self.embeddings(input_ids, token_type_ids)
        *layers, last = self.encoder.layer
        for layer in layers:
            hidden_states = layer(hidden_states, key_mask)
        assert isinstance(last, Layer)
        context = last.attention.self(hidden_states, key_mask)
        first = last.after_attention(context[:, :1], hidden_states[:, :1])  # (batch, 1, hidden)
        return self.classifier(self.pooler(_at_least_float32(first[:, 0])))  # type: ignore[no-any-return]


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _activation(config: JinaBertConfig) -> nn.Module:
    return nn.GELU() if config.feed_forward_type == "geglu" else nn.ReLU()
