"""The plain encoder in torch: eager or through `torch.compile`, in float32 or in bfloat16, under inference mode.

    PYTHONPATH=benchmarks python -m peers.torch_peer CHECKPOINT THREADS {eager,compiled} {float32,bfloat16} CACHE

Asked by side_by_side.py. Compiled for any batch and length; no timed pass waits for it: the lengths of `COMPILED_FOR`
and every shape's untimed first pass have caused it before. Compiled code is kept in the directory CACHE, with a note of
what the first calls took when there was none yet.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jinabert_onnx_eval.baselines.plain_model import PlainEncoder, open_encoder

from .worker import About, Ids, Run, Vectors, serve

COMPILED_FOR = ((1, 12), (3, 20))  # batch, tokens: torch compiles a batch of one text apart


def load(checkpoint: str, threads: int, mode: str, dtype: str, cache: str) -> tuple[Run, About]:
    """Load the encoder of `checkpoint` on `threads` threads."""
    torch.set_num_threads(threads)
    encoder: Any = PlainEncoder(*open_encoder(checkpoint)).eval().to(getattr(torch, dtype))
    if mode == "compiled":
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        encoder = torch.compile(encoder, dynamic=True)
    run = _runner(encoder)
    about: dict[str, object] = {"torch": torch.__version__}
    if mode == "compiled":
        about["compile_milliseconds"] = _compile(run, Path(cache) / f"{dtype}.json")
    return run, about


def _runner(encoder: Callable[..., torch.Tensor]) -> Run:
    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        with torch.inference_mode():
            output = encoder(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        return output.numpy()

    return run


def _compile(run: Run, note: Path) -> float:
    """Milliseconds of the first calls, which compile; as noted, if they find compiled code."""
    start = time.perf_counter()
    for batch, tokens in COMPILED_FOR:
        ones = torch.ones((batch, tokens), dtype=torch.int64).numpy()
        run(ones, ones)
    if not note.exists():
        note.write_text(json.dumps(round(1000 * (time.perf_counter() - start), 1)))
    noted: float = json.loads(note.read_text())
    return noted


if __name__ == "__main__":
    serve(lambda: load(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
