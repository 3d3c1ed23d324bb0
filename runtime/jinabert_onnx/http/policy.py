"""What a model is called by clients, and what all requests ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinabert_onnx.embedder import Embedder

from .embeddings import Policy

MAX_INPUTS = 2048  # texts of a request, as OpenAI has it


def policy_for(
    embedder: Embedder,
    source: str,
    names: Sequence[str] = (),
    max_inputs: int = MAX_INPUTS,
    max_tokens: int | None = None,
    accept_token_ids: bool = False,
) -> Policy:
    """Return the policy of a bundle loaded from `source`; `names` are what clients may call it, its own name first.

    Without `names` it has that of the checkpoint it was exported from, and that of the directory or hub id it was
    loaded from; of hub ids both whole and without the owner.
    """
    return Policy(
        names=tuple(names) or _names_of(embedder, source),
        max_length=embedder.max_seq_length,
        max_inputs=max_inputs,
        max_tokens=max_tokens,
        prefix=embedder.default_prompt,
        accept_token_ids=accept_token_ids,
    )


def _names_of(embedder: Embedder, source: str) -> tuple[str, ...]:
    loaded = Path(source).resolve().name if Path(source).exists() else source
    checkpoint = embedder.bundle.manifest.source
    names = [name for known in (checkpoint, loaded) if known for name in (known.rpartition("/")[2], known)]
    return tuple(dict.fromkeys(name for name in names if name))
