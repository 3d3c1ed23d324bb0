"""What a server or a function says about its models: their names, and what actually runs."""

from __future__ import annotations

from collections.abc import Sequence

from jinabert_onnx.version import __version__

from .served import Served

Entry = dict[str, str | int]


def model_entries(models: Sequence[Served], created: int) -> list[Entry]:
    """Return an entry of `GET /v1/models` for each name of each model; `created` is in seconds since 1970."""
    names = [name for served in models for name in served.names]
    return [{"id": name, "object": "model", "created": created, "owned_by": "jinabert-onnx"} for name in names]


def describe(served: Served) -> Entry:
    """Return what actually runs, for `GET /health`."""
    model, session = served.model, served.model.session
    scored = {"labels": len(served.labels)} if served.labels else {"dimensions": model.bundle.manifest.dimensions}
    return {
        "model": served.name,
        "fingerprint": served.fingerprint,
        "provider": session.provider,
        "precision": model.precision,
        "threads": session.threads,
        "attention": session.kernels.attention,
        "attention_reason": session.kernels.reason,
        "layers": session.kernels.layers,
        "layers_reason": session.kernels.layers_reason,
        "max_tokens": served.max_length,
        **scored,
        "version": __version__,
    }
