"""A bundle beside torch on long texts: the same real tokens through both.

Needs the checkpoint that the bundle was made from, and torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.bundle import probes
from jinabert_onnx.encoding import pooling
from jinabert_onnx.errors import InputError
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.verify.origin import open_origin
from jinabert_onnx_export.verify.reference import run_torch
from numpy.typing import NDArray

SAMPLES = 2  # texts of each length

Say = Callable[[str], None]


@dataclass(frozen=True)
class LengthAgreement:
    """Texts of one length: the worst token and the worst vector, against torch in float32.

    `within` is whether the vectors are as close as the precision promises (`probes.required`).
    """

    tokens: int
    texts: int
    max_difference_tokens: float
    min_cosine_tokens: float
    max_difference_vectors: float
    min_cosine_vectors: float
    within: bool


def compare_with_torch(
    model: Embedder, checkpoint: str, texts: Sequence[str], lengths: Sequence[int], say: Say = lambda line: None
) -> list[LengthAgreement]:
    """Run `texts`, one after the other as one text, cut to pieces of each of `lengths` tokens, in both.

    Texts that are too short together are repeated.

    Raises:
        InputError: a length is beyond the model's limit, or leaves no room for text.
        VerificationError: the bundle was not made from `checkpoint`.
    """
    tokenizer, limit = model.loaded.tokenizer, model.bundle.manifest.model.max_tokens
    for length in lengths:
        if not tokenizer.special_tokens < length <= limit:
            raise InputError(f"length {length} is not from {tokenizer.special_tokens + 1} to {limit} tokens")
    _, encoder = open_origin(model.bundle, checkpoint)
    content = tokenizer.with_offsets(" ".join(texts)).ids
    reports = []
    for length in lengths:
        say(f"{length} tokens, {SAMPLES} texts, in torch and in {model.precision}")
        room = length - tokenizer.special_tokens
        pieces = np.resize(content, (SAMPLES, room))  # repeats what is too short
        inputs = [np.concatenate((tokenizer.before, piece, tokenizer.after)) for piece in pieces]
        reports.append(_compare(model, encoder, inputs))
    return reports


def _compare(model: Embedder, encoder: JinaBertEncoder, inputs: Sequence[NDArray[np.int64]]) -> LengthAgreement:
    """Agreement over texts of one length, each of which runs alone."""
    mode, tokens, vectors = model.bundle.manifest.pooling.mode, [], []
    for ids in inputs:
        input_ids, mask = ids[None], np.ones((1, len(ids)), dtype=np.int64)  # (1, sequence)
        expected = run_torch(encoder, input_ids, mask)  # (1, sequence, hidden)
        actual = model.loaded.session.run(input_ids, mask)
        tokens.append(probes.compare(actual[0], expected[0]))
        vectors.append(probes.compare(pooling.pool(actual, mask, mode), pooling.pool(expected, mask, mode)))
    worst_token, worst_vector = probes.worst(tokens), probes.worst(vectors)
    judged = worst_token if model.precision == "fp32" else worst_vector  # as at export
    return LengthAgreement(
        len(inputs[0]),
        len(inputs),
        worst_token.max_difference,
        worst_token.min_cosine,
        worst_vector.max_difference,
        worst_vector.min_cosine,
        judged.within(model.precision),
    )
