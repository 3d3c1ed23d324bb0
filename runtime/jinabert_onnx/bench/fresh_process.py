"""A process of its own: load a bundle as `Model.load` does and embed one text or score one pair; time and memory.

Reads a request from stdin (see `processes`) and prints the clock in seconds, which all processes share, after each
step, what the model gave, and the bytes that were held; the peak is the system's count since the process began. The
steps are those of `loading`, one by one; of tokenizer and session, which are made side by side, the second gets what it
takes longer than the first. Imports are within, to be timed.
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
    from jinabert_onnx.encoding.dense import read_dense
    from jinabert_onnx.encoding.loaded_model import LoadedModel
    from jinabert_onnx.engine.kernels import require_kernels_option
    from jinabert_onnx.engine.memory_limit import resident_memory
    from jinabert_onnx.engine.session import Session, SessionLoading
    from jinabert_onnx.model_class import class_of
    from jinabert_onnx.text.tokenizer import Tokenizer

    clock["import"] = time.monotonic()
    import json  # which the runtime has loaded by now

    asked = json.loads(sys.stdin.read())
    precision = asked["precision"]
    bundle = open_source(asked["source"], asked["revision"], asked["revision"] is not None)
    files = require_files(asked["source"], bundle, precision, "fast", asked["revision"] is not None)
    clock["files"] = time.monotonic()

    graph = bundle.path / files[0]
    kernels = loading.request_kernels(bundle, graph, require_kernels_option("auto"))
    with SessionLoading(graph, precision, asked["provider"], asked["threads"], kernels=kernels) as session_loading:
        tokenizer = Tokenizer(bundle.path / TOKENIZER)
        clock["tokenizer"] = time.monotonic()
        session = Session(session_loading)
    require_fitting(bundle, tokenizer, session)
    clock["session"] = time.monotonic()
    model = class_of(bundle)(LoadedModel(bundle, precision, tokenizer, session, None, read_dense(bundle)), "as asked")
    model.require_export_results()
    clock["self-test"] = time.monotonic()
    loaded, limit = resident_memory(), bundle.manifest.model.max_tokens
    if isinstance(model, Embedder):
        result = model.encode(asked["item"], max_length=limit, truncation="error", prompt="", show_progress_bar=False)
    else:
        result = model.predict([asked["item"]], max_length=limit, truncation="error", show_progress_bar=False)
    clock["first run"] = time.monotonic()
    memory = {"loaded": loaded, "afterwards": resident_memory(), "peak": peak_memory()}
    print(json.dumps({"clock": clock, "result": result.ravel().tolist(), **memory}))  # noqa: T201 - the answer


def peak_memory() -> int | None:
    """Return the most bytes that this process ever held; None where the system does not tell."""
    from pathlib import Path

    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    if sys.platform in ("linux", "win32"):  # on Linux the next figure would count the process that started this one
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS alone counts bytes


if __name__ == "__main__":
    main()
