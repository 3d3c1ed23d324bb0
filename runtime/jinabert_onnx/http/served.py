"""A model as clients see it: its names, what it can be asked for, and which of several a request means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.errors import InputError
from jinabert_onnx.model import Model

from .problems import refuse

MAX_INPUTS = 2048  # texts of a request, as OpenAI has it

EMBED, RERANK = "embed", "rerank"  # what a request may want, as messages have it


@dataclass(frozen=True, eq=False)
class Served:
    """One model, and what all requests ask of it.

    Attributes:
        model: it, loaded.
        names: of the model, as clients may give it; the first is its own.
        fingerprint: of its vectors or scores.
        max_length: most tokens of a text, or of a pair.
        prefix: the prompt before each text.
        max_inputs: most texts or documents of a request.
        max_tokens: most tokens of a request; None for as many as there are.
        accept_token_ids: whether lists of token ids are taken, which must be of this model's tokenizer.
    """

    model: LoadedModel
    names: tuple[str, ...]
    fingerprint: str
    max_length: int
    prefix: str
    max_inputs: int
    max_tokens: int | None
    accept_token_ids: bool

    @property
    def name(self) -> str:
        """Return the model's own name."""
        return self.names[0]

    @property
    def header(self) -> str:
        """Return the header of answers that holds the fingerprint."""
        return "x-rerank-fingerprint" if self.labels else "x-embedding-fingerprint"

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels of a cross-encoder; an embedding model has none."""
        classifier = self.model.bundle.manifest.classifier
        return classifier.labels if classifier else ()

    def can(self, wanted: str) -> bool:
        """Return whether the model can be asked to `EMBED` or to `RERANK`."""
        return len(self.labels) == (1 if wanted == RERANK else 0)


def serve_as(
    model: Model,
    source: str,
    names: Sequence[str] = (),
    max_inputs: int = MAX_INPUTS,
    max_tokens: int | None = None,
    accept_token_ids: bool = False,
) -> Served:
    """Describe a model that was loaded from `source`; `names` are what clients may call it, its own name first.

    Without `names` it has that of the checkpoint it was exported from, and that of the directory or hub id it was
    loaded from; of hub ids both whole and without the owner.
    """
    return Served(
        model=model.loaded,
        names=tuple(dict.fromkeys(names)) or _names_of(model, source),
        fingerprint=str(model.fingerprint),
        max_length=model.max_seq_length,
        prefix=model.default_prompt if isinstance(model, Embedder) else "",
        max_inputs=max_inputs,
        max_tokens=max_tokens,
        accept_token_ids=accept_token_ids,
    )


def without_shared_names(models: Sequence[Served]) -> list[Served]:
    """Return the models without the names that two of them have.

    Raises:
        InputError: a model has no other names.
    """
    counts = Counter(name for served in models for name in served.names)
    own = [replace(served, names=tuple(name for name in served.names if counts[name] == 1)) for served in models]
    for served, distinct in zip(models, own, strict=True):
        if not distinct.names:
            raise InputError(
                f"{served.model.bundle.path}: another model is called {' and '.join(map(repr, served.names))} too; "
                "give --model-name NAME once for each model"
            )
    return own


def require_use(models: Sequence[Served]) -> None:
    """Return if one of the models can embed or rerank.

    Raises:
        InputError: none can.
    """
    if not any(served.can(wanted) for served in models for wanted in (EMBED, RERANK)):
        raise InputError(
            f"{models[0].model.bundle.path}: the model {_kind(models[0])} and can neither embed nor rerank; score "
            "pairs with CrossEncoder.predict"
        )


def choose(models: Sequence[Served], name: str | None, wanted: str) -> Served:
    """Return the model that a request means by `name`, or the only one that can do what is `wanted`.

    Raises:
        RequestError: there is no such model, 404; it cannot do this, or several can and none is named, 400.
    """
    able = [served for served in models if served.can(wanted)]
    meant = (able or models) if name is None else [served for served in models if name in served.names]
    if not meant:
        known = ", ".join(known for served in models for known in served.names)
        message = f"the model {str(name)[:80]!r} is not served here; this server has {known}"
        raise refuse(message, "model_not_found", "model", status=404)
    if len(meant) > 1 and able:
        raise refuse(f"several models here {wanted}; name one of {_own_names(able)}", "missing_field", "model")
    if not meant[0].can(wanted):
        others = f"these can: {_own_names(able)}" if able else "no model here can"
        message = f"the model {(name or meant[0].name)!r} {_kind(meant[0])} and cannot {wanted}; {others}"
        raise refuse(message, "wrong_model", "model")
    return meant[0]


def _own_names(models: Sequence[Served]) -> str:
    return ", ".join(served.name for served in models)


def _kind(served: Served) -> str:
    if not served.labels:
        return "gives vectors"
    count = len(served.labels)
    return "scores pairs of texts" if count == 1 else f"has {count} labels, where a reranker has one,"


def _names_of(model: Model, source: str) -> tuple[str, ...]:
    loaded = Path(source).resolve().name if Path(source).exists() else source
    checkpoint = model.bundle.manifest.source
    names = [name for known in (checkpoint, loaded) if known for name in (known.rpartition("/")[2], known)]
    return tuple(dict.fromkeys(name for name in names if name))
