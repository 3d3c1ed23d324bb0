"""Native attention inside real bundles, against the encoder in float64, and the graph's own operators."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from forms import Form, reference
from jinabert_onnx import Embedder
from numpy.typing import NDArray
from support.native import BETWEEN_FLOATS, NativeRuns, distance, embed, error

LAYERS = 2
# Block edges are at multiples of 64 keys and 96 queries; the paths change at 192 and 256 tokens.
LENGTHS = (1, 2, 5, 6, 16, 63, 64, 65, 95, 97, 128, 191, 193, 255, 257, 511, 513, 1000, 2049)


def require_as_near_as_torch(form: Form, input_ids: NDArray[np.int64], mask: NDArray[np.int64]) -> None:
    model = Embedder.load(form.bundle, kernels="require")
    right = reference(form.float64, input_ids, mask)
    by_torch = error(reference(form.float32, input_ids, mask), right, mask)
    assert error(embed(model, input_ids, mask), right, mask) <= 2 * by_torch


@pytest.mark.parametrize("length", LENGTHS)
def test_fp32_is_as_near_to_float64_as_torch(form: Form, length: int, native_runs: NativeRuns) -> None:
    texts = max(1, 256 // length)  # of a few tokens alone, the largest error is a matter of luck
    require_as_near_as_torch(form, *form.batch((length,) * texts))
    assert native_runs() >= LAYERS


def test_fp32_of_ragged_batches_is_as_near_to_float64_as_torch(form: Form, native_runs: NativeRuns) -> None:
    require_as_near_as_torch(form, *form.batch((1, 7, 130, 600, 64)))
    assert native_runs() >= LAYERS


def test_fp32_of_8192_tokens_beside_3_is_as_near_to_float64_as_torch(form: Form, native_runs: NativeRuns) -> None:
    input_ids, mask = form.batch((8192, 3))
    model = Embedder.load(form.bundle, kernels="require")
    found = embed(model, input_ids, mask)
    portable = embed(Embedder.load(form.bundle, kernels="off"), input_ids, mask)
    assert native_runs() >= LAYERS
    # In float64 the scores alone would take gigabytes: the portable attention, itself held to torch, stands for it.
    assert error(found, portable, mask) < BETWEEN_FLOATS
    short = reference(form.float64, input_ids[1:, :3], mask[1:, :3])
    assert error(found[1:, :3], short, mask[1:, :3]) < BETWEEN_FLOATS


def test_masks_with_holes_and_without_any_token(form: Form, native_runs: NativeRuns) -> None:
    input_ids, mask = form.batch((400, 300, 5))
    mask[0, 100:350:3] = 0
    mask[1, :250] = 0
    require_as_near_as_torch(form, input_ids, mask)
    mask[2] = 0
    found = embed(Embedder.load(form.bundle, kernels="require"), input_ids, mask)
    portable = embed(Embedder.load(form.bundle, kernels="off"), input_ids, mask)
    np.testing.assert_allclose(found, portable, atol=BETWEEN_FLOATS)
    assert native_runs() >= 2 * LAYERS


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_text_is_the_same_alone_in_any_batch_and_on_two_threads(
    form: Form, precision: str, native_runs: NativeRuns
) -> None:
    lengths = (5, 700, 1, 64, 300, 130)
    input_ids, mask = form.batch(lengths)
    one, two = (Embedder.load(form.bundle, precision=precision, threads=n, kernels="require") for n in (1, 2))
    together = embed(one, input_ids, mask)
    np.testing.assert_array_equal(embed(two, input_ids, mask), together)
    for row, length in enumerate(lengths):
        alone = embed(two, input_ids[row : row + 1, :length], mask[row : row + 1, :length])
        np.testing.assert_array_equal(alone[0], together[row, :length])
    assert native_runs() >= LAYERS * (2 + len(lengths))


def test_int8_is_as_near_to_the_graphs_own_attention_as_its_rounding(form: Form, native_runs: NativeRuns) -> None:
    input_ids, mask = form.batch((3, 90, 500, 1100))
    native, portable = (
        embed(Embedder.load(form.bundle, precision="int8", kernels=kernels), input_ids, mask)
        for kernels in ("require", "off")
    )
    right = reference(form.float64, input_ids, mask)
    assert native_runs() >= LAYERS
    assert distance(native, right, mask) <= 1.1 * distance(portable, right, mask)


def test_runs_of_one_session_at_a_time_do_not_disturb_each_other(form: Form) -> None:
    model = Embedder.load(form.bundle, threads=2, kernels="require")
    batches = [form.batch(lengths) for lengths in itertools.permutations((3, 200, 700))]
    alone = [embed(model, *batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda batch: embed(model, *batch), batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
