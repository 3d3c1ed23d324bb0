"""A process of its own: load a bundle as `Embedder.load` does and embed one text, noting the time at each step.

Reads a request from stdin (see `children`) and prints the clock in seconds, which all processes share, after each
step. The steps are those of `loading`, one by one; of tokenizer and session, which are made side by side, the second
gets what it takes longer than the first. Imports are within, to be timed.
"""

from __future__ import annotations

import sys
import time


def main() -> None:
    """Answer one request."""
    clock = {"interpreter": time.monotonic()}
    from jinabert_onnx.engine.providers import import_onnxruntime

    import_onnxruntime()
    from jinabert_onnx.bundle.locate import open_source, require_files
    from jinabert_onnx.bundle.manifest import TOKENIZER
    from jinabert_onnx.embedder import Embedder
    from jinabert_onnx.encoding import loading
    from jinabert_onnx.encoding.consistency import require_fitting
    from jinabert_onnx.encoding.loaded_model import LoadedModel
    from jinabert_onnx.engine.session import Session, SessionLoading
    from jinabert_onnx.text.tokenizer import Tokenizer

    clock["import"] = time.monotonic()
    import json  # which the runtime has loaded by now

    asked = json.loads(sys.stdin.read())
    precision = asked["precision"]
    bundle = open_source(asked["source"], asked["revision"], asked["revision"] is not None)
    files = require_files(asked["source"], bundle, precision, "fast", asked["revision"] is not None)
    clock["files"] = time.monotonic()

    with SessionLoading(bundle.path / files[0], precision, asked["provider"], asked["threads"]) as session_loading:
        tokenizer = Tokenizer(bundle.path / TOKENIZER)
        clock["tokenizer"] = time.monotonic()
        session = Session(session_loading)
    require_fitting(bundle, tokenizer, session)
    clock["session"] = time.monotonic()
    model = Embedder(LoadedModel(bundle, precision, tokenizer, session, None), "as asked")
    loading.self_test(model.loaded, lambda texts: model.encode(texts, truncation="head", prompt=""))
    clock["self-test"] = time.monotonic()
    vector = model.encode(asked["text"], prompt="")
    clock["first run"] = time.monotonic()
    print(json.dumps({"clock": clock, "vector": vector.tolist()}))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
