"""Whether the manifest, the tokenizer and the graph of a bundle are of one model. Knows nothing of texts."""

from __future__ import annotations

from jinabert_onnx.bundle.manifest import TOKENIZER, Bundle
from jinabert_onnx.engine.session import Session
from jinabert_onnx.errors import BundleError
from jinabert_onnx.text.pair_tokenizer import special_tokens_of
from jinabert_onnx.text.tokenizer import Tokenizer


def require_fitting(bundle: Bundle, tokenizer: Tokenizer, session: Session) -> None:
    """Refuse a bundle whose parts are of different models.

    Raises:
        BundleError: the tokenizer's ids, the graph's inputs, output or channels, or the default length contradict the
            manifest.
    """
    manifest, model = bundle.manifest, bundle.manifest.model
    if tokenizer.largest_id >= model.vocab_size:
        raise BundleError(
            f"{bundle.path / TOKENIZER}: token id {tokenizer.largest_id} lies outside the model's vocabulary of "
            f"{model.vocab_size}; this is another model's tokenizer"
        )
    _require_fitting_graph(bundle, session)
    special_tokens = special_tokens_of(tokenizer, manifest.classifier is not None)
    if manifest.default_max_length <= special_tokens:
        raise BundleError(
            f"{bundle.path}: default_max_length {manifest.default_max_length} leaves no room beside {special_tokens} "
            "special tokens; export the bundle again"
        )


def _require_fitting_graph(bundle: Bundle, session: Session) -> None:
    model, classifier = bundle.manifest.model, bundle.manifest.classifier
    if classifier is None:
        output, width, token_types, what = "last_hidden_state", model.hidden_size, False, "channels"
    else:
        output, width, token_types, what = "logits", len(classifier.labels), classifier.token_types, "labels"
    given, said = (session.output, session.takes_token_types), (output, token_types)
    if given != said:
        raise BundleError(
            f"{bundle.path}: the graph gives {_described(*given)}, and the manifest says {_described(*said)}; export "
            "the bundle again"
        )
    if session.width != width:
        raise BundleError(
            f"{bundle.path}: the graph has {session.width} {what} and the manifest says {width}; export the bundle "
            "again"
        )


def _described(output: str, token_types: bool) -> str:
    return f"{output} of token_type_ids" if token_types else output
