"""What a server or a function says about its model: its names, and what really runs."""

from __future__ import annotations

from collections.abc import Sequence

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.version import __version__


def model_entries(names: Sequence[str], created: int) -> list[dict[str, str | int]]:
    """Return an entry of `GET /v1/models` for each name; `created` is in seconds since 1970."""
    return [{"id": name, "object": "model", "created": created, "owned_by": "jinabert-onnx"} for name in names]


def describe(embedder: Embedder, name: str) -> dict[str, str | int]:
    """Return what really runs, for `GET /health`; `name` is the model's."""
    return {
        "model": name,
        "fingerprint": str(embedder.fingerprint),
        "provider": embedder.provider,
        "precision": embedder.precision,
        "threads": embedder.threads,
        "attention": embedder.kernels.attention,
        "attention_reason": embedder.kernels.reason,
        "max_tokens": embedder.max_seq_length,
        "dimensions": embedder.get_sentence_embedding_dimension(),
        "version": __version__,
    }
