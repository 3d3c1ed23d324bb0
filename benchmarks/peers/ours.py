"""Ours: a bundle through the runtime's session, as `Embedder` runs it, or through `Embedder.encode` itself.

PYTHONPATH=benchmarks python -m peers.ours BUNDLE PRECISION THREADS {ids,texts}     (asked by side_by_side.py)
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from jinabert_onnx import Embedder
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.engine.session import open_session

from .worker import About, Encode, Run, Vectors, serve, serve_texts


def load(path: Path, precision: str, threads: int) -> tuple[Run, About]:
    """Open the session of one precision on the CPU."""
    bundle = open_bundle(path)
    session = open_session(bundle.path / bundle.files_of(precision)[0], precision, "cpu", threads)
    return session.run, _versions()


def load_embedder(path: Path, precision: str, threads: int) -> tuple[Encode, About]:
    """Return the same as users call it."""
    model = Embedder.load(path, precision=precision, provider="cpu", threads=threads)

    def encode(texts: list[str]) -> Vectors:
        return model.encode(texts, show_progress_bar=False)

    return encode, _versions()


def _versions() -> About:
    return {name: version(name) for name in ("jinabert-onnx", "onnxruntime")}


if __name__ == "__main__":
    bundle, precision, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if sys.argv[4] == "texts":
        serve_texts(lambda: load_embedder(bundle, precision, threads))
    else:
        serve(lambda: load(bundle, precision, threads))
