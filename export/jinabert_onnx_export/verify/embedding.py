"""Verification of embedding models: token embeddings of batches, vectors of texts, by their directions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.bundle import probes
from jinabert_onnx.bundle.probes import Agreement, Rows
from jinabert_onnx.encoding import pooling
from numpy.typing import NDArray

from jinabert_onnx_export.checkpoint.known_vectors import check_known_vectors, claimed_name, read_known
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.errors import VerificationError
from jinabert_onnx_export.int8.calibration import read_calibration_texts

from . import vector_space
from .probe_texts import PROBE_TEXTS, SELF_TEST_TEXTS
from .reference import Case, calibration_ids, embed
from .task import Measured, Place, Probed, Task, Tokens


class Embedding(Task[str]):
    """Texts to vectors."""

    probe_inputs = PROBE_TEXTS
    self_test_inputs = SELF_TEST_TEXTS
    named = "texts"

    def check_known(self, encoder: JinaBertEncoder) -> str | None:
        """Compare with the vectors that are known of published checkpoints."""
        known = read_known()
        return check_known_vectors(
            claimed_name(self.checkpoint.source, known), lambda texts: self.compute(encoder, texts), known
        )

    def compute(self, encoder: JinaBertEncoder, inputs: Sequence[str]) -> NDArray[np.float32]:
        """Return vectors (texts, channels)."""
        return embed(self.checkpoint, encoder, inputs)

    def run(self, place: Place, inputs: Sequence[str]) -> Probed:
        """Return vectors (texts, channels)."""
        embedder = place.load(Embedder)
        self_test = embedder.encode(SELF_TEST_TEXTS, truncation="head", prompt="")
        return Probed(*probes.together_and_alone(embedder.encode, inputs), self_test)

    def rows_of(self, case: Case, output: Rows) -> Rows:
        """Return the embeddings of tokens, (tokens, hidden)."""
        rows: Rows = output[case.attention_mask == 1]
        return rows

    def compare(self, actual: Rows, expected: Rows) -> Agreement:
        """Compare values and directions."""
        return probes.compare(actual, expected)

    def measure(
        self, precision: str, outputs: Sequence[tuple[Case, NDArray[np.float32]]], probed: Probed, expected: Rows
    ) -> Measured:
        """Compare the directions of texts' vectors, and of those that the batches' rows have."""
        tokens = probes.worst(
            [probes.compare(self.rows_of(case, output), self.rows_of(case, case.output)) for case, output in outputs]
        )
        vectors = {
            f"{precision} at lengths {list(case.lengths)}": _compare_pooled(case, output) for case, output in outputs
        }
        vectors[f"{precision}, {len(expected)} texts"] = probes.worst(
            [probes.compare(rows, expected) for rows in (probed.together, probed.alone)]
        )
        if precision != "fp32":
            for name, agreement in vectors.items():
                _require_near(name, agreement, precision)
        worst = probes.worst(list(vectors.values()))
        figures = {
            "max_difference_tokens": tokens.max_difference,
            "min_cosine_tokens": tokens.min_cosine,
            "max_difference_vectors": worst.max_difference,
            "min_cosine_vectors": worst.min_cosine,
        }
        words = f"largest difference {tokens.max_difference:.1e}, smallest cosine {worst.min_cosine:.6f}"
        return Measured(figures, words)

    def vector_limits(self, encoder: JinaBertEncoder) -> dict[str, float]:
        """Return the limits of the shipped texts, whatever int8 is calibrated with.

        Vectors of one fingerprint must have one scale.
        """
        return vector_space.vector_limits(self.compute(encoder, read_calibration_texts()))

    def calibration(self, path: Path | None) -> tuple[list[Tokens], list[Tokens] | None]:
        """Return token ids of the texts."""
        return calibration_ids(self.checkpoint, read_calibration_texts(path)), None


def _compare_pooled(case: Case, output: NDArray[np.float32]) -> Agreement:
    pooled, expected = (pooling.pool(each, case.attention_mask, "mean") for each in (output, case.output))
    return probes.compare(pooled, expected)


def _require_near(name: str, agreement: Agreement, precision: str) -> None:
    """Refuse fp16 or int8 by the direction of a vector."""
    if not agreement.within(precision):
        raise VerificationError(
            f"{name}: differs from torch by {agreement.max_difference:.2g}, cosine {agreement.min_cosine:.6f}; "
            f"required is {probes.required(precision)}"
        )
