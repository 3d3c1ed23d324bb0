"""Ours: a bundle through the session that `Embedder` opens, or through `Embedder.encode` itself."""

from __future__ import annotations

from importlib.metadata import version

from jinabert_onnx import Embedder

from .worker import About, Encode, Run, Vectors


def load(takes: str, path: str, precision: str, kernels: str, threads: str) -> tuple[Run | Encode, About]:
    """Open one precision on the CPU, for token ids or for texts."""
    model = Embedder.load(path, precision=precision, provider="cpu", threads=int(threads), kernels=kernels)
    about = {name: version(name) for name in ("jinabert-onnx", "onnxruntime")}

    def encode(texts: list[str]) -> Vectors:
        return model.encode(texts, show_progress_bar=False)

    run = encode if takes == "texts" else model.loaded.session.run
    return run, about | {"attention": model.kernels.attention, "layers": model.kernels.layers}
