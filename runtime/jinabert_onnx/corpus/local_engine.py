"""Shards one after the other in this process: the model's threads are what runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.progress import Progress

from .plan import Plan, Shard
from .shards import embed_shard


def embed(plan: Plan, shards: Sequence[Shard], directory: Path, embedder: Embedder, progress: Progress) -> None:
    """Embed `shards` into `directory`.

    Raises:
        What `embed_shard` raises; shards that are done stay.
    """
    for shard in shards:
        embed_shard(plan, shard, embedder, directory, progress.advance)
