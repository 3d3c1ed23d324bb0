"""A bundle that was exported before there were kernels gains them unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from jinabert_onnx import Embedder
from support.paths import DATA

BUNDLE = DATA / "earlier-bundle"
TEXTS = ["t5", "t6 t7 t8", "t9 " * 300, "t10 t11 " * 1000]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_bundle_of_an_earlier_release_runs_natively_with_the_same_vectors(precision: str) -> None:
    portable = Embedder.load(BUNDLE, precision=precision, kernels="off").encode(TEXTS)
    native = Embedder.load(BUNDLE, precision=precision, kernels="require")
    assert native.kernels.native
    assert not native.kernels.native_layers
    assert ("export the bundle again" in native.kernels.layers_reason) == (precision == "int8")
    apart = np.linalg.norm(native.encode(TEXTS) - portable, axis=1) / np.linalg.norm(portable, axis=1)
    assert apart.max() < (1e-5 if precision == "fp32" else 0.01)
