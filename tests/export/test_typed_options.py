"""Calls of `encode` and its siblings are checked by mypy, though their options are declared in one place.

Beside the tests of the exporter, whose environment has mypy.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import ROOT
from support.python import run_python

CALLS = """
from typing import Any
from numpy.typing import NDArray
from jinabert_onnx import Embedder

model = Embedder.load("bundle")
vectors: NDArray[Any] = model.encode(["a"], 8, truncate_dim=64, normalize_embeddings=True, device="cpu")
tokens: NDArray[Any] | list[NDArray[Any]] = model.encode(["a"], output_value="token_embeddings", truncation="head")
model.encode_with_report(["a"], batch_size=8, timeout=1.5)
model.encode_chunks("a", [(0, 1)], overlap=8, output_dtype="int8")
"""
REFUSED = [
    'model.encode(["a"], normalise=True)',
    'model.encode(["a"], truncate_dim="64")',
    'model.encode(["a"], "8")',
    'model.encode_stream(["a"], normalise=True)',
    'model.encode_query(["a"], timeout="1")',
    'model.encode_chunks("a", batch_size=8)',
    'vectors = model.encode(["a"], output_value="token_embeddings")',
]


def test_misspelt_and_wrongly_typed_options_are_refused_by_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "calls.py").write_text(CALLS + "\n".join(REFUSED) + "\n")
    result = run_python("-m", "mypy", "--config-file", ROOT / "pyproject.toml", tmp_path / "calls.py", cwd=ROOT)
    lines = [int(line.split(":")[1]) for line in result.stdout.splitlines() if ": error:" in line]
    first = CALLS.count("\n") + 1
    assert sorted(set(lines)) == list(range(first, first + len(REFUSED))), result.stdout
