"""A bundle as a model of mteb 2: its encoder protocol, over `Embedder.encode`.

Knows nothing of tasks, of where results go, or of the card.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.encoding.vector_types import AnyVectors
from jinabert_onnx.errors import InputError
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder

from jinabert_onnx_eval.metrics.retrieval import document_prompt


class BundleEncoder(AbsEncoder):  # type: ignore[misc]
    """What mteb asks of an encoder (`mteb.models.EncoderProtocol`), answered by an Embedder.

    Texts longer than the Embedder's `max_seq_length` are cut at their end, as mteb's own wrappers do; `cut` counts
    them, `read` all texts. An empty text has the vector of its special tokens.
    """

    def __init__(self, model: Embedder) -> None:
        self._model = model
        self.model_prompts = _prompts_of(model)
        self.read = 0
        self.cut = 0

    @property
    def mteb_model_meta(self) -> Any:
        """Return the model's record for mteb; name and revision are also where mteb keeps its results.

        The revision is the fingerprint: weights, tokenizer, pooling, maximum length and precision; before the
        precision stands a hash of the prompts, if there are any. So results of another model, or of the same one in
        int8 or with other prompts, are never taken for this one's.
        """
        manifest, fingerprint = self._model.bundle.manifest, self._model.fingerprint
        prompts = [_hash_of(manifest.prompts, manifest.default_prompt)] if manifest.prompts else []
        return ModelMeta(
            loader=None,
            name=f"jinabert-onnx/{_plain_name(self._model)}",
            revision="-".join([fingerprint.space, *prompts, fingerprint.precision]),
            release_date=None,
            languages=None,
            n_parameters=None,
            memory_usage_mb=None,
            max_tokens=self._model.max_seq_length,
            embed_dim=self._model.get_sentence_embedding_dimension(),
            license=None,
            open_weights=None,
            public_training_code=None,
            public_training_data=None,
            framework=["ONNX"],
            similarity_fn_name="cosine",
            use_instructions=bool(manifest.prompts),
            training_datasets=None,
            modalities=["text"],
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        batch_size: int = 32,
        show_progress_bar: bool = True,
        **unknown: object,
    ) -> AnyVectors:
        """Return vectors (n, hidden) float32 of the texts of all batches, in order.

        Args:
            inputs: batches as mteb's loaders give them; `text` holds a batch's texts, a title already joined.
            task_metadata: of the task; its name and type, and `prompt_type`, choose among the bundle's prompts.
            hf_split: the split; not used.
            hf_subset: the subset; not used.
            prompt_type: query or document, in retrieval.
            batch_size: most texts that run together.
            show_progress_bar: False for none; else a bar on a terminal, for work that takes long.
            unknown: what mteb may pass besides; refused, because it would be silently without effect.

        Raises:
            InputError: a batch holds no texts, or there are arguments that mean nothing here.
            What `Embedder.encode` raises.
        """
        if unknown:
            raise InputError(f"encode was given {', '.join(unknown)}, which has no meaning for a bundle")
        texts = [text for batch in inputs for text in _texts_of(batch, task_metadata.name)]
        if not texts:
            return np.empty((0, self._model.get_sentence_embedding_dimension()), np.float32)
        name = self.get_prompt_name(task_metadata, prompt_type)
        embeddings = self._model.encode_with_report(
            texts,
            batch_size=batch_size,
            show_progress_bar=None if show_progress_bar else False,
            prompt=None if name is None else self.model_prompts[name],
        )
        self.read += len(texts)
        self.cut += sum(report.dropped > 0 for report in embeddings.texts)
        return embeddings.vectors


def _prompts_of(model: Embedder) -> dict[str, str]:
    """The bundle's prompts, by mteb's names: that of documents is often called `passage` or `corpus`."""
    prompts = dict(model.bundle.manifest.prompts)
    name = document_prompt(model)
    return prompts if name is None else {"document": prompts[name], **prompts}


def _texts_of(batch: Mapping[str, Any], task: str) -> Sequence[str]:
    if "text" not in batch:
        raise InputError(f"{task} gives {', '.join(map(str, batch)) or 'nothing'}; this model reads text only")
    texts: Sequence[str] = batch["text"]
    return texts


def _hash_of(prompts: Mapping[str, str], default: str | None) -> str:
    content = json.dumps([dict(prompts), default], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()[:8]


def _plain_name(model: Embedder) -> str:
    """What the model is called, fit for the name of a directory."""
    source = model.bundle.manifest.source or model.bundle.path.resolve().name
    return re.sub(r"[^\w.-]+", "-", source.rstrip("/").rpartition("/")[2]) or "model"
