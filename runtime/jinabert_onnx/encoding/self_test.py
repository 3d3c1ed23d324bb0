"""What a loaded model computes beside what it computed at export, for the few texts that the bundle holds for it.

Knows nothing of how vectors or scores are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.bundle.probes import Input, SelfTest, read_pair_probes, read_probes
from jinabert_onnx.bundle.score_agreement import Logits
from jinabert_onnx.engine import providers
from jinabert_onnx.engine.kernels import Kernels
from jinabert_onnx.errors import BundleError, RunError, SelfTestError
from jinabert_onnx.text.pairs import TextOrPair

from .loaded_model import LoadedModel
from .pooling import lengths_of
from .vector_types import AnyVectors

# Difference from a vector of export, as a share of its length. Between CPUs, products differ in the last bits and int8
# steps flip here and there, 0.001 in all; a CPU whose int8 saturates, or another tokenizer, is far beyond.
_SHARES = {"fp32": 0.002, "fp16": 0.03, "int8": 0.03}


def require_vectors_of_export(model: LoadedModel, encode: Callable[[Sequence[str]], AnyVectors]) -> None:
    """Compare what `encode` gives for a few texts with what this precision gave at export.

    Raises:
        SelfTestError: it differs, or is not finite.
        BundleError: the bundle holds no texts and vectors for this precision.
    """
    expected = read_probes(model.bundle).self_test
    right = _expected_rows(model, expected)
    differences = lengths_of(_computed(model, encode, expected.texts) - right)
    _require_near(model, float((differences / lengths_of(right)).max()), "their length")


def require_logits_of_export(model: LoadedModel, predict: Callable[[Sequence[TextOrPair]], Logits]) -> None:
    """Compare the logits that `predict` gives for a few pairs with those of this precision at export.

    Logits may be near 0, so the measure is the largest of them all, or 1.

    Raises:
        SelfTestError, BundleError: as `require_vectors_of_export`.
    """
    expected = read_pair_probes(model.bundle).self_test
    right = _expected_rows(model, expected)
    difference = np.abs(_computed(model, predict, expected.texts) - right).max()
    _require_near(model, float(difference) / max(1.0, float(np.abs(right).max())), "the largest logit")


def _expected_rows(model: LoadedModel, expected: SelfTest[Input]) -> NDArray[np.float32]:
    if model.precision not in expected.vectors:
        raise BundleError(f"{model.bundle.path}: no vectors for a self-test of {model.precision}; export it again")
    return expected.vectors[model.precision]


def _computed(
    model: LoadedModel, compute: Callable[[Sequence[Input]], AnyVectors], texts: Sequence[Input]
) -> AnyVectors:
    try:
        return compute(texts)
    except RunError as error:
        raise SelfTestError(_failure(model, str(error))) from error


def _require_near(model: LoadedModel, share: float, measure: str) -> None:
    allowed = _SHARES[model.precision]
    if not share <= allowed:  # NaN, should the bundle's own vectors hold it, is no agreement
        raise SelfTestError(_failure(model, f"off by {share:.2g} of {measure}, {allowed:g} is allowed"))


def _failure(model: LoadedModel, difference: str) -> str:
    release, kernels = providers.import_onnxruntime().__version__, model.session.kernels
    suspects = f"this processor, onnxruntime {release}, {_native(kernels)}"
    remedy = "another release or precision, or kernels 'off'" if kernels.library else "another release or precision"
    what = "vectors" if model.bundle.manifest.classifier is None else "scores"
    return (
        f"{model.bundle.path}: {model.precision} on {model.session.provider} computes different {what} here than at "
        f"export ({difference}): {suspects}or the tokenizers package is at fault; try {remedy} (for details run "
        "`jinabert-onnx verify`)"
    )


def _native(kernels: Kernels) -> str:
    """Name the native kernels that run, as suspects; nothing where none do."""
    if not kernels.library:
        return ""
    release = kernels.reason if kernels.native else kernels.layers_reason
    return f"{release} ({kernels.attention} attention, {kernels.layers} layers), "
