"""The two kinds of models that a bench measures: what they are given, what runs it, and the words of the table.

What else differs between them is in `texts` and in `fresh_process`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinabert_onnx.bundle.manifest import Manifest
from jinabert_onnx.cross_encoder import CrossEncoder
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.model import Model

from .texts import PairMaker, TextMaker


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        name: in `bench.json` and in messages.
        item, verb, result: what a model is given, does with it and gives, in words.
        method: what is timed.
        lengths, quick_lengths: tokens of an item, where none were asked for.
        model: the class of its models.
        maker: makes items of so many tokens.
        run: runs a call of a batch size: `method`, where nothing may be cut.
    """

    name: str
    item: str
    verb: str
    result: str
    method: str
    lengths: tuple[int, ...]
    quick_lengths: tuple[int, ...]
    model: type[Model]
    maker: Callable[[Path], TextMaker | PairMaker]
    run: Callable[[Any, Sequence[Any], int, Cancellation], object]


def _encode(model: Embedder, texts: Sequence[str], batch_size: int, cancellation: Cancellation) -> None:
    model.encode(
        texts,
        batch_size,
        max_length=model.bundle.manifest.model.max_tokens,
        truncation="error",
        prompt="",
        show_progress_bar=False,
        cancellation=cancellation,
    )


def _predict(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], batch_size: int, cancellation: Cancellation
) -> None:
    model.predict(
        pairs,
        batch_size,
        max_length=model.bundle.manifest.model.max_tokens,
        truncation="error",
        show_progress_bar=False,
        cancellation=cancellation,
    )


EMBEDDING = Kind(
    name="embedding model",
    item="text",
    verb="embeds",
    result="vector",
    method="encode",
    lengths=(16, 128, 512, 2048, 8192),
    quick_lengths=(16, 128, 512),
    model=Embedder,
    maker=TextMaker,
    run=_encode,
)
CROSS_ENCODER = Kind(
    name="cross-encoder",
    item="pair",
    verb="scores",
    result="score",
    method="predict",
    # A query with a title, with passages, a chunk, a whole window of `rank`, and the family's longest pair.
    lengths=(64, 128, 256, 512, 1024, 8192),
    quick_lengths=(64, 256, 1024),
    model=CrossEncoder,
    maker=PairMaker,
    run=_predict,
)
KINDS = {kind.name: kind for kind in (EMBEDDING, CROSS_ENCODER)}


def kind_of(manifest: Manifest) -> Kind:
    """Return what kind of model a bundle holds."""
    return EMBEDDING if manifest.classifier is None else CROSS_ENCODER
