"""The plain encoder in torch, eager, in float32 or in bfloat16, under inference mode.

PYTHONPATH=benchmarks python -m peers.torch_peer CHECKPOINT THREADS {float32,bfloat16}     (asked by side_by_side.py)
"""

from __future__ import annotations

import sys

import torch
from jinabert_onnx_eval.baselines.plain_model import PlainEncoder, open_encoder

from .worker import About, Ids, Run, Vectors, serve


def load(checkpoint: str, threads: int, dtype: str) -> tuple[Run, About]:
    """Load the encoder of `checkpoint` on `threads` threads."""
    torch.set_num_threads(threads)
    encoder = PlainEncoder(*open_encoder(checkpoint)).eval().to(getattr(torch, dtype))

    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        with torch.inference_mode():
            output: torch.Tensor = encoder(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        return output.numpy()

    return run, {"torch": torch.__version__}


if __name__ == "__main__":
    serve(lambda: load(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
