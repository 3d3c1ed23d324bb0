"""Numbers to bytes: what rounding loses, and that integer products are exact on the processor that runs this."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import operator_session
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jinabert_onnx_export.int8.rounding import TABLE_BLOCK, quantize_rows, quantize_table, quantize_weight
from jinabert_onnx_export.int8.smoothing import FLOOR, smoothing_factors
from jinabert_onnx_export.operators.domain import DOMAIN
from jinabert_onnx_export.operators.int8 import int8_functions
from onnx import TensorProto, helper, numpy_helper

MOST = 128  # of two neighbouring weights of one sign: 255 * 128 is below 2^15
SHAPES = st.tuples(st.integers(1, 33), st.integers(1, 9))


def matrices(largest: float) -> st.SearchStrategy[np.ndarray]:
    """Float32 matrices of numbers of any size, zeros and the same number everywhere among them."""
    limit = float(np.float32(largest))
    numbers = (
        st.floats(-limit, limit, width=32, allow_subnormal=False)
        | st.floats(-1, 1, width=32, allow_subnormal=False)
        | st.just(0.0)
    )
    return arrays.arrays(np.float32, SHAPES, elements=numbers)


def heavy_tails(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_t(2, shape).astype(np.float32)


def pair_sums(integers: np.ndarray) -> np.ndarray:
    """|w[2i]| + |w[2i + 1]| of each output channel where both have the same sign, else 0."""
    first, second = (integers[start : len(integers) // 2 * 2 : 2].astype(int) for start in (0, 1))
    return np.where(first * second > 0, np.abs(first) + np.abs(second), 0)


@given(matrices(1e30))
@example(np.zeros((7, 3), np.float32))
@example(np.full((8, 2), 0.3, np.float32))
@example(np.full((1, 1), -5, np.float32))
@example(np.full((5, 4), 1e-30, np.float32))
@example(np.array([[1.0], [-1.0]] * 3, np.float32))
@example(np.array([[127.0], [1.0], [63.5], [64.5], [126.5], [0.5]], np.float32))  # every pair just fits
@example(heavy_tails((512, 96)))
@example(heavy_tails((767, 33)))
@settings(max_examples=200, deadline=None)
def test_weights_are_safe_in_pairs_and_off_by_half_a_step(weight: np.ndarray) -> None:
    integers, scale = quantize_weight(weight)
    assert (integers.dtype, integers.shape) == (np.int8, weight.shape)
    assert (scale.dtype, scale.shape) == (np.float32, weight.shape[1:])
    assert np.abs(integers.astype(int)).max() <= 127
    assert pair_sums(integers).max(initial=0) <= MOST
    assert (scale > 0).all()
    error = np.abs(integers * scale.astype(np.float64) - weight)
    assert (error <= scale * (0.5 + 2e-5)).all()  # the rest: the quotient itself is rounded, 127 * 2^-24 twice


def test_a_scale_is_no_larger_than_its_pairs_ask_for() -> None:
    """The largest pair takes all 127 steps, and pairs of different signs do not count."""
    weight = heavy_tails((256, 40))
    integers, _ = quantize_weight(weight)
    largest = np.maximum(np.abs(integers.astype(int)).max(axis=0), pair_sums(integers).max(axis=0))
    assert ((largest >= 126) & (largest <= MOST)).all()
    _, signed = quantize_weight(np.array([[1.0], [-1.0]], np.float32))
    np.testing.assert_allclose(signed, 1 / 127, rtol=1e-6)


def test_the_last_input_of_an_odd_number_is_alone() -> None:
    integers, scale = quantize_weight(np.array([[0.25], [0.25], [1.0]], np.float32))
    assert integers.ravel().tolist() == [32, 32, 127]
    np.testing.assert_allclose(scale, 1 / 127, rtol=1e-6)


@given(matrices(1e4))
@example(heavy_tails((50, 64)))
@example(heavy_tails((50, 96)))
@example(heavy_tails((50, 256)))
@example(heavy_tails((9, 768)))
@example(heavy_tails((9, 1)))
@example(heavy_tails((9, 67)))
@settings(max_examples=100, deadline=None)
def test_a_table_is_off_by_half_a_step_of_its_block(table: np.ndarray) -> None:
    integers, scale = quantize_table(table)
    assert (integers.dtype, integers.shape) == (np.int8, table.shape)
    assert (scale.dtype, len(scale)) == (np.float16, len(table))
    channels = table.shape[1] // scale.shape[1]
    assert channels * scale.shape[1] == table.shape[1]
    assert channels <= TABLE_BLOCK
    steps = np.repeat(scale.astype(np.float64), channels, axis=1)
    assert (np.abs(integers * steps - table) <= steps * (0.5 + 2e-5)).all()
    largest = np.abs(table).reshape(len(table), -1, channels).max(axis=2)
    assert (scale <= np.maximum(largest / 127 * 1.001, 6.2e-5)).all()  # float16 has no normal number below


@cache
def int8_session(
    name: str, inputs: tuple[tuple[str, int], ...], outputs: tuple[tuple[str, int], ...]
) -> onnxruntime.InferenceSession:
    """A stock session of one of the int8 operators; inputs and outputs are names and element types."""
    values = [[helper.make_tensor_value_info(value, kind, None) for value, kind in part] for part in (inputs, outputs)]
    names = [[value.name for value in part] for part in values]
    return operator_session([helper.make_node(name, *names, domain=DOMAIN)], values, int8_functions("Gelu"))


FLOAT, INT8, UINT8 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8


def quantize_rows_in_onnx(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    session = int8_session("QuantizeRows", (("x", FLOAT),), (("bytes", UINT8), ("largest", FLOAT)))
    return session.run(None, {"x": rows})


def quantized_product(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`QuantizedMatMul` of the rows and a weight that `quantize_weight` has made bytes of."""
    inputs = (("x", FLOAT), ("weight", INT8), ("scale", FLOAT))
    integers, scale = quantize_weight(weight)
    feeds = {"x": rows, "weight": integers, "scale": scale}
    return int8_session("QuantizedMatMul", inputs, (("product", FLOAT),)).run(None, feeds)[0]


@given(matrices(1e30))
@settings(max_examples=60, deadline=None)
def test_rows_are_rounded_as_the_graph_does(rows: np.ndarray) -> None:
    """The same steps; where a number lies between two of them, either."""
    found, largest = quantize_rows_in_onnx(rows)
    np.testing.assert_array_equal(largest, np.abs(rows).max(axis=1, keepdims=True))
    real = largest[:, 0] > 1e-18  # rows of smaller numbers are zeros to numpy, and lose nothing that matters
    steps = largest[real] / 127
    in_graph = (found[real].astype(int) - 128) * steps
    assert found[real].min(initial=255) >= 1
    exact = rows[real].astype(np.float64) / steps.astype(np.float64)
    between = np.abs(exact - np.floor(exact) - 0.5) < 1e-4
    difference = np.abs(in_graph - quantize_rows(rows)[real])
    assert (difference <= np.where(between, 1.01, 5e-5) * steps).all()
    assert (np.abs(in_graph - rows[real]) <= steps * (0.5 + 1e-4)).all()


def test_a_row_of_zeros_gives_zeros() -> None:
    """It has no scale; its neighbours are as without it."""
    rows, weight = heavy_tails((5, 48)), heavy_tails((48, 7))
    rows[[0, 3]] = 0
    product = quantized_product(rows, weight)
    np.testing.assert_array_equal(product[[0, 3]], 0)
    np.testing.assert_array_equal(product[[1, 2, 4]], quantized_product(rows[[1, 2, 4]], weight))
    assert not quantize_rows(rows)[[0, 3]].any()


@pytest.mark.parametrize("size", [1e-37, 1e-39, 1e-44])
def test_a_row_of_the_smallest_numbers_gives_about_nothing(size: float) -> None:
    """Their reciprocal overflows."""
    rows, weight = heavy_tails((3, 48)), heavy_tails((48, 7))
    rows[1] *= np.float32(size)
    product = quantized_product(rows, weight)
    assert np.abs(product[1]).max() < 1e-30
    np.testing.assert_array_equal(product[[0, 2]], quantized_product(rows[[0, 2]], weight))


@pytest.mark.parametrize("shape", [(1, 64, 32), (5, 97, 33), (200, 512, 96)])
def test_a_quantised_product_is_that_of_the_rounded_numbers(shape: tuple[int, int, int]) -> None:
    count, inner, outer = shape
    rows, weight = heavy_tails((count, inner)), heavy_tails((inner, outer), seed=1)
    integers, scale = quantize_weight(weight)
    found, largest = quantize_rows_in_onnx(rows)
    exact = ((found.astype(np.int64) - 128) @ integers.astype(np.int64)) * (largest.astype(np.float64) / 127) * scale
    np.testing.assert_allclose(quantized_product(rows, weight), exact, rtol=1e-5, atol=1e-6 * np.abs(exact).max())


def worst_bytes(integers: np.ndarray) -> np.ndarray:
    """Rows of 0 and 255 that make sums as large as they get: those of each column's sign, and random ones."""
    worst = [255 * (sign * integers.astype(int) > 0).T for sign in (1, -1)]
    random = np.random.default_rng(0).choice([0, 255], size=(16, len(integers)))
    return np.concatenate([*worst, random, np.full((1, len(integers)), 255)]).astype(np.uint8)


def integer_products(rows: np.ndarray, integers: np.ndarray, stored: bool) -> np.ndarray:
    """`MatMulInteger` in a stock session, its weight stored in the graph or fed to it."""
    values = [
        helper.make_tensor_value_info("rows", UINT8, ["count", len(integers)]),
        helper.make_tensor_value_info("weight", INT8, integers.shape),
    ]
    output = helper.make_tensor_value_info("product", TensorProto.INT32, ["count", integers.shape[1]])
    node = helper.make_node("MatMulInteger", ["rows", "weight"], ["product"])
    constants = [numpy_helper.from_array(integers, "weight")] if stored else []
    session = operator_session([node], (values[: 1 if stored else 2], [output]), stored=constants)
    feeds = {"rows": rows} if stored else {"rows": rows, "weight": integers}
    return session.run(None, feeds)[0]


WEIGHTS = {
    "normal": np.random.default_rng(0).standard_normal((256, 64)).astype(np.float32),
    "heavy tails": heavy_tails((511, 33)),
    "constant": np.full((64, 16), 0.7, np.float32),
    "one large of each pair": np.tile(np.array([[1.0], [0.01]], np.float32), (150, 8)),
    "equal pairs of either sign": np.repeat(np.random.default_rng(1).choice([-1.0, 1.0], (129, 24)), 2, axis=0),
    "deep": np.random.default_rng(2).uniform(-1, 1, (3072, 48)).astype(np.float32),
}


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "fed"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_integer_products_are_exact_on_this_processor(name: str, stored: bool) -> None:
    """Without VNNI a pair that is not safe would saturate: it does, for bytes that fill the whole range."""
    integers, _ = quantize_weight(WEIGHTS[name].astype(np.float32))
    rows = worst_bytes(integers)
    exact = rows.astype(np.int64) @ integers.astype(np.int64)
    np.testing.assert_array_equal(integer_products(rows, integers, stored), exact)
    for row in (0, len(rows) - 1):  # one row at a time takes another way through onnxruntime
        np.testing.assert_array_equal(integer_products(rows[row : row + 1], integers, stored)[0], exact[row])


@pytest.mark.parametrize("name", WEIGHTS)
def test_quantised_products_of_the_worst_rows_are_exact(name: str) -> None:
    """Rows of 1 and -1, which become bytes of 255 and 1."""
    weight = WEIGHTS[name].astype(np.float32)
    integers, scale = quantize_weight(weight)
    rows = np.concatenate([np.sign(integers).T, -np.sign(integers).T, np.ones((1, len(weight)))]).astype(np.float32)
    rows[rows == 0] = 1
    exact = (127 * rows.astype(np.int64)) @ integers.astype(np.int64) / 127 * scale
    np.testing.assert_allclose(quantized_product(rows, weight), exact, rtol=1e-6, atol=1e-5)


LARGEST = st.lists(st.floats(0, 1e3, width=32, allow_subnormal=False), min_size=2, max_size=40)


@given(largest=LARGEST, exponent=st.sampled_from([0.0, 0.3, 0.5, 0.8]), seed=st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_smoothing_shares_between_both_sides_and_changes_no_product(
    largest: Sequence[float], exponent: float, seed: int
) -> None:
    weight = heavy_tails((len(largest), 5), seed)
    weight[seed % len(weight)] = 0
    factors = smoothing_factors(np.array(largest, np.float32), weight, exponent)
    assert (factors.dtype, factors.shape) == (np.float32, (len(largest),))
    assert (factors > 0).all()
    assert abs(np.log(factors.astype(np.float64)).mean()) < 1e-5  # the geometric mean is 1
    rows = heavy_tails((6, len(largest)), seed + 1)
    smoothed = (rows / factors) @ (weight * factors[:, None])
    size = np.abs(rows) @ np.abs(weight)
    assert (np.abs(smoothed - rows @ weight) <= 1e-5 * size + 1e-20).all()


def test_without_an_exponent_nothing_is_smoothed() -> None:
    np.testing.assert_array_equal(smoothing_factors(np.array([1.0, 9.0], np.float32), heavy_tails((2, 3)), 0.0), 1)


def test_a_channel_that_calibration_hardly_used_is_kept_as_wide_as_the_floor() -> None:
    """Its factor is that of a channel at the floor: other texts may use it."""
    weight = np.ones((9, 4), np.float32)
    used = np.full(9, 2.0, np.float32)
    used[0], at_floor = 0, used.copy()
    at_floor[0] = FLOOR * 2
    factors = smoothing_factors(used, weight, 0.5)
    np.testing.assert_array_equal(factors, smoothing_factors(at_floor, weight, 0.5))
    np.testing.assert_allclose(factors[0] / factors[1], FLOOR**0.5, rtol=1e-5)
    loud = used.copy()
    loud[8] = 200
    np.testing.assert_allclose(np.divide(*smoothing_factors(loud, weight, 0.5)[[8, 1]]), 10, rtol=1e-5)


def test_calibration_that_used_no_channel_gives_finite_factors() -> None:
    factors = smoothing_factors(np.zeros(4, np.float32), np.zeros((4, 2), np.float32), 0.5)
    np.testing.assert_allclose(factors, 1, rtol=1e-6)


def test_the_operators_bodies_are_complete() -> None:
    """Each names the opsets of all operators it uses, onnxruntime's own among them."""
    for function in int8_functions("Relu"):
        onnx.checker.check_function(function)
        assert {entry.version for entry in function.opset_import if entry.domain == "com.microsoft"} <= {1}
