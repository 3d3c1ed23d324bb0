"""The two kinds of bundles: each is refused where the other is needed, and what takes it is named."""

from __future__ import annotations

from jinabert_onnx.errors import BundleError

from .manifest import Bundle


def require_embedding_model(bundle: Bundle) -> None:
    """Return if the bundle gives vectors.

    Raises:
        BundleError: it is that of a cross-encoder.
    """
    if bundle.manifest.classifier is not None:
        raise BundleError(
            f"{bundle.path}: a cross-encoder, which scores pairs of texts and gives no vectors; load it with "
            "CrossEncoder.load, or use `jinabert-onnx rerank`"
        )


def require_cross_encoder(bundle: Bundle) -> None:
    """Return if the bundle gives scores.

    Raises:
        BundleError: it is that of an embedding model.
    """
    if bundle.manifest.classifier is None:
        raise BundleError(
            f"{bundle.path}: an embedding model, which gives vectors and scores no pairs; load it with Embedder.load, "
            "or use `jinabert-onnx embed`"
        )
