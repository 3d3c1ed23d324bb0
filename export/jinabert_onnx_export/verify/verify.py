"""Compare the exported graph, run as the runtime runs it, with torch. Raises where they differ.

Token embeddings of random tokens at many lengths, alone and in ragged batches; vectors of real texts.
Knows nothing of how the graph was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.bundle import probes
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.bundle.probes import Agreement, Probes
from jinabert_onnx.encoding import pooling
from jinabert_onnx.engine.session import Session, open_session
from numpy.typing import NDArray

from jinabert_onnx_export.checkpoint.read import Checkpoint
from jinabert_onnx_export.errors import VerificationError

from .float64 import Exactness, require_exact
from .probe_texts import SELF_TEST_TEXTS
from .reference import Case


@dataclass(frozen=True)
class PrecisionAgreement:
    """How well one precision agrees with torch's float32, over all tokens and over all vectors.

    `exactness` is that of fp32 where it differs from torch by more than rounding, else None.
    """

    tokens: Agreement
    vectors: Agreement
    lengths: tuple[tuple[int, ...], ...]
    self_test: NDArray[np.float32]  # (texts, hidden), what this precision gives for `SELF_TEST_TEXTS`
    exactness: Exactness | None

    def to_dict(self) -> dict[str, object]:
        """Return the figures for the manifest, as JSON has them."""
        return {
            "max_difference_tokens": self.tokens.max_difference,
            "min_cosine_tokens": self.tokens.min_cosine,
            "max_difference_vectors": self.vectors.max_difference,
            "min_cosine_vectors": self.vectors.min_cosine,
            "lengths": [list(lengths) for lengths in self.lengths],
            **({} if self.exactness is None else self.exactness.to_dict()),
        }


def verify_precision(
    bundle: Path,
    precision: str,
    cases: Sequence[Case],
    expected: Probes,
    checkpoint: Checkpoint,
    provider: str = "cpu",
    threads: int | str = "auto",
) -> PrecisionAgreement:
    """Check one precision of the bundle at `bundle` against torch and return how well they agree.

    `checkpoint` is the one that `cases` and `expected` were computed from.

    Raises:
        VerificationError: a value is not finite or differs by more than `probes` allows, from torch's float32 or, in
            fp32, from float64.
    """
    onnx_file = bundle / open_bundle(bundle).files_of(precision)[0]
    session = open_session(onnx_file, precision, provider, threads)
    outputs = [(case, _run_finite(session, precision, case)) for case in cases]
    del session  # the weights need not lie in memory twice
    embedder = Embedder.load(
        bundle, precision=precision, provider=provider, threads=threads, integrity="off", self_test=False
    )
    texts = probes.probe(embedder.encode, expected.texts, expected.vectors)
    vectors = {_name(precision, case): _compare_vectors(case, output) for case, output in outputs}
    vectors[f"{precision}, {len(expected.texts)} texts"] = texts
    exactness = None
    if precision == "fp32":
        exactness = require_exact(outputs, embedder.encode, expected, checkpoint)
    else:
        _require_near(vectors, precision)
    return PrecisionAgreement(
        probes.worst([_compare_tokens(case, output) for case, output in outputs]),
        probes.worst(list(vectors.values())),
        tuple(case.lengths for case in cases),
        embedder.encode(SELF_TEST_TEXTS, truncation="head", prompt=""),
        exactness,
    )


def _name(precision: str, case: Case) -> str:
    return f"{precision} at lengths {list(case.lengths)}"


def _run_finite(session: Session, precision: str, case: Case) -> NDArray[np.float32]:
    output = session.run(case.input_ids, case.attention_mask)  # (batch, sequence, hidden)
    if not np.isfinite(output).all():
        raise VerificationError(f"{_name(precision, case)}: the output holds NaN or infinity")
    return output


def _compare_tokens(case: Case, output: NDArray[np.float32]) -> Agreement:
    visible = case.attention_mask == 1
    return probes.compare(output[visible], case.last_hidden_state[visible])


def _compare_vectors(case: Case, output: NDArray[np.float32]) -> Agreement:
    pooled, expected = (pooling.pool(each, case.attention_mask, "mean") for each in (output, case.last_hidden_state))
    return probes.compare(pooled, expected)


def _require_near(found: Mapping[str, Agreement], precision: str) -> None:
    """Refuse fp16 or int8 by the direction of a vector."""
    for name, agreement in found.items():
        if not agreement.within(precision):
            raise VerificationError(
                f"{name}: differs from torch by {agreement.max_difference:.2g}, cosine {agreement.min_cosine:.6f}; "
                f"required is {probes.required(precision)}"
            )
