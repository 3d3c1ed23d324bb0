"""Native int8 layers inside real bundles, against the graph's own operators: both variants, and cross-encoders."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import jinabert_onnx_kernels
import numpy as np
import pytest
from forms import Form, reference
from jinabert_onnx import CrossEncoder, Embedder, SharedThreads
from jinabert_onnx.engine.batching import pad
from numpy.typing import NDArray
from support.native import NativeRuns, distance, embed
from support.pair_goldens import NAMES as CROSS_ENCODERS
from support.pair_goldens import read_pair_golden
from support.paths import BUNDLES, ENCODER_GOLDENS, RERANKER, TRAINED
from support.references import cosines

pytestmark = pytest.mark.skipif(
    jinabert_onnx_kernels.layer_instructions(64) is None, reason="this processor has no native layers"
)

# Hidden sizes of 48, 64, 96 and 256; heads of the goldens have 4 to 16 channels, for which attention stays portable.
EMBEDDERS = (*(path.name for path in ENCODER_GOLDENS), TRAINED.name)
BITWISE = ("plain-6h-reglu", "qk-post-norm-12h", TRAINED.name)
# Threads share columns up to 16 rows each, and blocks have up to 30 to 32 rows.
FEW = ((1,), (2, 1), (5, 3), (16,), (17,), (32,), (33,), (20, 28), (49,))
MANY = ((64,), (1, 31, 2, 97), (1, 7, 130, 600, 64), (513, 40))


@cache
def load(name: str, kernels: str = "auto", threads: int = 2) -> Embedder:
    """Load a bundle in int8; what is to run natively does."""
    model = Embedder.load(BUNDLES / name, precision="int8", kernels=kernels, threads=threads)
    assert model.kernels.native_layers == (kernels != "off")
    return model


def batch(model: Embedder, lengths: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return seeded random tokens of these lengths, and their mask."""
    generator, vocabulary = np.random.default_rng(sum(lengths)), model.bundle.manifest.model.vocab_size
    return pad([generator.integers(5, vocabulary, size=length) for length in lengths])


def pooled(tokens: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.einsum("tsh,ts->th", tokens, mask) / np.maximum(mask.sum(axis=1), 1)[:, None]


@pytest.mark.parametrize("name", EMBEDDERS)
def test_texts_and_tokens_are_as_the_graphs_own_operators_have_them(name: str, layer_runs: NativeRuns) -> None:
    native, portable = load(name), load(name, "off")
    for lengths in (*FEW, *MANY):
        ids, mask = batch(native, lengths)
        before = layer_runs()
        found, expected = embed(native, ids, mask), embed(portable, ids, mask)
        assert layer_runs() - before == 2 * native.bundle.manifest.model.num_hidden_layers
        assert cosines(found[mask > 0], expected[mask > 0]).min() > 0.999, lengths
        assert cosines(pooled(found, mask), pooled(expected, mask)).min() > 0.9999, lengths


@pytest.mark.parametrize("lengths", [(3, 90, 500, 1100), (1, 2, 5, 6)])
def test_int8_is_as_near_to_float64_as_with_the_graphs_own_layers(
    form: Form, lengths: tuple[int, ...], layer_runs: NativeRuns
) -> None:
    input_ids, mask = form.batch(lengths)
    right = reference(form.float64, input_ids, mask)
    native, portable = (
        embed(Embedder.load(form.bundle, precision="int8", kernels=kernels), input_ids, mask)
        for kernels in ("require", "off")
    )
    assert layer_runs() >= 4
    assert distance(native, right, mask) <= 1.1 * distance(portable, right, mask)


@pytest.mark.parametrize("name", [*CROSS_ENCODERS, RERANKER.name])
def test_logits_of_rerankers_and_classifiers_are_as_without_kernels(name: str, layer_runs: NativeRuns) -> None:
    """Their last layer has the first row of each text alone."""
    pairs = read_pair_golden(name).pairs
    native, portable = (
        CrossEncoder.load(BUNDLES / name, precision="int8", kernels=kernels) for kernels in ("auto", "off")
    )
    found, expected = native.logits(pairs), portable.logits(pairs)
    assert native.kernels.native_layers
    assert layer_runs() >= 2 * native.bundle.manifest.model.num_hidden_layers
    assert np.abs(found - expected).max() < 0.02 * max(1.0, np.abs(expected).max())
    alone = [native.logits([pair])[0] for pair in pairs]
    np.testing.assert_array_equal(alone, found)


@pytest.mark.parametrize("name", BITWISE)
@pytest.mark.parametrize("lengths", [*FEW, *MANY], ids=str)
def test_a_text_is_to_the_bit_the_same_alone_in_any_batch_and_on_any_threads(
    name: str, lengths: tuple[int, ...]
) -> None:
    one, *more = (load(name, threads=threads) for threads in (1, 2, 3))
    ids, mask = batch(one, lengths)
    together = embed(one, ids, mask)
    assert np.isfinite(together).all()
    for model in more:
        np.testing.assert_array_equal(embed(model, ids, mask), together)
    for row, length in enumerate(lengths):
        alone = embed(more[0], ids[row : row + 1, :length], mask[row : row + 1, :length])
        np.testing.assert_array_equal(alone[0], together[row, :length])


@pytest.mark.parametrize("name", BITWISE)
def test_the_order_of_a_batch_changes_no_bit(name: str) -> None:
    model = load(name)
    ids, mask = batch(model, (1, 40, 3, 130))
    expected = embed(model, ids, mask)
    for order in map(list, itertools.permutations(range(4))):
        np.testing.assert_array_equal(embed(model, ids[order], mask[order]), expected[order])


@pytest.mark.parametrize("name", BITWISE)
def test_padding_changes_no_bit(name: str) -> None:
    model = load(name)
    ids, mask = batch(model, (30, 12))
    expected = embed(model, ids, mask)
    for left, right in ((0, 1), (5, 0), (200, 90)):
        padded = [np.pad(values, ((0, 0), (left, right))) for values in (ids, mask)]
        found = embed(model, padded[0], padded[1])[:, left : left + 30]
        np.testing.assert_array_equal(found[mask > 0], expected[mask > 0])


@pytest.mark.parametrize("name", BITWISE)
def test_holes_in_a_mask_and_a_text_without_any_token(name: str) -> None:
    native, portable = load(name), load(name, "off")
    ids, mask = batch(native, (90, 60, 8, 90))
    mask[0, 20:70:3] = 0
    mask[1] = 0
    mask[3, :50] = 0
    found, expected = embed(native, ids, mask), embed(portable, ids, mask)
    assert np.isfinite(found).all()
    assert cosines(found[mask > 0], expected[mask > 0]).min() > 0.999
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)
    for row in (0, 2, 3):
        np.testing.assert_array_equal(embed(native, ids[row : row + 1], mask[row : row + 1])[0], found[row])
    nothing = embed(native, ids[1:2], mask[1:2])
    np.testing.assert_array_equal(nothing[0], found[1])


def test_runs_of_one_session_at_a_time_do_not_disturb_each_other() -> None:
    model = load(TRAINED.name)
    batches = [batch(model, lengths) for lengths in (*FEW, *MANY)]
    alone = [embed(model, *one) for one in batches]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda one: embed(model, *one), batches * 3))
    for one, other in zip(alone * 3, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_models_of_one_process_do_not_disturb_each_other(tmp_path: Path) -> None:
    """One after the other, at a time, and on threads that they share."""
    names = [*EMBEDDERS, TRAINED.name]
    expected = [embed(load(name), *batch(load(name), (5, 70))) for name in names]
    shared = SharedThreads(2)
    models = [Embedder.load(BUNDLES / name, precision="int8", threads=shared) for name in names]
    for model in models[::2]:
        model.close()
    kept, right = models[1::2], expected[1::2]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda model: embed(model, *batch(model, (5, 70))), kept))
    for one, other in zip(found, right, strict=True):
        np.testing.assert_array_equal(one, other)
