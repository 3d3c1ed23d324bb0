"""Figures of fresh processes are of those processes alone, and of the same work as `Embedder`'s."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import Embedder
from jinabert_onnx.bench.plan import Configuration, Skipped
from jinabert_onnx.bench.processes import Place, measure_memory, run_child
from jinabert_onnx.engine.memory_model import memory_model
from jinabert_onnx.errors import RunError
from support.paths import TRAINED

ONE = Configuration("int8", "cpu", 1)
TEXT = "How is the weather today?"


def test_the_process_computes_the_vector_that_the_embedder_does():
    answer = run_child(Place(str(TRAINED), None), ONE, TEXT)
    with Embedder.load(TRAINED, precision="int8", threads=1) as model:
        np.testing.assert_allclose(answer["result"], model.encode(TEXT), rtol=1e-6)


def test_memory_is_of_the_child_not_of_the_process_that_asks():
    place = Place(str(TRAINED), None)
    before = run_child(place, ONE, TEXT)["peak"]
    ballast = np.ones(600 << 20, np.uint8)
    after = run_child(place, ONE, TEXT)["peak"]
    assert ballast.nbytes > 2 * after
    assert after == pytest.approx(before, rel=0.2)


def test_a_child_that_fails_is_told_with_its_last_words(tmp_path: Path):
    with pytest.raises(RunError, match=r"int8, 1 thread ended by an error .*none"):
        run_child(Place(str(tmp_path / "none"), None), ONE, TEXT)


def test_memory_that_could_not_be_measured_says_why(tmp_path: Path):
    with Embedder.load(TRAINED, precision="int8") as model:
        expected = memory_model(model.bundle.manifest, "int8")
    found = measure_memory(ONE, Place(str(tmp_path), None), TEXT, 9, expected)
    assert isinstance(found, Skipped)
    assert "memory of 9 tokens" in found.what
