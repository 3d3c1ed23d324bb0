"""What runs on a node of a cluster: it loads one model, then embeds the shards that it is given, one at a time.

Knows nothing of Ray.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import ClusterError, JinaBertError, first_line
from jinabert_onnx.version import __version__

from . import parts
from .plan import ModelSource, Plan, Shard
from .shards import embed_shard, require_model

ATTEMPTS = 4  # workers that one shard may end before it is given up
_MARK = ".attempts-"

logger = logging.getLogger("jinabert_onnx")


class Worker:
    """An actor: loads the model with its first shard, then embeds shard after shard.

    What goes wrong is returned and not raised: Ray would try a raised error again, and wrap it in pages of traceback.
    """

    def __init__(self, plan: Plan, shards: Sequence[Shard], directory: Path, model: ModelSource, version: str) -> None:
        self._plan, self._shards, self._directory = plan, shards, directory
        self._model, self._version = model, version
        self._embedder: Embedder | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Embed the one shard whose position the batch holds; gives its rows, and what went wrong or ""."""
        shard = self._shards[int(batch["position"][0])]
        failure = self._embed(shard)
        return {"rows": [shard.rows], "failure": [f"{platform.node()}: {failure}" if failure else ""]}

    def _embed(self, shard: Shard) -> str:
        try:
            if self._embedder is None:
                _check_node(self._plan, self._directory, self._version)
            with counted_attempt(self._directory, shard):
                if self._embedder is None:  # not before: a model that is too large must not end workers for ever
                    self._embedder = _load(self._plan, self._model)
                embed_shard(self._plan, shard, self._embedder, self._directory)
        except Exception as error:
            return _in_words(error)
        return ""


def _check_node(plan: Plan, directory: Path, version: str) -> None:
    """Refuse a node that would compute something else, or write where nobody looks."""
    if version != __version__:
        raise ClusterError(f"has jinabert-onnx {__version__}, and the command ran with {version}; install the same")
    shared = "input and output must lie on a file system that all nodes share"
    for source in plan.sources:
        if not Path(source.path).exists():
            raise ClusterError(f"does not see {source.path}; {shared}")
    found = parts.kept(directory)  # the directory alone may be another, of this node
    if found is None or found[0] != plan:
        raise ClusterError(f"does not see the work in {directory}; {shared}")


def _load(plan: Plan, model: ModelSource) -> Embedder:
    embedder = model.load()
    require_model(plan, embedder)
    return embedder


@contextmanager
def counted_attempt(directory: Path, shard: Shard) -> Iterator[None]:
    """Count in a file the workers that began `shard`: one that ends its worker each time must not do so for ever."""
    mark = directory / f"{_MARK}{shard.name}"
    if mark.exists() and mark.stat().st_size >= ATTEMPTS:
        rows = f"rows {shard.first} to {shard.first + shard.rows - 1}"
        raise ClusterError(
            f"{shard.name} ({rows}) ended {ATTEMPTS} workers, likely for want of memory; "
            "give a smaller --batch-size or --max-memory"
        )
    with mark.open("ab") as stream:
        stream.write(b".")
    yield
    mark.unlink(missing_ok=True)


def _in_words(error: Exception) -> str:
    """One line; what nobody foresaw is in Ray's log of the worker too, with its traceback."""
    if isinstance(error, JinaBertError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "out of memory; give a smaller --batch-size or --max-memory"
    logger.exception("a worker failed")
    return f"{type(error).__name__}: {first_line(error)}"
