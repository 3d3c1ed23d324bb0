"""The plain export: what people make of a checkpoint without this project.

Float32, dynamic batch and length, standard operators only, weights beside the file. Knows nothing of texts.
"""

from pathlib import Path

import torch
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.encoder.trace import quiet_torch
from jinabert_onnx_export.errors import ExportError

from .plain_model import PlainEncoder

OPSET = 18


def write_plain(encoder: JinaBertEncoder, heads: int, output: Path) -> None:
    """Trace an encoder's plain form and write it to `output`.

    Raises:
        ExportError: torch gave nothing back.
    """
    example = torch.ones((2, 9), dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with quiet_torch():
        program = torch.onnx.export(
            PlainEncoder(encoder, heads).eval(),
            (example, example.clone()),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export returned nothing; try another release of torch")
    output.parent.mkdir(parents=True, exist_ok=True)
    program.save(output, external_data=True)
