"""Native attention on a processor that is emulated, in real bundles, against references from one that is not.

native/run_under_qemu.py runs this, after tests/kernels/make_references.py has written to the folder that the variable
REFERENCES names. Needs no torch.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import jinabert_onnx_kernels
import numpy as np
import pytest
from jinabert_onnx import Embedder
from numpy.typing import NDArray
from support.native import BETWEEN_FLOATS, NativeRuns, distance, embed, error
from support.paths import TRAINED

REFERENCES = Path(os.environ["REFERENCES"])
FORMS = sorted(path.name for path in REFERENCES.iterdir())
BATCHES = sorted(path.stem for path in (REFERENCES / FORMS[0]).glob("*.npz"))
LAYERS = 2


@dataclass(frozen=True)
class Batch:
    """Tokens of a form's bundle, (batch, sequence), and what they embed to, (batch, sequence, hidden)."""

    bundle: Path
    input_ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    right: NDArray[np.float64]
    by_torch: float  # the largest difference of torch's float32


def read(form: str, name: str) -> Batch:
    arrays = np.load(REFERENCES / form / f"{name}.npz")
    return Batch(
        REFERENCES / form / "bundle", arrays["input_ids"], arrays["mask"], arrays["right"], float(arrays["by_torch"])
    )


@pytest.fixture
def native_runs() -> NativeRuns:
    """How often native attention has run since the test began."""
    return NativeRuns(jinabert_onnx_kernels.attention_runs)


@pytest.mark.parametrize("head_size", [32, 64])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_processor_is_the_emulated_one(head_size: int, bfloat16: bool) -> None:
    kernel = {"x86_64": "avx2", "aarch64": "neon"}[platform.machine()]
    assert jinabert_onnx_kernels.attention_instructions(head_size, bfloat16) == kernel


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("form", FORMS)
def test_fp32_is_as_near_to_float64_as_torch(form: str, name: str, native_runs: NativeRuns) -> None:
    batch = read(form, name)
    found = embed(Embedder.load(batch.bundle, kernels="require"), batch.input_ids, batch.mask)
    assert native_runs() >= LAYERS
    assert error(found, batch.right, batch.mask) <= 2 * batch.by_torch


@pytest.mark.parametrize("form", FORMS)
def test_int8_is_as_near_to_float64_as_with_the_graphs_own_attention(form: str, native_runs: NativeRuns) -> None:
    batch = read(form, "ragged")
    native, portable = (
        embed(Embedder.load(batch.bundle, precision="int8", kernels=kernels), batch.input_ids, batch.mask)
        for kernels in ("require", "off")
    )
    assert native_runs() >= LAYERS
    assert distance(native, batch.right, batch.mask) <= 1.1 * distance(portable, batch.right, batch.mask)


@pytest.mark.parametrize("form", FORMS)
def test_a_text_without_any_token_is_as_without_kernels(form: str, native_runs: NativeRuns) -> None:
    batch = read(form, "holes")
    mask = batch.mask.copy()
    mask[2] = 0
    native, portable = (
        embed(Embedder.load(batch.bundle, kernels=kernels), batch.input_ids, mask) for kernels in ("require", "off")
    )
    np.testing.assert_allclose(native, portable, atol=BETWEEN_FLOATS)
    assert native_runs() >= LAYERS


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("form", FORMS)
def test_a_text_is_the_same_alone_in_a_batch_and_on_two_threads(
    form: str, precision: str, native_runs: NativeRuns
) -> None:
    batch = read(form, "ragged")
    one, two = (Embedder.load(batch.bundle, precision=precision, threads=n, kernels="require") for n in (1, 2))
    together = embed(one, batch.input_ids, batch.mask)
    np.testing.assert_array_equal(embed(two, batch.input_ids, batch.mask), together)
    lengths = batch.mask.sum(axis=1)
    for row, length in enumerate(lengths):
        alone = embed(two, batch.input_ids[row : row + 1, :length], batch.mask[row : row + 1, :length])
        np.testing.assert_array_equal(alone[0], together[row, :length])
    assert native_runs() >= LAYERS * (2 + len(lengths))


def test_texts_embed_as_without_kernels(native_runs: NativeRuns) -> None:
    texts = ["Wie ist das Wetter heute?", "How is the weather today? " * 40]
    native, portable = (Embedder.load(TRAINED, kernels=kernels).encode(texts) for kernels in ("require", "off"))
    assert native_runs() >= 1
    np.testing.assert_allclose(native, portable, atol=1e-5)
