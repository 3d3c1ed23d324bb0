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

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from peers import plain

Change = Callable[[NDArray[np.generic]], NDArray[np.generic]]

# Weights as u8 with zero point 128 are the same numbers, and onnxruntime's kernel for them never saturates.
SHIFT = 128


def make_forms(checkpoint: str, directory: Path) -> dict[str, Path]:
    """Write every form to `directory`: the ONNX file of each, by name."""
    paths = {name: directory / f"{name.replace(', ', '_').replace(' ', '_')}.onnx" for name in _FORMS}
    source = directory / "plain.onnx"
    plain.make(checkpoint, source)
    for name, make in _FORMS.items():
        make(source, paths[name])
    return paths


def stock(source: Path, target: Path) -> None:
    """Dynamic quantisation by onnxruntime's tool of every MatMul that has a constant weight."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it advises a pre-processing step
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
    )
    logging.disable(logging.NOTSET)


def stock_without_saturation(source: Path, target: Path) -> None:
    """The same numbers in u8: weights and their zero points, each 128 larger."""
    stock(source, target)
    model = onnx.load_model(target)
    nodes = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    names = {name for node in nodes for name in (node.input[1], node.input[3])}
    _change_weights(model, dict.fromkeys(names, _shifted))
    _save(model, target)


def weights_only(source: Path, target: Path, *, table: bool = True) -> None:
    """Every constant MatMul weight rounded per output channel, and the embedding table per row; all stays float."""
    model = onnx.load_model(source)
    changes: dict[str, Change] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul":
            changes[node.input[1]] = partial(_rounded, axis=0)
        elif node.op_type == "Gather" and table:
            changes[node.input[0]] = partial(_rounded, axis=1)
    _change_weights(model, changes)
    _save(model, target)


_FORMS: dict[str, Callable[[Path, Path], None]] = {
    "stock": stock_without_saturation,
    "stock, this CPU": stock,
    "weights only": weights_only,
    "weights only, float table": partial(weights_only, table=False),
}


def _shifted(weight: NDArray[np.generic]) -> NDArray[np.generic]:
    if weight.dtype != np.int8:
        raise SystemExit(f"onnxruntime's quantiser made {weight.dtype} weights, not int8")
    return (weight.astype(np.int16) + SHIFT).astype(np.uint8)


def _rounded(weight: NDArray[np.generic], axis: int) -> NDArray[np.generic]:
    """Symmetric s8 and back: float32 multiples of the largest absolute value along `axis`, divided by 127."""
    if weight.ndim != 2:
        return weight
    values = weight.astype(np.float32)
    scale = np.abs(values).max(axis=axis, keepdims=True) / 127
    scale[scale == 0] = 1
    rounded: NDArray[np.float32] = np.rint(values / scale) * scale
    return rounded


def _change_weights(model: onnx.ModelProto, changes: dict[str, Change]) -> None:
    """Replace the named initialisers; names of values that are computed are passed over."""
    for tensor in model.graph.initializer:
        if tensor.name in changes:
            changed = changes[tensor.name](numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed), tensor.name))


def _save(model: onnx.ModelProto, target: Path) -> None:
    data = target.with_name(f"{target.name}.data")
    for stale in (target, data):
        stale.unlink(missing_ok=True)  # the writer would append to the data
    onnx.save_model(model, target, save_as_external_data=True, location=data.name)
