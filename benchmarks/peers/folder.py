"""The plain export in a folder laid out as libraries expect it from the hub, with a dynamic int8 form beside it.

The metadata is what the project writes into its bundles. Weights lie inside `onnx/model.onnx`, since not every
library takes them from a second file. `onnx/model_quantized.onnx` is stock onnxruntime's dynamic quantisation with
weights per channel and of 7 bits (`reduce_range`), so that products do not saturate on AVX2.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.package import write_metadata

MODEL = Path("onnx") / "model.onnx"
QUANTIZED = Path("onnx") / "model_quantized.onnx"


def make(plain: str, checkpoint: str, output: str) -> None:
    """Write the folder, anew if it exists in part."""
    folder = Path(output)
    from onnxruntime.quantization import QuantType, quantize_dynamic

    shutil.rmtree(folder, ignore_errors=True)
    (folder / "onnx").mkdir(parents=True)
    write_metadata(open_checkpoint(checkpoint), folder)
    onnx.save_model(onnx.load_model(plain), folder / MODEL)
    quantize_dynamic(
        folder / MODEL, folder / QUANTIZED, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True
    )
