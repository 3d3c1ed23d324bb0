"""Verification of rerankers and classifiers: logits of batches and of pairs, by scores and by the order they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jinabert_onnx import CrossEncoder
from jinabert_onnx.bundle.manifest import ClassifierRecord
from jinabert_onnx.bundle.probes import Agreement, Rows, together_and_alone
from jinabert_onnx.bundle.score_agreement import compare_scores, required_scores, worst_scores
from jinabert_onnx.text.pairs import TextOrPair
from numpy.typing import NDArray

from jinabert_onnx_export.checkpoint.known_scores import check_known_scores, read_known_scores
from jinabert_onnx_export.checkpoint.known_vectors import claimed_name
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.errors import VerificationError
from jinabert_onnx_export.int8.calibration import read_calibration_pairs

from .pairs import predict, tokenize
from .probe_texts import PROBE_PAIRS, SELF_TEST_PAIRS
from .reference import Case, random_ids, random_types
from .task import Measured, Place, Probed, Task, Tokens


class Classification(Task[TextOrPair]):
    """Pairs of texts, or single ones, to logits."""

    probe_inputs = PROBE_PAIRS
    self_test_inputs = SELF_TEST_PAIRS
    named = "pairs"

    @property
    def _head(self) -> ClassifierRecord:
        assert self.checkpoint.classifier is not None
        return self.checkpoint.classifier

    def check_known(self, encoder: JinaBertEncoder) -> str | None:
        """Compare with the scores that are known of published checkpoints."""
        known = read_known_scores()
        return check_known_scores(
            claimed_name(self.checkpoint.source, known), lambda pairs: self.compute(encoder, pairs), known
        )

    def compute(self, encoder: JinaBertEncoder, inputs: Sequence[TextOrPair]) -> NDArray[np.float32]:
        """Return logits (inputs, labels)."""
        return predict(self.checkpoint, encoder, inputs)

    def run(self, place: Place, inputs: Sequence[TextOrPair]) -> Probed:
        """Return logits (inputs, labels)."""
        model = place.load(CrossEncoder)
        return Probed(*together_and_alone(model.logits, inputs), model.logits(SELF_TEST_PAIRS))

    def rows_of(self, case: Case, output: Rows) -> Rows:
        """Return all of it: logits (texts, labels)."""
        return output

    def compare(self, actual: Rows, expected: Rows) -> Agreement:
        """Compare values; the direction of a row of labels says nothing."""
        return Agreement(float(np.abs(actual.astype(np.float64) - expected).max()), 1.0)

    def measure(
        self, precision: str, outputs: Sequence[tuple[Case, NDArray[np.float32]]], probed: Probed, expected: Rows
    ) -> Measured:
        """Compare scores of all inputs, and the order of pairs: random tokens have none that matters."""
        activation = self._head.activation
        batches = compare_scores(
            np.concatenate([output for _, output in outputs]),
            np.concatenate([case.output for case, _ in outputs]),
            activation,
        )
        pairs = worst_scores(
            [compare_scores(logits, expected, activation) for logits in (probed.together, probed.alone)]
        )
        found = replace(worst_scores([batches, pairs]), rank_correlation=pairs.rank_correlation)
        if precision != "fp32" and not found.within(precision):
            raise VerificationError(f"{precision}: {found}; required is {required_scores(precision)}")
        figures = {
            "max_difference_logits": found.max_difference,
            "max_difference_scores": found.max_score_difference,
            "rank_correlation": found.rank_correlation,
        }
        return Measured(figures, str(found))

    def vector_limits(self, encoder: JinaBertEncoder) -> dict[str, float]:
        """Return none: there are no vectors."""
        return {}

    def calibration(self, path: Path | None) -> tuple[list[Tokens], list[Tokens] | None]:
        """Return tokens of pairs, and seeded random ones: they use channels that no calibration pair may use."""
        generator = np.random.default_rng(0)
        random = random_ids(self.checkpoint, generator)
        rows = tokenize(self.checkpoint, read_calibration_pairs(path))
        ids = [*(row.input_ids for row in rows), *random]
        if not self._head.token_types:
            return ids, None
        types = [random_types(self.checkpoint, generator, each.shape) for each in random]
        return ids, [*(row.token_type_ids for row in rows), *(each for each in types if each is not None)]
