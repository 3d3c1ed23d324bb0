"""Load a bundle without hashing its files and embed one short text, noting the time at each step.

    python benchmarks/first_vector.py BUNDLE PRECISION THREADS     (started by cold_start.py)

Prints JSON: after each step the clock in seconds, which all processes share. Imports are within, to be timed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

TOKENS = 16


def main(place: Path, precision: str, threads: int) -> None:
    """Do what `Embedder.load` does, but for the hashes, and then `encode`."""
    clock = {"interpreter": time.monotonic()}
    import onnxruntime  # noqa: F401
    from jinabert_onnx.bundle import TOKENIZER, open_bundle
    from jinabert_onnx.embedder import Embedder
    from jinabert_onnx.fitting import require_fitting
    from jinabert_onnx.session import Session
    from jinabert_onnx.tokenizer import Tokenizer

    clock["import"] = time.monotonic()
    bundle = open_bundle(place)
    tokenizer = Tokenizer(bundle.path / TOKENIZER)
    clock["tokenizer"] = time.monotonic()
    session = Session(bundle.path / bundle.files_of(precision)[0], precision, "cpu", threads)
    require_fitting(bundle, tokenizer, session)
    clock["session"] = time.monotonic()
    model = Embedder(bundle, precision, tokenizer, session)
    text = "a " * (TOKENS - tokenizer.special_tokens)
    vector = model.encode(text)
    clock["first run"] = time.monotonic()
    _report(clock, model.count_tokens(text)[0], float(abs(vector).sum()))


def _report(clock: dict[str, float], tokens: int, total: float) -> None:
    import json
    import math

    print(json.dumps({"clock": clock, "tokens": tokens, "finite": math.isfinite(total)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
