"""fastembed with the plain export as a custom model. Runs in an environment of its own, without this project."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .worker import About, Encode, Vectors

NAME = "local/jinabert"


def load(folder: str, threads: str) -> tuple[Encode, About]:
    """Return the folder's `onnx/model.onnx`, mean pooled, not normalised."""
    fastembed: Any = import_module("fastembed")
    description: Any = import_module("fastembed.common.model_description")
    fastembed.TextEmbedding.add_custom_model(
        model=NAME,
        pooling=description.PoolingType.MEAN,
        normalization=False,
        sources=description.ModelSource(url="https://localhost/unused"),  # one is required; the path is taken
        dim=json.loads((Path(folder) / "config.json").read_text("utf-8"))["hidden_size"],
        model_file="onnx/model.onnx",
    )
    model = fastembed.TextEmbedding(NAME, threads=int(threads), specific_model_path=folder)

    def encode(texts: list[str]) -> Vectors:
        return np.stack(list(model.embed(texts)))

    return encode, {name: version(name) for name in ("fastembed", "onnxruntime", "tokenizers")}
