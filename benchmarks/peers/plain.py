"""The plain export: what people make without this project, and how stock onnxruntime runs it.

    PYTHONPATH=benchmarks python -m peers.plain make CHECKPOINT OUTPUT.onnx
    PYTHONPATH=benchmarks python -m peers.plain serve OUTPUT.onnx THREADS     (asked by side_by_side.py)

Float32, dynamic batch and length, standard operators only, weights beside the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .worker import About, Ids, Run, Vectors, serve


def make(checkpoint: str, output: Path) -> None:
    """Trace the plain encoder of `checkpoint` and write it to `output`."""
    from jinabert_onnx_eval.baselines.plain import write_plain
    from jinabert_onnx_eval.baselines.plain_model import open_encoder

    write_plain(*open_encoder(checkpoint), output)


def load(path: Path, threads: int) -> tuple[Run, About]:
    """Open the file in onnxruntime as it comes: every option at its default but the threads."""
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
