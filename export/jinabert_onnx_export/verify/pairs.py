"""Run a classifier in torch on pairs of texts and on single ones. Knows nothing of ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jinabert_onnx.bundle.manifest import TOKENIZER
from jinabert_onnx.text.pair_tokenizer import PairRow, tokenize_pairs
from jinabert_onnx.text.pairs import TextOrPair
from jinabert_onnx.text.tokenizer import Tokenizer
from numpy.typing import NDArray

from jinabert_onnx_export.checkpoint.read import Checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder

from .reference import run_torch


def tokenize(checkpoint: Checkpoint, inputs: Sequence[TextOrPair]) -> list[PairRow]:
    """Return token ids and token types of each input, as `predict(inputs)` feeds them."""
    return tokenize_pairs(Tokenizer(checkpoint.path / TOKENIZER), inputs, checkpoint.max_length)


def predict(checkpoint: Checkpoint, encoder: JinaBertEncoder, inputs: Sequence[TextOrPair]) -> NDArray[np.float32]:
    """Compute logits (inputs, labels), each input in a batch of its own."""
    assert checkpoint.classifier is not None
    takes_types = checkpoint.classifier.token_types
    logits = []
    for row in tokenize(checkpoint, inputs):
        types = row.token_type_ids[None] if takes_types else None
        logits.append(run_torch(encoder, row.input_ids[None], np.ones_like(row.input_ids)[None], types))
    return np.concatenate(logits)
