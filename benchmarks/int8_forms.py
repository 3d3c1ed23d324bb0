"""The int8 forms that the project's own is compared with, made from the plain export of a checkpoint.

- `stock`: onnxruntime's dynamic quantisation, weights s8 per output channel, activations u8 with one scale a
  tensor, as a processor computes it whose products do not saturate.
- `stock, this CPU`: the same file as it comes. The two differ where AVX2 without VNNI saturates
  (`saturation.py`), and only there: under `qemu-x86_64 -cpu max,-avx2` they agree to the last bit.
- `weights only`: float arithmetic with rounded weights and embedding table; what they cost whatever the
  activations are. In `weights only, float table` the table is as it was.

Knows nothing of texts or of quality.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from jinabert_onnx_eval.baselines.stock_forms import (
    Change,
    change_weights,
    save_again,
    write_stock_int8,
    write_stock_without_saturation,
)
from numpy.typing import NDArray
from peers import plain


def make_forms(checkpoint: str, directory: Path) -> dict[str, Path]:
    """Write every form to `directory`: the ONNX file of each, by name."""
    paths = {name: directory / f"{name.replace(', ', '_').replace(' ', '_')}.onnx" for name in _FORMS}
    source = directory / "plain.onnx"
    plain.make(checkpoint, source)
    for name, make in _FORMS.items():
        make(source, paths[name])
    return paths


def weights_only(source: Path, target: Path, *, table: bool = True) -> None:
    """Every constant MatMul weight rounded per output channel, and the embedding table per row; all stays float."""
    model = onnx.load_model(source)
    changes: dict[str, Change] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul":
            changes[node.input[1]] = partial(_rounded, axis=0)
        elif node.op_type == "Gather" and table:
            changes[node.input[0]] = partial(_rounded, axis=1)
    change_weights(model, changes)
    save_again(model, target)


_FORMS: dict[str, Callable[[Path, Path], None]] = {
    "stock": write_stock_without_saturation,
    "stock, this CPU": write_stock_int8,
    "weights only": weights_only,
    "weights only, float table": partial(weights_only, table=False),
}


def _rounded(weight: NDArray[np.generic], axis: int) -> NDArray[np.generic]:
    """Symmetric s8 and back: float32 multiples of the largest absolute value along `axis`, divided by 127."""
    if weight.ndim != 2:
        return weight
    values = weight.astype(np.float32)
    scale = np.abs(values).max(axis=axis, keepdims=True) / 127
    scale[scale == 0] = 1
    rounded: NDArray[np.float32] = np.rint(values / scale) * scale
    return rounded
