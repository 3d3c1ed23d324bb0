"""A float32 graph to int8: dynamic quantisation by onnxruntime's own tool.

Weights are int8 with one scale per output channel; activations are uint8 with one scale per tensor,
found at run time, so that a text's vector depends slightly on the texts beside it. Attention and the
embedding table stay float32. Knows nothing of bundles or of torch.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx


def quantize_int8(source: Path) -> onnx.ModelProto:
    """The int8 form of the float32 ONNX file at `source`; every MatMul with a constant weight is quantised."""
    # Imported here: onnxruntime's quantiser takes a second that only an int8 export should pay.
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises a pre-processing step on the root logger
    try:
        with tempfile.TemporaryDirectory(dir=source.parent) as directory:
            target = Path(directory) / "model.onnx"
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                weight_type=QuantType.QInt8,
                use_external_data_format=True,
            )
            return onnx.load_model(target)
    finally:
        root.setLevel(level)
