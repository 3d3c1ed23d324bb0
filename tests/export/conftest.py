"""Where the goldens lie, and what the exporter's tests share to read and alter them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from support.paths import GOLDENS


@dataclass(frozen=True)
class Golden:
    """A small checkpoint, and what the original implementation computes from it.

    `input_ids` and `attention_mask` are int64 (texts, sequence); `token_embeddings` are those of the visible
    tokens, text after text, (tokens, hidden).
    """

    path: Path
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    lengths: list[int]
    token_embeddings: NDArray[np.float32]
    pooled: NDArray[np.float32]

    def of_each_text(self) -> list[NDArray[np.float32]]:
        """The token embeddings of each text, (its length, hidden)."""
        return np.split(self.token_embeddings, np.cumsum(self.lengths)[:-1])


def _read(path: Path) -> Golden:
    with np.load(path / "golden.npz") as arrays:
        return Golden(
            path,
            arrays["input_ids"].astype(np.int64),
            arrays["attention_mask"].astype(np.int64),
            arrays["lengths"].tolist(),
            arrays["token_embeddings"],
            arrays["pooled"],
        )


def nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those of the graphs within them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nested(inner.node)


@pytest.fixture(params=sorted(path.name for path in GOLDENS.iterdir()))
def golden(request: pytest.FixtureRequest) -> Golden:
    """Every golden in turn."""
    return _read(GOLDENS / request.param)


@pytest.fixture(scope="session")
def read_golden() -> Callable[[str], Golden]:
    """The golden of a name."""
    return lambda name: _read(GOLDENS / name)


@pytest.fixture(scope="session")
def copy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Copies the checkpoint of a golden, without its expected outputs, to a directory that a test may alter.

    The directory's name says nothing of the test, so that no word expected of a message can come from it.
    """

    def copy(name: str) -> Path:
        directory = tmp_path_factory.mktemp("copy") / "checkpoint"
        return shutil.copytree(GOLDENS / name, directory, ignore=shutil.ignore_patterns("golden*"))

    return copy
