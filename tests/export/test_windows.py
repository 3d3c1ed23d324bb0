"""Windowed attention against full attention in float64: what it leaves out is never more than it certifies.

The operators run as a graph of two nodes, plan and attention, over packed rows of query, key and value.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np
import onnxruntime
import pytest
from conftest import operator_session
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx_export.encoder.alibi import alibi_slopes
from jinabert_onnx_export.operators.attention_plan import TOKEN_BLOCK
from jinabert_onnx_export.operators.domain import DOMAIN
from jinabert_onnx_export.operators.packed_attention import packed_functions
from jinabert_onnx_export.operators.signatures import ALIBI_ATTENTION, ATTENTION_PLAN
from onnx import TensorProto, helper

HEAD_SIZE = 64
SCALE = 1 / 8
LEFT_OUT = 1e-7  # most of a row's weight that windows may leave out
NAMES = ("query", "key", "value")
ROUNDING = 2.0**-24  # of one float32 operation

Rows = np.ndarray  # (tokens, heads, HEAD_SIZE) float32
Problem = tuple[Rows, Rows, Rows]  # query, key, value


@cache
def attention_session(heads: int) -> onnxruntime.InferenceSession:
    """A stock session of one AttentionPlan and one AlibiAttention."""
    slopes = alibi_slopes(heads)
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "sequence"])
    query, key, value, output = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", heads * HEAD_SIZE])
        for name in (*NAMES, "output")
    )
    plan = helper.make_node("AttentionPlan", [mask.name], ATTENTION_PLAN.outputs, domain=DOMAIN, slopes=slopes)
    attributes = {"slopes": slopes, "num_heads": heads, "scale": SCALE}
    attention = helper.make_node("AlibiAttention", ALIBI_ATTENTION.inputs, ["output"], domain=DOMAIN, **attributes)
    return operator_session([plan, attention], ([mask, query, key, value], [output]), packed_functions())


def attend(problem: Problem, mask: np.ndarray | None = None) -> Rows:
    """The operators' output for real tokens; the rows that the graph adds at the end repeat the first token."""
    tokens, heads, _ = problem[0].shape
    mask = np.ones((1, tokens), np.int64) if mask is None else mask
    count = -(-tokens // TOKEN_BLOCK)
    rows = np.append(np.arange(tokens), np.zeros(-tokens % count, int))
    feeds = {name: array[rows].reshape(len(rows), -1) for name, array in zip(NAMES, problem, strict=True)}
    (output,) = attention_session(heads).run(None, {"attention_mask": mask, **feeds})
    return output[:tokens].reshape(problem[0].shape)


def distances_of(mask: np.ndarray) -> np.ndarray:
    """|i - j| of every two real tokens, infinite where they are of different texts: (tokens, tokens)."""
    text, column = np.nonzero(mask)
    return np.where(text[:, None] == text, np.abs(column[:, None] - column), np.inf)


def full_weights(problem: Problem, distances: np.ndarray) -> np.ndarray:
    """The weights of full attention in float64, (heads, tokens, tokens)."""
    query, key = (array.astype(np.float64).transpose(1, 0, 2) for array in problem[:2])
    slopes = np.float64(np.float32(alibi_slopes(len(query))))  # as the attribute stores them
    weights = SCALE * (query @ key.transpose(0, 2, 1)) - slopes[:, None, None] * distances
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def bound(problem: Problem, weights: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """How far an element of each row's output may be from that of full attention: (tokens, heads, 1).

    Left-out weight e takes away at most e of the values and makes the others' weights larger by as much: 2 e.
    Scores that are off by d_j change the output by at most 2 sum_j w_j (exp(d_j) - 1), less than 4 sum_j w_j d_j
    where d_j is below 1, and d_j holds
    - the product: HEAD_SIZE terms, the scale and the sum with the bias, each rounded, of at most |q_i| |k_j|;
    - the bias: distances may be counted from the middle of the query's block, at most 128 away (further where
      masks have holes), and are multiplied, subtracted, and subtracted again.
    Exponentials, and sums of up to a thousand terms whose rounding errors have either sign: 100 roundings.
    All of it times the largest value.
    """
    query, key, value = (array.astype(np.float64).transpose(1, 0, 2) for array in problem)
    slopes = np.array(alibi_slopes(len(query)))[:, None]
    apart = np.where(np.isinf(distances), 0, distances)
    products = np.linalg.norm(query, axis=-1) * (weights @ np.linalg.norm(key, axis=-1)[:, :, None])[:, :, 0]
    biases = 3 * np.einsum("hij,ij->hi", weights, apart) + 2 * max(128, np.diff(apart[0]).max(initial=0))
    off = ROUNDING * (SCALE * (HEAD_SIZE + 3) * products + slopes * biases)  # (heads, tokens)
    return (2 * LEFT_OUT + 4 * off + 100 * ROUNDING).T[:, :, None] * np.abs(value).max()


def assert_is_full_attention(problem: Problem, mask: np.ndarray | None = None) -> Rows:
    """What the operators give, which full attention gives too."""
    output = attend(problem, mask)
    distances = distances_of(np.ones((1, len(problem[0]))) if mask is None else mask)
    weights = full_weights(problem, distances)
    expected = (weights @ problem[2].astype(np.float64).transpose(1, 0, 2)).transpose(1, 0, 2)
    assert np.isfinite(output).all()
    assert (np.abs(output - expected) <= bound(problem, weights, distances)).all()
    return output


def keys_read(query: Rows, key: Rows, mask: np.ndarray | None = None) -> np.ndarray:
    """Which keys each row reads, bool (heads, tokens, tokens): a value of NaN reaches all rows that read it.

    Even where its weight is 0. Each channel of a head tells of one key.
    """
    tokens, heads, _ = query.shape
    read = np.zeros((heads, tokens, tokens), bool)
    for start in range(0, tokens, HEAD_SIZE):
        value = np.zeros_like(query)
        channels = np.arange(min(HEAD_SIZE, tokens - start))
        value[start + channels, :, channels] = np.nan
        output = attend((query, key, value), mask)
        read[:, :, start + channels] = np.isnan(output[:, :, channels]).transpose(1, 0, 2)
    return read


def random_problem(heads: int, tokens: int, magnitude: float = 1.0, seed: int = 0) -> Problem:
    """Scores are normally distributed with a standard deviation of `magnitude`."""
    generator = np.random.default_rng([seed, heads, tokens])
    query, key, value = (generator.standard_normal((tokens, heads, HEAD_SIZE), np.float32) for _ in range(3))
    return query * np.float32(magnitude), key, value


@pytest.mark.parametrize(
    ("heads", "tokens", "magnitude"),
    [*product([1, 4, 6, 12], [513, 700, 1100], [0.1, 1, 5, 20]), *product([6], [1, 2, 127, 129, 512], [5])],
)
def test_random_attention_is_full_attention(heads: int, tokens: int, magnitude: float) -> None:
    assert_is_full_attention(random_problem(heads, tokens, magnitude))


def far_keys_that_win(query: Rows, key: Rows, magnitude: float) -> None:
    """Three enormous keys, and 50 queries in the direction of one of them."""
    places = np.linspace(0, len(key) - 1, 3).astype(int)
    key[places] *= 30 * magnitude
    direction = key[places[2]] / np.linalg.norm(key[places[2]], axis=-1, keepdims=True)
    query[:50] = 50 * direction


def an_offset_in_all_keys(query: Rows, key: Rows, magnitude: float) -> None:
    """It cancels in the softmax, and is far larger than what does not."""
    key += 100 * magnitude * key[:1]


def equal_keys(query: Rows, key: Rows, magnitude: float) -> None:
    key[:] = magnitude * key[:1]


def zero_queries(query: Rows, key: Rows, magnitude: float) -> None:
    query[:] = 0
    key *= magnitude


def an_outlier_token(query: Rows, key: Rows, magnitude: float) -> None:
    key[len(key) // 3] *= 100 * magnitude
    query[len(key) // 3] *= 100


def keys_that_undo_the_bias(query: Rows, key: Rows, magnitude: float) -> None:
    """q_i . k_j = m j, so that every key to the right weighs as much as the query's own."""
    ramp(query, key, 1.0)


def keys_that_beat_the_bias(query: Rows, key: Rows, magnitude: float) -> None:
    """The further to the left the more."""
    ramp(query, key, -1.5)


def ramp(query: Rows, key: Rows, steepness: float) -> None:
    """q_i . k_j = steepness * m * j"""
    query[:], key[:] = 0, 0
    query[:, :, 0] = 1 / SCALE
    key[:, :, 0] = steepness * np.array(alibi_slopes(key.shape[1])) * np.arange(len(key))[:, None]


def queries_of_either_sign(query: Rows, key: Rows, magnitude: float) -> None:
    """Waves of keys along one direction, which half of the queries seek and half of them flee."""
    wave = magnitude * np.sin(np.arange(len(key)) / 50)
    signs = np.where(np.arange(len(key)) % 2, 1, -1)
    query *= 0.01
    key *= 0.01
    query[:, :, 0] = signs[:, None] / SCALE
    key[:, :, 0] = wave[:, None]


def tokens_of_all_sizes(query: Rows, key: Rows, magnitude: float) -> None:
    sizes = magnitude * 10 ** np.random.default_rng(0).uniform(-1.5, 1.5, (2, len(key), 1, 1))
    query *= sizes[0]
    key *= sizes[1]


CONSTRUCTIONS = (
    far_keys_that_win,
    an_offset_in_all_keys,
    equal_keys,
    zero_queries,
    an_outlier_token,
    keys_that_undo_the_bias,
    keys_that_beat_the_bias,
    queries_of_either_sign,
    tokens_of_all_sizes,
)
Construction = Callable[[Rows, Rows, float], None]


def construct(construction: Construction, heads: int, tokens: int, magnitude: float, seed: int = 0) -> Problem:
    problem = random_problem(heads, tokens, seed=seed)
    construction(*problem[:2], magnitude)
    return problem


@pytest.mark.parametrize("heads", [1, 6, 12])
@pytest.mark.parametrize("construction", CONSTRUCTIONS, ids=lambda construction: construction.__name__)
def test_adversarial_keys_and_queries_are_full_attention(construction: Construction, heads: int) -> None:
    """And what is not read has less than the certified weight."""
    problem = construct(construction, heads, 800, 1.0)
    assert_is_full_attention(problem)
    assert left_out(*problem[:2]) <= LEFT_OUT


@pytest.mark.parametrize("offset", [1e2, 1e4, 1e5, 1e6])
def test_rounding_of_large_scores_certifies_nothing(offset: float) -> None:
    """Scores of a common offset, of up to millions, cancel in float64; in float32 they are off by whole units."""
    query, key, _ = construct(an_offset_in_all_keys, 4, 700, offset / 100)
    assert left_out(query, key) <= LEFT_OUT


@given(
    construction=st.sampled_from(CONSTRUCTIONS),
    heads=st.sampled_from([1, 4, 6]),
    tokens=st.integers(513, 1100),
    exponent=st.floats(-2, 2, allow_subnormal=False),
    seed=st.integers(0, 1000),
)
@settings(max_examples=12, deadline=None)
def test_no_keys_and_queries_break_the_certificate(
    construction: Construction, heads: int, tokens: int, exponent: float, seed: int
) -> None:
    problem = construct(construction, heads, tokens, 10**exponent, seed)
    assert_is_full_attention(problem)
    assert left_out(*problem[:2]) <= LEFT_OUT


def left_out(query: Rows, key: Rows, mask: np.ndarray | None = None) -> float:
    """The largest true weight, over rows and heads, of the keys that a row does not read."""
    mask = np.ones((1, len(query)), np.int64) if mask is None else mask
    weights = full_weights((query, key, key), distances_of(mask))
    return float((weights * ~keys_read(query, key, mask)).sum(axis=-1).max())


def test_a_far_key_that_wins_is_the_output() -> None:
    problem = construct(far_keys_that_win, 4, 1000, 10.0)
    output = assert_is_full_attention(problem)
    np.testing.assert_allclose(output[:50], np.broadcast_to(problem[2][-1], output[:50].shape), rtol=0, atol=1e-5)


def test_a_common_offset_of_keys_changes_nothing() -> None:
    query, key, value = random_problem(4, 700)
    offset = 8 * np.random.default_rng(0).standard_normal((1, 4, HEAD_SIZE), np.float32)
    np.testing.assert_allclose(attend((query, key + offset, value)), attend((query, key, value)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("construction", [equal_keys, zero_queries])
def test_equal_scores_leave_the_bias_alone(construction: Construction) -> None:
    """Every key weighs exp(-m |i - j|)."""
    problem = construct(construction, 4, 900, 1.0)
    distances = np.abs(np.subtract.outer(np.arange(900), np.arange(900)))
    weights = np.exp(-np.array(alibi_slopes(4))[:, None, None] * distances)
    expected = (weights / weights.sum(axis=-1, keepdims=True)) @ problem[2].transpose(1, 0, 2)
    np.testing.assert_allclose(attend(problem), expected.transpose(1, 0, 2), rtol=0, atol=1e-5)


def test_windows_open_fully_where_keys_undo_the_bias() -> None:
    """The first row weighs all keys the same, and so reads all of them, whatever the slope."""
    query, key, value = construct(keys_that_undo_the_bias, 4, 800, 1.0)
    assert keys_read(query, key)[:, 0].all()
    np.testing.assert_allclose(attend((query, key, value))[0], value.mean(axis=0), rtol=0, atol=1e-4)


def test_the_last_row_reaches_the_first_key_where_keys_beat_the_bias() -> None:
    """Its weights fall with half the slope to the right, away from the first."""
    query, key, value = construct(keys_that_beat_the_bias, 4, 800, 1.0)
    assert keys_read(query, key)[:, -1, 0].all()
    weights = np.exp(-0.5 * np.array(alibi_slopes(4))[:, None] * np.arange(800))[:, None]  # (heads, 1, keys)
    expected = (weights / weights.sum(axis=-1, keepdims=True)) @ value.transpose(1, 0, 2)
    np.testing.assert_allclose(attend((query, key, value))[-1], expected[:, 0], rtol=0, atol=1e-3)


def test_far_keys_are_not_read_by_a_steep_head() -> None:
    """NaN among the last values: full attention has it in every row, 0 times NaN being NaN."""
    query, key, value = random_problem(4, 1100)
    expected = attend((query, key, value))
    value[900:] = np.nan
    output = attend((query, key, value))
    steep, *_, flat = range(4)
    np.testing.assert_array_equal(output[:500, steep], expected[:500, steep])
    assert np.isnan(output[900:]).all()
    assert np.isnan(output[:, flat]).all()


def test_steep_heads_read_little_and_flat_ones_all() -> None:
    query, key, _ = random_problem(12, 1100)
    read = keys_read(query, key).mean(axis=(1, 2))  # share of the keys, (12)
    slopes = np.array(alibi_slopes(12))
    assert (np.diff(read[np.argsort(slopes)]) <= 0).all()
    assert read[slopes >= 0.25].max() < 0.4
    assert read[slopes < 0.01].min() == 1


def test_windows_open_where_scores_are_wild() -> None:
    """The same far NaN reaches every row: no window can be certified."""
    query, key, value = random_problem(4, 1100, magnitude=300)
    value[900:] = np.nan
    assert np.isnan(attend((query, key, value))).all()


def test_short_texts_read_all() -> None:
    query, key, _ = random_problem(4, 512)
    assert keys_read(query, key).all()


def holes(tokens: int) -> np.ndarray:
    mask = np.ones((1, tokens), np.int64)
    mask[0, 100:150] = 0
    mask[0, 200:500:2] = 0
    mask[0, 600 : tokens - 90] = 0
    return mask


@pytest.mark.parametrize("heads", [4, 6])
@pytest.mark.parametrize("construction", [tokens_of_all_sizes, zero_queries, an_outlier_token])
def test_distances_are_counted_over_holes(construction: Construction, heads: int) -> None:
    mask = holes(1600)
    query, key, value = construct(construction, heads, int(mask.sum()), 1.0)
    assert_is_full_attention((query, key, value), mask)
    assert left_out(query, key, mask) <= LEFT_OUT


BATCHES = ((700, 1, 300), (5, 90, 520), (130, 600, 3))


def test_a_hole_within_a_block_leaves_nothing_out() -> None:
    """Positions jump by thousands between two tokens of one block, and keys have an offset in common."""
    mask = np.zeros((1, 7700), np.int64)
    mask[0, :330] = mask[0, 7300:7690] = 1
    query, key, _ = random_problem(4, int(mask.sum()), 2)
    assert left_out(query, key + np.float32(30), mask) <= LEFT_OUT


@pytest.mark.parametrize("tokens", [8065, 4097])
def test_a_last_block_of_hardly_any_key_is_read_as_others(tokens: int) -> None:
    """Blocks repeat their last token, 127 times where 8065 tokens fill 64 of them; the last rows are full attention."""
    query, key, value = random_problem(1, tokens)
    output = attend((query, key, value))[-200:, 0]
    scores = SCALE * (query[-200:, 0] @ key[:, 0].T).astype(np.float64)
    scores -= alibi_slopes(1)[0] * np.abs(np.arange(tokens - 200, tokens)[:, None] - np.arange(tokens))
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected = weights / weights.sum(axis=1, keepdims=True) @ value[:, 0]
    np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("lengths", BATCHES)
def test_a_text_in_a_batch_attends_to_itself(lengths: tuple[int, ...]) -> None:
    mask = batch_mask(lengths)
    query, key, value = construct(tokens_of_all_sizes, 4, sum(lengths), 1.0)
    assert_is_full_attention((query, key, value), mask)
    assert not keys_read(query, key, mask)[:, np.isinf(distances_of(mask))].any()
    assert left_out(query, key, mask) <= LEFT_OUT


def test_a_neighbours_large_scores_narrow_no_window() -> None:
    """Its keys lie where the first text's queries point, and are as many: they certify nothing for it."""
    mask = batch_mask((700, 700))
    query, key, value = random_problem(4, 1400)
    query[:, :, 0], key[:700, :, 0], key[700:, :, 0] = 8, 0, 30
    assert_is_full_attention((query, key, value), mask)
    assert left_out(query, key, mask) <= LEFT_OUT


@pytest.mark.parametrize("lengths", [*BATCHES, (100, 30, 60)])
@pytest.mark.parametrize("broken", [np.nan, np.inf, 1e30])
def test_what_overflows_in_one_text_does_not_reach_another(lengths: tuple[int, ...], broken: float) -> None:
    mask = batch_mask(lengths)
    text = np.nonzero(mask)[0]
    problem = random_problem(4, sum(lengths))
    expected = attend(problem, mask)
    for array in problem:
        array[text == 1] = broken
    others = text != 1
    np.testing.assert_allclose(attend(problem, mask)[others], expected[others], rtol=0, atol=1e-5)


def batch_mask(lengths: tuple[int, ...]) -> np.ndarray:
    return (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
