"""The checkpoint that a bundle was made from, opened with torch and proven to be that one."""

from __future__ import annotations

from jinabert_onnx.bundle.manifest import Bundle
from jinabert_onnx_export.checkpoint.read import Checkpoint, open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.errors import VerificationError
from jinabert_onnx_export.verify.vector_space import weights_sha256


def open_origin(bundle: Bundle, source: str) -> tuple[Checkpoint, JinaBertEncoder]:
    """Return the checkpoint at `source` (directory or hub id) and its encoder, float32.

    Raises:
        VerificationError: its weights are not those of the bundle.
        CheckpointError: it cannot be read.
    """
    checkpoint = open_checkpoint(source)
    encoder = checkpoint.load_encoder()
    if weights_sha256(encoder) != bundle.manifest.weights_sha256:
        raise VerificationError(
            f"{source}: its weights are not those that {bundle.path} was made from; give the checkpoint of "
            f"{bundle.manifest.source or 'the bundle'}"
        )
    return checkpoint, encoder
