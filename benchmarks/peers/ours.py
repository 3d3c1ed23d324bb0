"""Ours: a bundle through the runtime's session, as `Embedder` runs it.

PYTHONPATH=benchmarks python -m peers.ours BUNDLE PRECISION THREADS     (asked by side_by_side.py)
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from jinabert_onnx.bundle import open_bundle
from jinabert_onnx.session import Session

from .worker import Run, serve


def load(path: Path, precision: str, threads: int) -> tuple[Run, dict[str, str]]:
    """The session of one precision on the CPU."""
    bundle = open_bundle(path)
    session = Session(bundle.path / bundle.files_of(precision)[0], precision, "cpu", threads)
    return session.run, {name: version(name) for name in ("jinabert-onnx", "onnxruntime")}


if __name__ == "__main__":
    serve(lambda: load(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
