"""Native attention inside cross-encoders: scores as without it, alone and in a batch, on one thread and on two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from jinabert_onnx import CrossEncoder
from jinabert_onnx.bundle.score_agreement import compare_scores
from jinabert_onnx.text.pairs import TextOrPair
from numpy.typing import NDArray
from support.native import NativeRuns
from support.pair_goldens import read_pair_golden
from support.paths import RERANKER, TRAINED_RERANKER

LAYERS = 4
GOLDEN = read_pair_golden(RERANKER.name)
LONG = ("house at the river " * 40, "Haus am Fluss " * 150)  # so that the paths for hundreds of tokens run too
INPUTS: list[TextOrPair] = [LONG, *GOLDEN.pairs, "How is the weather today?"]


def logits(inputs: list[TextOrPair], **options: Any) -> NDArray[np.float32]:
    """Return logits (inputs, 1)."""
    with CrossEncoder.load(TRAINED_RERANKER, **options) as model:
        return model.logits(inputs)


def test_fp32_gives_the_logits_of_the_graphs_own_attention_and_of_the_golden(native_runs: NativeRuns) -> None:
    native = logits(INPUTS, kernels="require")
    assert native_runs() >= LAYERS
    np.testing.assert_allclose(native, logits(INPUTS, kernels="off"), rtol=0, atol=2e-5)
    np.testing.assert_allclose(native[1:-1], GOLDEN.logits, rtol=0, atol=5e-5)


def test_int8_stays_within_the_bounds_of_an_export(native_runs: NativeRuns) -> None:
    native = logits(GOLDEN.pairs, precision="int8", kernels="require")
    assert native_runs() >= LAYERS
    agreement = compare_scores(native, GOLDEN.logits, "sigmoid")
    assert agreement.within("int8"), agreement


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_pair_is_the_same_alone_in_any_batch_and_on_two_threads(precision: str, native_runs: NativeRuns) -> None:
    one, two = (CrossEncoder.load(TRAINED_RERANKER, precision=precision, threads=n, kernels="require") for n in (1, 2))
    together = one.logits(INPUTS)
    np.testing.assert_array_equal(two.logits(INPUTS), together)
    for index in range(0, len(INPUTS), 4):
        np.testing.assert_array_equal(two.logits([INPUTS[index]])[0], together[index])
    assert native_runs() >= LAYERS * (2 + len(INPUTS) // 4)
