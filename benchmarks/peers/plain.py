"""The plain export: what people make without this project, and how stock onnxruntime runs it.

Float32, dynamic batch and length, standard operators only, weights beside the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .worker import About, Ids, Run, Vectors

if TYPE_CHECKING:  # what runs the file needs no torch
    from torch.nn import Module


def make(checkpoint: str, output: str) -> None:
    """Trace the plain encoder of `checkpoint` and write it to `output`."""
    from .plain_model import PlainEncoder, open_encoder

    write(PlainEncoder(*open_encoder(checkpoint)).eval(), "last_hidden_state", output)


def write(module: Module, output_name: str, output: str) -> None:
    """Trace a module of token ids and mask, int64 (batch, sequence), and write it to `output`."""
    import torch
    from jinabert_onnx_export.encoder.trace import quiet_torch

    example = torch.ones((2, 9), dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with quiet_torch():
        program = torch.onnx.export(
            module,
            (example, example.clone()),
            dynamo=True,
            opset_version=18,
            input_names=["input_ids", "attention_mask"],
            output_names=[output_name],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
            verbose=False,
        )
    assert program is not None
    program.save(output, external_data=True)


def load(path: str, threads: str) -> tuple[Run, About]:
    """Open the file in onnxruntime as it comes: every option at its default but the threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        return session.run(None, feeds)[0]  # type: ignore[no-any-return]

    return run, {"onnxruntime": onnxruntime.__version__}
