"""Open a directory or a hub id as a checked checkpoint: configuration, variant, every tensor the encoder needs.

Strict: a missing, extra or misshapen tensor is an error, nothing is ever initialised, no code of the
checkpoint is run. Knows nothing of ONNX.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jinabert_onnx.bundle.hub import is_hub_id, resolve
from jinabert_onnx.bundle.manifest import CARD, TOKENIZER, ClassifierRecord
from jinabert_onnx.errors import BundleError
from jinabert_onnx.text.inputs import require_unicode_name
from jinabert_onnx.text.pair_tokenizer import join, require_pair_frame
from jinabert_onnx.text.tokenizer import Tokenizer

from jinabert_onnx_export.encoder.config import JinaBertConfig, read_config, read_object
from jinabert_onnx_export.encoder.model import JinaBertClassifier, JinaBertEncoder, Variant
from jinabert_onnx_export.errors import CheckpointError, UnsupportedCheckpointError, name_some

from .classifier import read_classifier, read_classifier_settings
from .dense import DenseModule, read_dense_modules
from .other_models import refuse_other_head, refuse_other_model
from .sentence_transformer import SentenceSettings, read_sentence_settings
from .weights import StoredTensor, open_weights

_METADATA = ("*.json", CARD)
_SAFETENSORS = (*_METADATA, "*.safetensors")
_PICKLES = (*_METADATA, "pytorch_model*.bin")
_IGNORE = ("onnx/*", "openvino/*")

# Parts of other heads that play no role: the first for classifiers, both for embeddings.
_IGNORED_HEADS = ("cls.", "pooler.")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been checked to be complete.

    `source` is the hub id, or the name of the directory; `path` is where its files lie; `classifier` is None for an
    embedding model.
    """

    source: str
    path: Path
    config: JinaBertConfig
    variant: Variant
    settings: SentenceSettings
    tensors: Mapping[str, StoredTensor]
    dense: tuple[DenseModule, ...] = ()
    classifier: ClassifierRecord | None = None

    @property
    def max_length(self) -> int:
        """Return the tokens that a text is cut to by default: the folder's own limit, or the model's."""
        limit = self.config.max_position_embeddings
        return min(self.settings.max_length or limit, limit)

    def load_encoder(self) -> JinaBertEncoder:
        """Load the encoder in float32 with the checkpoint's weights, ready for inference; a classifier with its head.

        Raises:
            CheckpointError: a tensor holds NaN or infinity, or cannot be read.
        """
        encoder = _without_values(self.config, self.variant, self.classifier)
        values = {name: _read_finite(name, stored, self.path) for name, stored in self.tensors.items()}
        encoder.load_state_dict(values, strict=True, assign=True)
        return encoder.eval().requires_grad_(False)


def open_checkpoint(source: str | os.PathLike[str], revision: str | None = None) -> Checkpoint:
    """Open the checkpoint in a local directory, or of a hub id (owner/name).

    Raises:
        BundleNotFoundError: no such directory.
        DownloadError: the hub id cannot be fetched.
        InputError: the path is not UTF-8.
        CheckpointError: damaged, incomplete, or tensors too many.
        UnsupportedCheckpointError: another architecture, or a part that cannot be carried over.
    """
    path = _fetch(source, revision)
    require_unicode_name(path.resolve(), "safetensors")  # its name stands in the bundle too
    content = read_object(path / "config.json")
    refuse_other_model(content, path)
    config = read_config(path / "config.json")
    tensors = _without_prefix(open_weights(path))
    refuse_other_head(tensors, content, path)
    labels = _count_labels(tensors, path)
    classifier = read_classifier(path, labels) if labels else None
    settings = read_classifier_settings(path) if labels else read_sentence_settings(path)
    _check_tokenizer(path, config, settings, classifier)
    ignored = _IGNORED_HEADS[:1] if labels else _IGNORED_HEADS
    tensors = {name: stored for name, stored in tensors.items() if not name.startswith(ignored)}
    variant = _variant_of(tensors, path)
    _require_exact(tensors, config, variant, classifier, path)
    name = str(source) if is_hub_id(source) else path.resolve().name
    dense = read_dense_modules(path, settings.dense, config.hidden_size)
    return Checkpoint(name, path, config, variant, settings, tensors, dense, classifier)


def _fetch(source: str | os.PathLike[str], revision: str | None) -> Path:
    path = resolve(source, revision, _SAFETENSORS, _IGNORE)
    if is_hub_id(source) and not any(path.glob("*.safetensors")):
        return resolve(source, revision, _PICKLES, _IGNORE)
    return path


def _count_labels(tensors: Mapping[str, StoredTensor], path: Path) -> int:
    """Return the labels of a classifier, by the shape of its weight; 0 for an embedding model."""
    if not any(name.startswith("classifier.") for name in tensors):
        return 0
    weight = tensors.get("classifier.weight")
    if weight is None:
        raise CheckpointError(f"{path}: missing tensors: classifier.weight")
    if len(weight.shape) != 2 or not weight.shape[0]:
        raise CheckpointError(f"{path}: tensor classifier.weight has shape {list(weight.shape)}, not one row a label")
    return weight.shape[0]


def _check_tokenizer(
    path: Path, config: JinaBertConfig, settings: SentenceSettings, classifier: ClassifierRecord | None
) -> None:
    if not (path / TOKENIZER).is_file():
        raise CheckpointError(
            f"{path}: there is no {TOKENIZER}; make one with transformers: "
            "AutoTokenizer.from_pretrained(DIR, use_fast=True).save_pretrained(DIR)"
        )
    try:
        tokenizer = Tokenizer(path / TOKENIZER)
    except BundleError as error:
        raise CheckpointError(str(error)) from error
    largest = tokenizer.largest_id
    if largest >= config.vocab_size:
        raise CheckpointError(
            f"{path / TOKENIZER}: token id {largest} lies outside the model's vocab_size {config.vocab_size}; "
            "this is another model's tokenizer"
        )
    special_tokens = tokenizer.special_tokens
    if classifier is not None:
        special_tokens = max(special_tokens, _check_pairs(path, config, tokenizer, classifier))
    if settings.max_length is not None and settings.max_length <= special_tokens:
        raise CheckpointError(
            f"{path}: a maximum length of {settings.max_length} tokens leaves no room beside the tokenizer's "
            f"{special_tokens} special ones; it stands in sentence_bert_config.json or tokenizer_config.json"
        )


def _check_pairs(path: Path, config: JinaBertConfig, tokenizer: Tokenizer, classifier: ClassifierRecord) -> int:
    """Check that the model takes what the tokenizer makes of a pair; return how many special tokens that has."""
    try:
        frame = require_pair_frame(tokenizer)
    except BundleError as error:
        raise UnsupportedCheckpointError(f"{path}: {error}") from error
    ids, types = join(frame, np.zeros(1, np.int64), np.zeros(1, np.int64))
    if ids.max() >= config.vocab_size:
        raise CheckpointError(
            f"{path / TOKENIZER}: token id {ids.max()} of pairs lies outside the model's vocab_size {config.vocab_size}"
        )
    if classifier.token_types and types.max() >= config.type_vocab_size:
        raise UnsupportedCheckpointError(
            f"{path / TOKENIZER}: token type {types.max()} of pairs lies outside the model's type_vocab_size "
            f"{config.type_vocab_size}; if the model was trained without types, leave them out of model_input_names in "
            "tokenizer_config.json"
        )
    return frame.special_tokens


def _without_prefix(tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Strip the `bert.` that saves of a model with a head put before names."""
    if not any(name.startswith("bert.") for name in tensors):
        return tensors
    stripped = {name.removeprefix("bert."): stored for name, stored in tensors.items()}
    if len(stripped) != len(tensors):
        twice = sorted(name for name in tensors if f"bert.{name}" in tensors)
        raise CheckpointError(f"the checkpoint has tensors both with and without 'bert.': {name_some(twice)}")
    return stripped


def _variant_of(tensors: Iterable[str], path: Path) -> Variant:
    names = list(tensors)
    plain = any(".mlp.gated_layers." in name for name in names)
    qk_post_norm = any(".mlp.up_gated_layer." in name for name in names)
    if plain == qk_post_norm:
        which = "both" if plain else "neither"
        raise UnsupportedCheckpointError(
            f"{path}: not a JinaBERT checkpoint, it holds {which} of mlp.gated_layers (plain) and "
            "mlp.up_gated_layer (qk-post-norm)"
        )
    return "plain" if plain else "qk-post-norm"


def _without_values(config: JinaBertConfig, variant: Variant, classifier: ClassifierRecord | None) -> JinaBertEncoder:
    """Make the encoder, or a classifier, with parameters that have a shape and no values."""
    with torch.device("meta"):
        if classifier is None:
            return JinaBertEncoder(config, variant)
        return JinaBertClassifier(config, variant, len(classifier.labels), classifier.token_types)


def _require_exact(
    tensors: Mapping[str, StoredTensor],
    config: JinaBertConfig,
    variant: Variant,
    classifier: ClassifierRecord | None,
    path: Path,
) -> None:
    if config.num_hidden_layers > len(tensors):
        raise CheckpointError(
            f"{path}: config.json says {config.num_hidden_layers} layers, and there are {len(tensors)} tensors"
        )
    _require_width(tensors.get("embeddings.word_embeddings.weight"), config.hidden_size, path)
    encoder = _without_values(config, variant, classifier)
    expected = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    missing = sorted(expected.keys() - tensors.keys())
    if missing:
        raise CheckpointError(f"{path}: missing tensors: {name_some(missing)}")
    extra = sorted(tensors.keys() - expected.keys())
    if extra:
        raise CheckpointError(
            f"{path}: unexpected tensors, which a {variant} JinaBERT does not use: {', '.join(extra)}"
        )
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise CheckpointError(
                f"{path}: tensor {name} has shape {list(tensors[name].shape)}, config.json asks for {list(shape)}"
            )


def _require_width(words: StoredTensor | None, hidden_size: int, path: Path) -> None:
    """Refuse an absurd hidden_size before anything of that size is built."""
    if words is not None and words.shape[-1:] != (hidden_size,):
        raise CheckpointError(
            f"{path}: word embeddings of shape {list(words.shape)}, where config.json says hidden_size {hidden_size}"
        )


def _read_finite(name: str, stored: StoredTensor, path: Path) -> torch.Tensor:
    try:
        value = stored.read()
    except Exception as error:  # safetensors raises its own class, torch RuntimeError
        raise CheckpointError(f"{path}: tensor {name} cannot be read ({error})") from error
    if not torch.isfinite(value).all():
        raise CheckpointError(f"{path}: tensor {name} holds NaN or infinity")
    return value
