"""What the linear layers are fed, over calibration texts: the data that int8 scales are chosen from.

Knows nothing of quantisation or of ONNX.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .model import JinaBertEncoder

SAMPLE_ROWS = 1024  # tokens of which all channels are kept, a layer


@dataclass(frozen=True)
class Activations:
    """Inputs of one linear layer: the largest absolute value of each channel (C), and some rows (N, C)."""

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


def record_activations(encoder: JinaBertEncoder, token_ids: Iterable[NDArray[np.int64]]) -> list[LayerActivations]:
    """Run the texts one at a time and return what each layer's linear layers were fed.

    The same texts give the same result: nothing is drawn at random.
    """
    texts = list(token_ids)
    every = max(1, -(-sum(map(len, texts)) // SAMPLE_ROWS))
    linears = [linear for layer in encoder.encoder.layer for linear in _linear_layers(layer)]
    recorders = [_Recorder(every, offset) for _, offset in linears]
    hooks = [
        linear.register_forward_pre_hook(recorder.record)
        for (linear, _), recorder in zip(linears, recorders, strict=True)
    ]
    try:
        with torch.inference_mode():
            for ids in texts:
                row = torch.from_numpy(ids)[None]
                encoder(row, torch.ones_like(row))
    finally:
        for hook in hooks:
            hook.remove()
    found = [recorder.activations() for recorder in recorders]
    return [LayerActivations(*found[start : start + 4]) for start in range(0, len(found), 4)]


def _linear_layers(layer: nn.Module) -> list[tuple[nn.Module, Tensor]]:
    """The four linear layers of one layer whose inputs differ, in the order of LayerActivations.

    Beside each, what to take off its inputs: the graph adds the value's bias after the attention's output.
    """
    attention: Any = layer.attention
    nothing = torch.zeros(())
    feed_forward = [(module, nothing) for module in layer.mlp.children() if isinstance(module, nn.Linear)]  # type: ignore[union-attr]
    value_bias = attention.self.value.bias.detach().float()
    return [(attention.self.query, nothing), (attention.output.dense, value_bias), *feed_forward]


class _Recorder:
    """Keeps the largest absolute value of each channel and every n-th row of what passes, less an offset."""

    def __init__(self, every: int, offset: Tensor) -> None:
        self._every, self._passed, self._offset = every, 0, offset
        self._largest = torch.zeros(())
        self._rows: list[Tensor] = []

    def record(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = inputs[0].reshape(-1, inputs[0].shape[-1]).float() - self._offset  # (tokens, channels)
        self._largest = torch.maximum(self._largest, rows.abs().amax(dim=0))
        self._rows.append(rows[-self._passed % self._every :: self._every].clone())
        self._passed += len(rows)

    def activations(self) -> Activations:
        return Activations(self._largest.numpy(), torch.cat(self._rows).numpy())
