"""The plain encoder in torch, eager, in float32 or in bfloat16, under inference mode."""

from __future__ import annotations

import torch

from .plain_model import PlainEncoder, open_encoder
from .worker import About, Ids, Run, Vectors


def load(checkpoint: str, dtype: str, threads: str) -> tuple[Run, About]:
    """Load the encoder of `checkpoint` on `threads` threads."""
    torch.set_num_threads(int(threads))
    encoder = PlainEncoder(*open_encoder(checkpoint)).eval().to(getattr(torch, dtype))

    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        with torch.inference_mode():
            output: torch.Tensor = encoder(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        return output.numpy()

    return run, {"torch": torch.__version__}
