"""Load a bundle as users do and embed one short text, noting the time at each step.

    python benchmarks/first_vector.py BUNDLE PRECISION THREADS     (started by cold_start.py)

The files are checked in the mode "fast": they have been hashed by an earlier process. Prints JSON: after each step the
clock in seconds, which all processes share. Imports are within, to be timed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

TOKENS = 16


def main(place: Path, precision: str, threads: int) -> None:
    """Do what `Embedder.load` does, step by step, and then `encode`."""
    clock = {"interpreter": time.monotonic()}
    from jinabert_onnx.providers import import_onnxruntime

    import_onnxruntime()
    from jinabert_onnx import loading
    from jinabert_onnx.bundle import TOKENIZER
    from jinabert_onnx.embedder import Embedder
    from jinabert_onnx.encoding import LoadedModel
    from jinabert_onnx.fitting import require_fitting
    from jinabert_onnx.opening import open_files
    from jinabert_onnx.session import Session
    from jinabert_onnx.tokenizer import Tokenizer

    clock["import"] = time.monotonic()
    bundle, files = open_files(place, lambda bundle: precision)
    clock["files"] = time.monotonic()
    tokenizer = Tokenizer(bundle.path / TOKENIZER)
    clock["tokenizer"] = time.monotonic()
    session = Session(bundle.path / files[0], precision, "cpu", threads)
    require_fitting(bundle, tokenizer, session)
    clock["session"] = time.monotonic()
    model = Embedder(LoadedModel(bundle, precision, tokenizer, session, None), "as asked")
    loading.self_test(model._model, lambda texts: model.encode(texts, truncation="head", prompt=""))
    clock["self-test"] = time.monotonic()
    text = " ".join(["a"] * (TOKENS - tokenizer.special_tokens))
    vector = model.encode(text)
    clock["first run"] = time.monotonic()
    _report(clock, model.count_tokens(text)[0], float(abs(vector).sum()))


def _report(clock: dict[str, float], tokens: int, total: float) -> None:
    import json
    import math

    print(json.dumps({"clock": clock, "tokens": tokens, "finite": math.isfinite(total)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
