"""Compute reference outputs with torch, in the type of the encoder's weights, which is float32 or float64.

Knows nothing of ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jinabert_onnx.bundle.manifest import TOKENIZER
from jinabert_onnx.encoding import pooling
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.text.inputs import choose_prompt
from jinabert_onnx.text.tokenizer import Tokenizer
from numpy.typing import NDArray

from jinabert_onnx_export.checkpoint.dense import apply_dense_modules
from jinabert_onnx_export.checkpoint.read import Checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.step_log import Log

# Lengths of the batches below: unlike the traced one, and on both sides of a block of queries.
LENGTHS: tuple[tuple[int, ...], ...] = ((1,), (2,), (5,), (127,), (129,), (300,), (2048,), (1, 7, 130, 600))
THOROUGH_LENGTHS = (*LENGTHS, (8192,), (4096, 3))

RANDOM_LENGTHS = (256, 256, 256, 256)  # of the random token sequences that int8 is calibrated with


@dataclass(frozen=True)
class Case:
    """One batch of random tokens and torch's output for it.

    The output is float32 (batch, sequence, hidden), of a classifier (batch, labels). `token_type_ids` are random too,
    and None for an encoder that takes none.
    """

    lengths: tuple[int, ...]
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_type_ids: NDArray[np.int64] | None
    output: NDArray[np.float32]


def run_torch(
    encoder: JinaBertEncoder,
    input_ids: NDArray[np.int64],
    attention_mask: NDArray[np.int64],
    token_type_ids: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Return the encoder's `last_hidden_state`, or a classifier's logits, of int64 (batch, sequence) each.

    It is float64 of an encoder in float64.
    """
    given = [each for each in (input_ids, attention_mask, token_type_ids) if each is not None]
    with torch.inference_mode():
        output: NDArray[np.float32] = encoder(*map(torch.from_numpy, given)).numpy()
    return output


def make_cases(
    checkpoint: Checkpoint,
    encoder: JinaBertEncoder,
    thorough: bool,
    log: Log = lambda line: None,
) -> list[Case]:
    """Make batches of seeded random tokens at every length of `LENGTHS`, or `THOROUGH_LENGTHS`, as the model allows."""
    generator = np.random.default_rng(0)
    limit = checkpoint.config.max_position_embeddings
    cases = []
    for requested in THOROUGH_LENGTHS if thorough else LENGTHS:
        lengths = tuple(min(length, limit) for length in requested)
        log(f"{' + '.join(map(str, lengths))} tokens")
        ids = [generator.integers(checkpoint.config.vocab_size, size=length) for length in lengths]
        input_ids, attention_mask = pad(ids)
        types = random_types(checkpoint, generator, input_ids.shape)
        output = run_torch(encoder, input_ids, attention_mask, types)
        cases.append(Case(lengths, input_ids, attention_mask, types, output))
    return cases


def random_types(
    checkpoint: Checkpoint, generator: np.random.Generator, shape: tuple[int, ...]
) -> NDArray[np.int64] | None:
    """Draw token types, int64 of that shape; None for a model that takes none."""
    if checkpoint.classifier is None or not checkpoint.classifier.token_types:
        return None
    return generator.integers(checkpoint.config.type_vocab_size, size=shape)


def tokenize(checkpoint: Checkpoint, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Return the token ids of each text, int64 (tokens), as `encode(texts)` feeds them, prompt included."""
    settings = checkpoint.settings
    prompt = choose_prompt(settings.prompts or {}, settings.default_prompt, None, None)
    tokens = Tokenizer(checkpoint.path / TOKENIZER)([prompt + text for text in texts], checkpoint.max_length)
    return list(tokens.input_ids)


def calibration_ids(checkpoint: Checkpoint, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Return token ids of the texts, and seeded random ones: they use channels that no calibration text may use."""
    return [*tokenize(checkpoint, texts), *random_ids(checkpoint, np.random.default_rng(0))]


def random_ids(checkpoint: Checkpoint, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Draw token ids of `RANDOM_LENGTHS`."""
    return [generator.integers(checkpoint.config.vocab_size, size=length) for length in RANDOM_LENGTHS]


def embed(checkpoint: Checkpoint, encoder: JinaBertEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Compute the vectors that `encode(texts)` stands for: (texts, channels), each text in a batch of its own."""
    settings = checkpoint.settings
    rows = []
    for ids in tokenize(checkpoint, texts):
        input_ids, attention_mask = pad([ids])
        pooled = pooling.pool(run_torch(encoder, input_ids, attention_mask), attention_mask, settings.pooling)
        pooled = apply_dense_modules(checkpoint.dense, pooled)
        rows.append(pooling.normalize(pooled) if settings.normalize else pooled)
    return np.concatenate(rows)
