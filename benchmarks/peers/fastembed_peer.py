"""fastembed with the plain export as a custom model. Runs in an environment of its own, without this project.

PYTHONPATH=benchmarks .venv-peers-fastembed/bin/python -m peers.fastembed_peer FOLDER HIDDEN THREADS
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from .worker import About, Encode, Vectors, serve_texts

NAME = "local/jinabert"


def load(folder: str, hidden: int, threads: int) -> tuple[Encode, About]:
    """Return the folder's `onnx/model.onnx`, mean pooled, not normalised."""
    fastembed: Any = import_module("fastembed")
    description: Any = import_module("fastembed.common.model_description")
    fastembed.TextEmbedding.add_custom_model(
        model=NAME,
        pooling=description.PoolingType.MEAN,
        normalization=False,
        sources=description.ModelSource(url="https://localhost/unused"),  # one is required; the path is taken
        dim=hidden,
        model_file="onnx/model.onnx",
    )
    model = fastembed.TextEmbedding(NAME, threads=threads, specific_model_path=folder)

    def encode(texts: list[str]) -> Vectors:
        return np.stack(list(model.embed(texts)))

    return encode, {name: version(name) for name in ("fastembed", "onnxruntime", "tokenizers")}


if __name__ == "__main__":
    serve_texts(lambda: load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
