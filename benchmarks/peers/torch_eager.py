"""Torch as it comes: the plain encoder in float32, eager, under inference mode.

PYTHONPATH=benchmarks python -m peers.torch_eager CHECKPOINT THREADS     (asked by side_by_side.py)
"""

from __future__ import annotations

import sys

import torch

from .plain_model import PlainEncoder, open_encoder
from .worker import Ids, Run, Vectors, serve


def load(checkpoint: str, threads: int) -> tuple[Run, dict[str, str]]:
    """The encoder of `checkpoint` on `threads` threads."""
    torch.set_num_threads(threads)
    encoder = PlainEncoder(*open_encoder(checkpoint)).eval()

    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        with torch.inference_mode():
            output = encoder(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        return output.numpy()  # type: ignore[no-any-return]

    return run, {"torch": torch.__version__}


if __name__ == "__main__":
    serve(lambda: load(sys.argv[1], int(sys.argv[2])))
