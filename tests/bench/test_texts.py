"""Texts of exact lengths; products that are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx import InputError
from jinabert_onnx.bench.roofline import _float_product, _integer_product
from jinabert_onnx.bench.texts import TextMaker
from jinabert_onnx.engine.providers import import_onnxruntime

ROOT = Path(__file__).resolve().parents[2]
MAKERS = {name: TextMaker(ROOT / "build" / "bundles" / name) for name in ("tiny-de-en", "plain-12h")}


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=25, deadline=None)
@given(length=st.integers(3, 3000), seed=st.integers(0, 1 << 32))
def test_a_text_has_exactly_the_tokens_asked_for(name: str, length: int, seed: int):
    text = MAKERS[name].make(length, np.random.default_rng(seed))
    assert MAKERS[name].count([text]) == [length]


def test_a_text_shorter_than_one_word_is_refused():
    maker = MAKERS["tiny-de-en"]
    with pytest.raises(InputError, match="shortest text has 3 tokens"):
        maker.make(2, np.random.default_rng(0))


def test_the_products_of_the_ceiling_are_what_they_count_as():
    session = import_onnxruntime().InferenceSession
    model, rows, columns = _float_product(64, 48)
    (found,) = session(model, providers=["CPUExecutionProvider"]).run(None, {"rows": rows})
    weight = np.random.default_rng(0).standard_normal((64, 48), np.float32)
    np.testing.assert_allclose(found, rows @ weight, rtol=1e-3, atol=1e-4)
    assert found.shape == (len(rows), columns)

    model, rows, columns = _integer_product(64, 48)
    (found,) = session(model, providers=["CPUExecutionProvider"]).run(None, {"rows": rows})
    weight = np.random.default_rng(0).integers(-127, 128, (64, 48), np.int8)
    expected = (rows.astype(np.int64) - 128) @ weight.astype(np.int64) * 1e-4
    assert found.shape == (len(rows), columns)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95  # without VNNI some sums saturate
