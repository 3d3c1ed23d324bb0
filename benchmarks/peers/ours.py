"""Ours: a bundle through the runtime's session, as `Embedder` runs it, or through `Embedder.encode` itself."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from jinabert_onnx import Embedder
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.engine.session import open_session

from .worker import About, Encode, Run, Vectors


def load(takes: str, path: str, precision: str, threads: str) -> tuple[Run | Encode, About]:
    """Open one precision on the CPU, for token ids or for texts."""
    open_one = _encoder if takes == "texts" else _session
    return open_one(Path(path), precision, int(threads)), {
        name: version(name) for name in ("jinabert-onnx", "onnxruntime")
    }


def _session(path: Path, precision: str, threads: int) -> Run:
    bundle = open_bundle(path)
    return open_session(bundle.path / bundle.files_of(precision)[0], precision, "cpu", threads).run


def _encoder(path: Path, precision: str, threads: int) -> Encode:
    model = Embedder.load(path, precision=precision, provider="cpu", threads=threads)

    def encode(texts: list[str]) -> Vectors:
        return model.encode(texts, show_progress_bar=False)

    return encode
