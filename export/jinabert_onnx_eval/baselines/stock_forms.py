"""Stock int8 of a plain export: onnxruntime's dynamic quantisation, and the same numbers where no product saturates.

Knows nothing of texts.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from jinabert_onnx.engine.providers import import_onnxruntime
from jinabert_onnx_export.errors import ExportError
from numpy.typing import NDArray
from onnx import numpy_helper

Change = Callable[[NDArray[np.generic]], NDArray[np.generic]]

# Weights as u8 with zero point 128 are the same numbers, and onnxruntime's kernel for them never saturates.
SHIFT = 128


def write_stock_int8(source: Path, target: Path) -> None:
    """Dynamic quantisation by onnxruntime's tool of every MatMul of a plain export that has a constant weight.

    Weights s8 per output channel, activations u8 with one scale a tensor.
    """
    import_onnxruntime()  # before its parts: it switches telemetry off
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)  # it advises a pre-processing step
    try:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
        )
    finally:
        logging.disable(logging.NOTSET)


def write_stock_without_saturation(source: Path, target: Path) -> None:
    """The same numbers in u8, as a processor with VNNI computes them: weights and zero points, each `SHIFT` larger.

    Raises:
        ExportError: onnxruntime made other weights than s8.
    """
    write_stock_int8(source, target)
    model = onnx.load_model(target)
    nodes = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
    names = {name for node in nodes for name in (node.input[1], node.input[3])}
    change_weights(model, dict.fromkeys(names, _shifted))
    save_again(model, target)


def change_weights(model: onnx.ModelProto, changes: Mapping[str, Change]) -> None:
    """Replace the named initialisers; names of values that are computed are passed over."""
    for tensor in model.graph.initializer:
        if tensor.name in changes:
            changed = changes[tensor.name](numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed), tensor.name))


def save_again(model: onnx.ModelProto, target: Path) -> None:
    """Write a model, its weights beside it, in place of what stands there."""
    data = target.with_name(f"{target.name}.data")
    for stale in (target, data):
        stale.unlink(missing_ok=True)  # the writer would append to the data
    onnx.save_model(model, target, save_as_external_data=True, location=data.name)


def _shifted(weight: NDArray[np.generic]) -> NDArray[np.generic]:
    if weight.dtype != np.int8:
        raise ExportError(f"onnxruntime's quantiser made {weight.dtype} weights, not int8; try another release of it")
    return (weight.astype(np.int16) + SHIFT).astype(np.uint8)
