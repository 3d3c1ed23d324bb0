"""What a model is called by clients, and what all requests ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinabert_onnx.embedder import Embedder

from .answering import Policy

MAX_INPUTS = 2048  # texts of a request, as OpenAI has it


def policy_for(
    embedder: Embedder,
    source: str,
    names: Sequence[str] = (),
    max_inputs: int = MAX_INPUTS,
    max_tokens: int | None = None,
    accept_token_ids: bool = False,
) -> Policy:
    """The policy of a loaded bundle; `names` are what else clients may call it, the first of them its own name.

    Without `names` it is called what `source`, its hub id or directory, ends in, and a hub id is a name too.
    """
    last = Path(source).resolve().name if Path(source).exists() else source.rpartition("/")[2]
    found = tuple(names) or ((last,) if Path(source).exists() or last == source else (last, source))
    return Policy(
        names=found,
        max_length=embedder.max_seq_length,
        max_inputs=max_inputs,
        max_tokens=max_tokens,
        prefix=embedder.default_prompt,
        accept_token_ids=accept_token_ids,
    )
