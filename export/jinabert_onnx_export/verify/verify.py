"""Compare the exported graph, run as the runtime runs it, with torch. Raises where they differ.

Token embeddings of random tokens at many lengths, alone and in ragged batches; vectors of real texts.
Knows nothing of how the graph was made.
"""

from __future__ import annotations

from collections.abc import Sequence
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

from jinabert_onnx_export.errors import VerificationError

from .probe_texts import SELF_TEST_TEXTS
from .reference import Case


@dataclass(frozen=True)
class PrecisionAgreement:
    """How well one precision agrees with torch, over all tokens and over all vectors."""

    tokens: Agreement
    vectors: Agreement
    lengths: tuple[tuple[int, ...], ...]
    self_test: NDArray[np.float32]  # (texts, hidden), what this precision gives for `SELF_TEST_TEXTS`

    def to_dict(self) -> dict[str, object]:
        """Return the figures for the manifest, as JSON has them."""
        return {
            "max_difference_tokens": self.tokens.max_difference,
            "min_cosine_tokens": self.tokens.min_cosine,
            "max_difference_vectors": self.vectors.max_difference,
            "min_cosine_vectors": self.vectors.min_cosine,
            "lengths": [list(lengths) for lengths in self.lengths],
        }


def verify_precision(
    bundle: Path,
    precision: str,
    cases: Sequence[Case],
    expected: Probes,
    provider: str = "cpu",
    threads: int | str = "auto",
) -> PrecisionAgreement:
    """Check one precision of the bundle at `bundle` against torch and return how well they agree.

    Raises:
        VerificationError: a value is not finite or differs from torch by more than `probes` allows.
    """
    onnx_file = bundle / open_bundle(bundle).files_of(precision)[0]
    session = open_session(onnx_file, precision, provider, threads)
    tokens, vectors = zip(*(_verify_case(session, precision, case) for case in cases), strict=True)
    del session  # the weights need not lie in memory twice
    embedder = Embedder.load(
        bundle, precision=precision, provider=provider, threads=threads, integrity="off", self_test=False
    )
    texts = probes.probe(embedder.encode, expected)
    _require(texts, precision, f"{precision}, {len(expected.texts)} texts")
    return PrecisionAgreement(
        probes.worst(tokens),
        probes.worst([*vectors, texts]),
        tuple(case.lengths for case in cases),
        embedder.encode(SELF_TEST_TEXTS, truncation="head", prompt=""),
    )


def _verify_case(session: Session, precision: str, case: Case) -> tuple[Agreement, Agreement]:
    """Return the agreement of tokens, by which fp32 is judged, and of mean-pooled vectors, for the others."""
    output = session.run(case.input_ids, case.attention_mask)  # (batch, sequence, hidden)
    what = f"{precision} at lengths {list(case.lengths)}"
    if not np.isfinite(output).all():
        raise VerificationError(f"{what}: the output holds NaN or infinity")
    visible = case.attention_mask == 1
    tokens = probes.compare(output[visible], case.last_hidden_state[visible])
    vectors = probes.compare(
        pooling.pool(output, case.attention_mask, "mean"),
        pooling.pool(case.last_hidden_state, case.attention_mask, "mean"),
    )
    _require(tokens if precision == "fp32" else vectors, precision, what)
    return tokens, vectors


def _require(agreement: Agreement, precision: str, what: str) -> None:
    if not agreement.within(precision):
        raise VerificationError(
            f"{what}: differs from torch by {agreement.max_difference:.2g}, cosine {agreement.min_cosine:.6f}; "
            f"required is {probes.required(precision)}"
        )
