"""The plain export: what people make without this project, and how stock onnxruntime runs it.

    PYTHONPATH=benchmarks python -m peers.plain make CHECKPOINT OUTPUT.onnx
    PYTHONPATH=benchmarks python -m peers.plain serve OUTPUT.onnx THREADS     (asked by side_by_side.py)

Float32, dynamic batch and length, standard operators only, weights beside the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .worker import Ids, Run, Vectors, serve

OPSET = 18


def make(checkpoint: str, output: Path) -> None:
    """Trace the plain encoder of `checkpoint` and write it to `output`."""
    import torch

    from .plain_model import PlainEncoder, open_encoder

    example = torch.ones((2, 9), dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    program = torch.onnx.export(
        PlainEncoder(*open_encoder(checkpoint)).eval(),
        (example, example.clone()),
        dynamo=True,
        opset_version=OPSET,
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
        dynamic_shapes={"input_ids": axes, "attention_mask": axes},
        verbose=False,
    )
    if program is None:
        raise SystemExit("torch.onnx.export returned nothing")
    output.parent.mkdir(parents=True, exist_ok=True)
    program.save(output, external_data=True)


def load(path: Path, threads: int) -> tuple[Run, dict[str, str]]:
    """The file in onnxruntime as it comes: every option at its default but the threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        return session.run(None, feeds)[0]  # type: ignore[no-any-return]

    return run, {"onnxruntime": onnxruntime.__version__}


if __name__ == "__main__":
    command, first, second = sys.argv[1:]
    if command == "make":
        make(first, Path(second))
    else:
        serve(lambda: load(Path(first), int(second)))
