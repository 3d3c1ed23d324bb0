"""Compare the exported graph, run as the runtime runs it, with torch. Raises where they differ.

Outputs for random tokens at many lengths, alone and in ragged batches; vectors of real texts, or logits of pairs.
Knows nothing of how the graph was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.bundle.probes import Probes
from jinabert_onnx.engine.session import Session, open_session
from numpy.typing import NDArray

from jinabert_onnx_export.checkpoint.read import Checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.errors import VerificationError

from .classification import Classification
from .embedding import Embedding
from .float64 import Exactness, Output, in_words, require_exact
from .reference import Case, run_torch
from .task import Measured, Place, Probed, Task


@dataclass(frozen=True)
class PrecisionAgreement:
    """How well one precision agrees with torch's float32, and what it gives for the self-test's inputs.

    `exactness` is that of fp32 where it differs from torch by more than rounding, else None.
    """

    measured: Measured
    lengths: tuple[tuple[int, ...], ...]
    self_test: NDArray[np.float32]  # one row per input
    exactness: Exactness | None

    def to_dict(self) -> dict[str, object]:
        """Return the figures for the manifest, as JSON has them."""
        return {
            **self.measured.figures,
            "lengths": [list(lengths) for lengths in self.lengths],
            **({} if self.exactness is None else self.exactness.to_dict()),
        }

    def __str__(self) -> str:
        return f"{self.measured.words}{in_words(self.exactness)}"


def task_of(checkpoint: Checkpoint) -> Task[Any]:
    """Return what the checkpoint is for."""
    return Embedding(checkpoint) if checkpoint.classifier is None else Classification(checkpoint)


def verify_precision(task: Task[Any], place: Place, cases: Sequence[Case], expected: Probes[Any]) -> PrecisionAgreement:
    """Check one precision of a bundle against torch and return how well they agree.

    `cases` and `expected` were computed from the checkpoint of `task`.

    Raises:
        VerificationError: a value is not finite or differs by more than it may, from torch's float32 or, in fp32, from
            float64.
    """
    onnx_file = place.bundle / open_bundle(place.bundle).files_of(place.precision)[0]
    session = open_session(onnx_file, place.precision, place.provider, place.threads)
    outputs = [(case, _run_finite(session, place.precision, case)) for case in cases]
    del session  # the weights need not lie in memory twice
    probed = task.run(place, expected.texts)
    measured = task.measure(place.precision, outputs, probed, expected.vectors)
    exactness = None
    if place.precision == "fp32":
        compared = [*(_of_batch(task, *each) for each in outputs), _of_inputs(task, probed, expected)]
        exactness = require_exact(compared, task.compare, task.checkpoint)
    return PrecisionAgreement(measured, tuple(case.lengths for case in cases), probed.self_test, exactness)


def _run_finite(session: Session, precision: str, case: Case) -> NDArray[np.float32]:
    output = session.run(case.input_ids, case.attention_mask, token_type_ids=case.token_type_ids)
    if not np.isfinite(output).all():
        raise VerificationError(f"{precision} at lengths {list(case.lengths)}: the output holds NaN or infinity")
    return output


def _of_batch(task: Task[Any], case: Case, output: NDArray[np.float32]) -> Output:
    def exact(encoder: JinaBertEncoder) -> NDArray[np.float32]:
        right = run_torch(encoder, case.input_ids, case.attention_mask, case.token_type_ids)
        return np.asarray(task.rows_of(case, right))

    where = f"at lengths {list(case.lengths)}"
    return Output(where, task.rows_of(case, output), task.rows_of(case, case.output), exact)


def _of_inputs(task: Task[Any], probed: Probed, expected: Probes[Any]) -> Output:
    """Of inputs that were computed twice."""

    def exact(encoder: JinaBertEncoder) -> NDArray[np.float32]:
        return np.concatenate([task.compute(encoder, expected.texts)] * 2)

    where = f"on {len(expected.texts)} {task.named}"
    graph = np.concatenate([probed.together, probed.alone])
    return Output(where, graph, np.concatenate([expected.vectors] * 2), exact)
