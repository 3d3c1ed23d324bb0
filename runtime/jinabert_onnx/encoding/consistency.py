"""Whether the manifest, the tokenizer and the graph of a bundle are of one model. Knows nothing of texts."""

from __future__ import annotations

from jinabert_onnx.bundle.manifest import TOKENIZER, Bundle
from jinabert_onnx.engine.session import Session
from jinabert_onnx.errors import BundleError
from jinabert_onnx.text.tokenizer import Tokenizer


def require_fitting(bundle: Bundle, tokenizer: Tokenizer, session: Session) -> None:
    """Refuse a bundle whose parts are of different models.

    Raises:
        BundleError: the tokenizer's ids, the graph's channels or the default length contradict the manifest.
    """
    manifest, model = bundle.manifest, bundle.manifest.model
    if tokenizer.largest_id >= model.vocab_size:
        raise BundleError(
            f"{bundle.path / TOKENIZER}: token id {tokenizer.largest_id} lies outside the model's vocabulary of "
            f"{model.vocab_size}; this is another model's tokenizer"
        )
    if session.hidden_size != model.hidden_size:
        raise BundleError(
            f"{bundle.path}: the graph has {session.hidden_size} channels and the manifest says {model.hidden_size}; "
            "export the bundle again"
        )
    if manifest.default_max_length <= tokenizer.special_tokens:
        raise BundleError(
            f"{bundle.path}: default_max_length {manifest.default_max_length} leaves no room beside "
            f"{tokenizer.special_tokens} special tokens; export the bundle again"
        )
