"""Open the checkpoint that a bundle was made from with torch, and prove by its weights that it is that one."""

from __future__ import annotations

from jinabert_onnx.bundle.manifest import Bundle, ModelRecord

from jinabert_onnx_export.checkpoint.read import Checkpoint, open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.errors import VerificationError

from .vector_space import weights_sha256

_SIZES = ("hidden_size", "vocab_size", "num_hidden_layers", "num_attention_heads")
_SHOWN = 12  # digits of a hash, for a message


def open_origin(bundle: Bundle, source: str) -> tuple[Checkpoint, JinaBertEncoder]:
    """Open the checkpoint at `source` (directory or hub id); return it and its encoder, float32.

    Raises:
        VerificationError: its sizes or its weights are not those of the bundle.
        CheckpointError: it cannot be read.
    """
    checkpoint = open_checkpoint(source)
    _require_same_sizes(bundle.manifest.model, checkpoint)
    encoder = checkpoint.load_encoder()
    ours, theirs = bundle.manifest.weights_sha256, weights_sha256(encoder, checkpoint.dense)
    if ours != theirs:
        raise VerificationError(
            f"{source}: its weights (SHA-256 {theirs[:_SHOWN]}…) are not those that {bundle.path} was made from "
            f"({ours[:_SHOWN]}…); give the checkpoint of {bundle.manifest.source or 'the bundle'}"
        )
    return checkpoint, encoder


def _require_same_sizes(model: ModelRecord, checkpoint: Checkpoint) -> None:
    for name in _SIZES:
        ours, theirs = getattr(model, name), getattr(checkpoint.config, name)
        if ours != theirs:
            raise VerificationError(
                f"the bundle has {name} {ours}, {checkpoint.source} has {theirs}: it was made from another checkpoint"
            )
