"""Dense layers of sentence-transformers, which follow pooling: a product, a bias and an activation, in numpy.

Knows nothing of where the pooled vectors come from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.bundle.manifest import Bundle, DenseRecord
from jinabert_onnx.errors import BundleError
from jinabert_onnx.foreign_errors import is_from_reading

from .pooling import Vectors

_HEADER = 8  # bytes of a safetensors file that hold the length of its JSON


@dataclass(frozen=True)
class DenseLayer:
    """Weight (out, in) and bias (out,), float32, and the activation, one of `manifest.DENSE_ACTIVATIONS`."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    activation: str


def read_dense(bundle: Bundle) -> tuple[DenseLayer, ...]:
    """Read the layers that the manifest lists, in their order.

    Raises:
        BundleError: a file is missing or damaged, or does not hold what the manifest says.
    """
    return tuple(_read_layer(bundle.path / record.file, record) for record in bundle.manifest.dense)


def apply_dense(layers: Sequence[DenseLayer], pooled: Vectors) -> Vectors:
    """Put pooled vectors (n, hidden) through the layers: float32 (n, out). Each row is computed by itself."""
    for layer in layers:
        # One product a row: a single one for all would round differently with their number.
        product = np.matmul(layer.weight, pooled[:, :, None])[:, :, 0] + layer.bias  # (n, out)
        pooled = _activate(layer.activation, product)
    return pooled


def _activate(name: str, values: Vectors) -> Vectors:
    half, one = np.float32(0.5), np.float32(1)
    activated: Vectors = values
    if name == "Tanh":
        activated = np.tanh(values)
    elif name == "ReLU":
        activated = np.maximum(values, np.float32(0))
    elif name == "Sigmoid":
        activated = half * (np.tanh(half * values) + one)  # which cannot overflow
    elif name == "GELU":
        errors = [math.erf(value) for value in (values * np.sqrt(half)).ravel().tolist()]  # numpy has no erf
        activated = half * values * (np.array(errors, dtype=np.float32).reshape(values.shape) + one)
    return activated


def _read_layer(path: Path, record: DenseRecord) -> DenseLayer:
    """Read a safetensors file of float32 tensors."""
    try:
        content = path.read_bytes()
        start = _HEADER + int.from_bytes(content[:_HEADER], "little")
        entries = json.loads(content[_HEADER:start])
        tensors = {name: _tensor(content[start:], entry) for name, entry in entries.items() if name != "__metadata__"}
        weight = tensors["linear.weight"]
        bias = tensors.get("linear.bias", np.zeros(record.out_features, dtype=np.float32))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if not is_from_reading(error):
            raise
        raise BundleError(f"{path}: missing or damaged ({error}); export or download the bundle again") from error
    if weight.shape != (record.out_features, record.in_features) or bias.shape != (record.out_features,):
        raise BundleError(f"{path}: not of the sizes that the manifest says; export or download the bundle again")
    return DenseLayer(weight, bias, record.activation)


def _tensor(data: bytes, entry: Any) -> NDArray[np.float32]:
    first, last = entry["data_offsets"]
    if entry["dtype"] != "F32":
        raise ValueError(f"{entry['dtype']} where F32 was expected")
    values: NDArray[np.float32] = np.frombuffer(data[first:last], dtype="<f4").astype(np.float32)
    return values.reshape(entry["shape"])
