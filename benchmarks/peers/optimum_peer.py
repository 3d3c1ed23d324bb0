"""optimum's `ORTModelForFeatureExtraction` with the plain export. Runs in an environment of its own.

PYTHONPATH=benchmarks .venv-peers-transformers/bin/python -m peers.optimum_peer FOLDER THREADS
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

from .worker import About, Ids, Run, Vectors, serve


def load(folder: str, threads: int) -> tuple[Run, About]:
    """Return the folder's `onnx/model.onnx`, every setting at its default but the threads."""
    optimum: Any = import_module("optimum.onnxruntime")
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = optimum.ORTModelForFeatureExtraction.from_pretrained(
        folder, subfolder="onnx", file_name="model.onnx", session_options=options
    )

    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        return model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # type: ignore[no-any-return]

    return run, {name: version(name) for name in ("optimum", "optimum-onnx", "transformers", "onnxruntime")}


if __name__ == "__main__":
    serve(lambda: load(sys.argv[1], int(sys.argv[2])))
