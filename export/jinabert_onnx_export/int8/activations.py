"""What the linear layers are fed, over calibration texts: the data that int8 scales are chosen from.

Knows nothing of quantisation or of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jinabert_onnx_export.encoder.alibi import received_attention
from jinabert_onnx_export.encoder.model import JinaBertClassifier, JinaBertEncoder, SelfAttention

SAMPLE_ROWS = 1024  # about as many rows are kept of each input

Importance = Callable[[Any, tuple[Tensor, ...]], Tensor]


@dataclass(frozen=True)
class Activations:
    """Inputs of one linear layer: the largest absolute value of each channel (C), and some rows (N, C).

    A row that matters more than others may be there several times.
    """

    largest: NDArray[np.float32]
    sample: NDArray[np.float32]


@dataclass(frozen=True)
class LayerActivations:
    """Inputs of a layer's linear layers: Q, K and V (the same), the attention's output, both of the feed-forward.

    The attention's output is that of the graph, less the values' bias.
    """

    attention: Activations
    context: Activations
    feed_forward: Activations
    wide: Activations


def record_activations(
    encoder: JinaBertEncoder,
    token_ids: Iterable[NDArray[np.int64]],
    token_types: Sequence[NDArray[np.int64]] | None = None,
) -> list[LayerActivations]:
    """Run the texts one at a time and return what each layer's linear layers were fed.

    `token_types` are those of each text, for a classifier that takes them. The same texts give the same result: nothing
    is drawn at random.
    """
    texts = list(token_ids)
    tokens = sum(map(len, texts))
    every = max(1.0, tokens / SAMPLE_ROWS)
    sites = [site for layer in encoder.encoder.layer for site in _sites(layer, tokens / len(texts))]
    if isinstance(encoder, JinaBertClassifier):
        # Of the last layer, a text's first token alone goes on after attention; it stands for all of them.
        alone = partial(_alone, length=tokens / len(texts))
        sites[-3:] = [(module, offset, alone) for module, offset, _ in sites[-3:]]
    recorders = [_Recorder(every, offset, importance) for _, offset, importance in sites]
    hooks = [
        module.register_forward_pre_hook(recorder.record)
        for (module, _, _), recorder in zip(sites, recorders, strict=True)
    ]
    try:
        with torch.inference_mode():
            for index, ids in enumerate(texts):
                row = torch.from_numpy(ids)[None]
                types = () if token_types is None else (torch.from_numpy(token_types[index])[None],)
                encoder(row, torch.ones_like(row), *types)
    finally:
        for hook in hooks:
            hook.remove()
    inputs = [recorder.activations() for recorder in recorders]
    return [LayerActivations(*inputs[start : start + 4]) for start in range(0, len(inputs), 4)]


def _sites(layer: nn.Module, length: float) -> list[tuple[nn.Module, Tensor, Importance]]:
    """The four modules of one layer whose inputs linear layers read, in the order of LayerActivations.

    Beside each, what to take off its inputs (the graph adds the value's bias after the attention's output), and how
    much each row matters; `length` is the mean one of the texts.
    """
    attention: Any = layer.attention
    nothing = torch.zeros(())
    feed_forward = [module for module in layer.mlp.children() if isinstance(module, nn.Linear)]  # type: ignore[union-attr]
    value_bias = attention.self.value.bias.detach().float()
    return [
        (attention.self, nothing, partial(_by_attention, length=length)),
        (attention.output.dense, value_bias, _evenly),
        *((module, nothing, _evenly) for module in feed_forward),
    ]


def _evenly(module: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """1 for each row."""
    return torch.ones(inputs[0].shape[1])


def _alone(module: nn.Module, inputs: tuple[Tensor, ...], length: float) -> Tensor:
    """`length` for each row."""
    return _evenly(module, inputs) * length


def _by_attention(module: SelfAttention, inputs: tuple[Tensor, ...], length: float) -> Tensor:
    """A half for each row, and `length` halves shared by what errors of its value do to the mean of all rows.

    That is the attention which the token gets from all others: in trained models the special tokens get most of it,
    and everything reads the errors of theirs.
    """
    hidden_states, key_mask = inputs
    received = received_attention(*module.query_and_key(hidden_states), key_mask, module.slopes)
    shares = received[0].square().mean(dim=0)  # (tokens)
    return (1 + length * shares / shares.sum()) / 2


class _Recorder:
    """Keeps the largest absolute value of each channel, and rows in proportion to how much they matter."""

    def __init__(self, every: float, offset: Tensor, importance: Importance) -> None:
        self._every, self._offset, self._importance = every, offset, importance
        self._passed = every / 2  # so that no row is kept or not by how a sum of all is rounded
        self._largest = torch.zeros(())
        self._rows: list[Tensor] = []

    def record(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = inputs[0].reshape(-1, inputs[0].shape[-1]).float() - self._offset  # (tokens, channels)
        self._largest = torch.maximum(self._largest, rows.abs().amax(dim=0))
        ends = self._passed + self._importance(module, inputs).double().cumsum(0)  # (tokens)
        steps = torch.cat([torch.tensor([self._passed], dtype=torch.float64), ends]).div(self._every).floor()
        self._rows.append(rows.repeat_interleave(steps.diff().long(), dim=0))
        self._passed = float(ends[-1])

    def activations(self) -> Activations:
        return Activations(self._largest.numpy(), torch.cat(self._rows).numpy())
