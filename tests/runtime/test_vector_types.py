"""Vectors of each type hold what is said of them, whatever stands beside them, and similarities are those of values."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.encoding.pooling import normalize
from jinabert_onnx.encoding.vector_types import OUTPUT_DTYPES, convert, limit_for, require_convertible, similarity
from jinabert_onnx.errors import InputError, InputTypeError
from support.paths import BUNDLES, DATA

STEPPED = ("int8", "uint8")
PACKED = ("binary", "ubinary")
STORED = {"binary": "int8", "ubinary": "uint8"}  # the others are called as they are stored

LARGEST_HALF = 65504.0
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
LIMITS = st.floats(2.0**-20, 2.0**20, width=32)
SHAPES = st.tuples(st.integers(1, 9), st.sampled_from([8, 16, 40]))
VECTORS = arrays.arrays(np.float32, SHAPES, elements=FLOATS | st.floats(-2, 2, width=32))
HALVABLE = arrays.arrays(np.float32, SHAPES, elements=st.floats(-LARGEST_HALF, LARGEST_HALF, width=32))


def vectors_for(output_dtype: str) -> st.SearchStrategy[np.ndarray]:
    return HALVABLE if output_dtype == "float16" else VECTORS


def random_vectors(rows: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)


@pytest.mark.parametrize("output_dtype", OUTPUT_DTYPES)
@given(data=st.data(), limit=LIMITS)
def test_a_row_alone_is_the_row_among_others_bit_for_bit(output_dtype: str, data: st.DataObject, limit: float) -> None:
    vectors = data.draw(vectors_for(output_dtype))
    together = convert(vectors, output_dtype, limit)
    assert together.dtype == STORED.get(output_dtype, output_dtype)
    for row, vector in zip(together, vectors, strict=True):
        assert row.tobytes() == convert(vector, output_dtype, limit).tobytes()
        assert row.tobytes() == convert(vector[None], output_dtype, limit).tobytes()


@given(VECTORS, LIMITS)
def test_int8_is_off_by_half_a_step_and_cut_at_the_limit(vectors: np.ndarray, limit: float) -> None:
    steps = convert(vectors, "int8", limit).astype(np.float64)
    assert np.abs(steps).max() <= 127
    within = np.clip(vectors.astype(np.float64), -limit, limit)
    assert np.abs(steps - within / limit * 127).max() <= 0.5 + 127 * 2**-22  # the rest: the arithmetic is float32


@given(VECTORS, LIMITS)
def test_int8_of_the_opposite_is_the_negative_and_uint8_is_128_more(vectors: np.ndarray, limit: float) -> None:
    steps = convert(vectors, "int8", limit)
    np.testing.assert_array_equal(convert(-vectors, "int8", limit), -steps)
    np.testing.assert_array_equal(convert(vectors, "uint8", limit), steps.astype(int) + 128)


@pytest.mark.parametrize("output_dtype", ["float16", *STEPPED])
@given(data=st.data(), limit=LIMITS)
def test_a_larger_value_never_becomes_a_smaller_one(output_dtype: str, data: st.DataObject, limit: float) -> None:
    ascending = np.sort(data.draw(vectors_for(output_dtype)), axis=None)
    assert (np.diff(convert(ascending, output_dtype, limit).astype(np.float64)) >= 0).all()


def test_steps_by_hand() -> None:
    vector = np.float32([0, 0.5, -0.5, 1, -1, 1.01, -40, 0.003, 0.004])
    assert convert(vector, "int8", 1.0).tolist() == [0, 64, -64, 127, -127, 127, -127, 0, 1]
    assert convert(vector, "uint8", 1.0).tolist() == [128, 192, 64, 255, 1, 255, 1, 128, 129]


@given(VECTORS)
@example(np.float32([[1, -1, 0, 2, -3, 0.5, -0.0, 1e-30]]))
@example(np.zeros((1, 16), np.float32))
def test_bits_are_packed_as_a_plain_loop_packs_them_the_first_value_as_the_highest_bit(vectors: np.ndarray) -> None:
    expected = [
        [sum(int(value > 0) << (7 - bit) for bit, value in enumerate(row[start : start + 8])) for start in places]
        for row in vectors
        for places in [range(0, len(row), 8)]
    ]
    assert convert(vectors, "ubinary", 1.0).tolist() == expected
    assert convert(vectors, "binary", 1.0).tolist() == [[byte - 128 for byte in row] for row in expected]


@pytest.mark.parametrize("output_dtype", PACKED)
@pytest.mark.parametrize("dimensions", [1, 7, 100, 257])
def test_dimensions_that_fill_no_whole_byte_are_refused(output_dtype: str, dimensions: int) -> None:
    complaint = f"{output_dtype} vectors hold 8 dimensions per byte, and {dimensions} is not .* choose a truncate_dim"
    with pytest.raises(InputError, match=complaint):
        require_convertible(output_dtype, dimensions)
    with pytest.raises(InputError, match=complaint):
        convert(random_vectors(2, dimensions), output_dtype, 1.0)


@pytest.mark.parametrize("output_dtype", OUTPUT_DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused_with_its_row(output_dtype: str, value: float) -> None:
    vectors = random_vectors(5, 8)
    vectors[3, 2] = value
    with pytest.raises(InputError, match="vector 3 holds NaN or infinity"):
        convert(vectors, output_dtype, 1.0)


def test_what_float16_cannot_hold_is_refused_with_its_row() -> None:
    vectors = random_vectors(3, 8)
    vectors[1, 0] = -LARGEST_HALF
    assert convert(vectors, "float16", 1.0)[1, 0] == -LARGEST_HALF
    vectors[1, 0] = -65520
    with pytest.raises(InputError, match="vector 1 is beyond float16, which ends at 65504; use float32"):
        convert(vectors, "float16", 1.0)


@given(HALVABLE)
def test_float16_is_the_nearest(vectors: np.ndarray) -> None:
    halves = convert(vectors, "float16", 1.0).astype(np.float64)
    assert (np.abs(halves - vectors) <= np.maximum(np.abs(vectors.astype(np.float64)) * 2**-11, 2.0**-25)).all()


@pytest.mark.parametrize("output_dtype", STEPPED)
@pytest.mark.parametrize("limit", [0.0, -1.0, np.nan, np.inf, 1e39, 1e-46])
def test_a_limit_that_is_no_positive_float32_is_refused(output_dtype: str, limit: float) -> None:
    with pytest.raises(InputError, match=r"limit is .* must be a positive float32"):
        convert(random_vectors(2, 8), output_dtype, limit)


@pytest.mark.parametrize("name", ["int4", "", "Float32", np.float16, None])
def test_other_types_are_refused(name: object) -> None:
    for refuse in (lambda: convert(random_vectors(1, 8), name, 1.0), lambda: similarity([1.0], [1.0], name)):
        with pytest.raises(InputError, match=r"output_dtype .* is unknown; use one of float32, float16, int8, uint8"):
            refuse()


def test_zeros_have_no_direction_and_stay_zeros_when_normalised() -> None:
    rows = np.array([[3, 4], [0, 0], [1e-10, 0]], dtype=np.float32)
    np.testing.assert_allclose(normalize(rows), [[0.6, 0.8], [0, 0], [1, 0]], atol=1e-6)
    assert normalize(rows).dtype == np.float32


def test_a_cut_and_then_normalised_vector_has_a_wider_limit_but_never_more_than_one() -> None:
    limits = {"raw": 3.0, "normalized": 0.25}
    assert [limit_for(limits, True, dimensions, 768) for dimensions in (768, 192, 48, 1)] == [0.25, 0.5, 1, 1]
    assert [limit_for(limits, False, dimensions, 768) for dimensions in (768, 192, 1)] == [3, 3, 3]


@pytest.mark.parametrize("output_dtype", ["float32", "float16"])
def test_similarity_of_floats_is_their_cosine(output_dtype: str) -> None:
    first, second = (convert(random_vectors(rows, 24, rows), output_dtype, 1.0) for rows in (5, 3))
    one, other = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first.astype(float), second.astype(float))
    )
    found = similarity(first, second, output_dtype)
    assert (found.dtype, found.shape) == (np.float32, (5, 3))
    np.testing.assert_allclose(found, one @ other.T, rtol=0, atol=5e-7)


@pytest.mark.parametrize(("output_dtype", "middle"), [("int8", 0), ("uint8", 128)])
@given(data=st.data())
def test_similarity_of_integers_is_their_cosine(output_dtype: str, middle: int, data: st.DataObject) -> None:
    rows = arrays.arrays(np.dtype(output_dtype), (2, 1000))
    first, second = data.draw(rows), data.draw(rows)
    exact = [
        [integer_cosine(one - middle, other - middle) for other in second.astype(int)] for one in first.astype(int)
    ]
    np.testing.assert_allclose(similarity(first, second, output_dtype), exact, rtol=0, atol=5e-6)


def integer_cosine(first: np.ndarray, second: np.ndarray) -> float:
    product, *squares = (int((one * other).sum()) for one, other in ((first, second), (first, first), (second, second)))
    return product / (squares[0] * squares[1]) ** 0.5 if all(squares) else 0.0


def test_the_largest_integers_do_not_overflow() -> None:
    vector = np.full((1, 4096), -128, np.int8)
    assert similarity(vector, vector, "int8").item() == pytest.approx(1, abs=1e-6)
    assert similarity(vector, np.full((1, 4096), 127, np.int8), "int8").item() == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("output_dtype", PACKED)
@given(data=st.data())
def test_similarity_of_bits_counts_those_that_differ(output_dtype: str, data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 13))
    rows = arrays.arrays(np.dtype(STORED[output_dtype]), (3, width))
    first, second = data.draw(rows), data.draw(rows)
    found = similarity(first, second, output_dtype)
    for (row, column), value in np.ndenumerate(found):
        bytes_of_both = zip(first[row].tolist(), second[column].tolist(), strict=True)
        differing = sum(((one ^ other) & 255).bit_count() for one, other in bytes_of_both)
        assert value == np.float32(1 - Fraction(2 * differing, 8 * width))


@pytest.mark.parametrize("output_dtype", OUTPUT_DTYPES)
def test_a_vector_is_most_similar_to_itself_and_opposite_to_its_negative(output_dtype: str) -> None:
    vectors = random_vectors(20, 64)
    converted, opposite = (convert(rows, output_dtype, 3.0) for rows in (vectors, -vectors))
    found = similarity(converted, converted, output_dtype)
    assert found.argmax(axis=1).tolist() == list(range(20))
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-6)
    np.testing.assert_allclose(np.diag(similarity(converted, opposite, output_dtype)), -1, atol=1e-6)


@pytest.mark.parametrize("output_dtype", OUTPUT_DTYPES)
def test_one_vector_is_a_row(output_dtype: str) -> None:
    converted = convert(random_vectors(3, 16), output_dtype, 3.0)
    for first, second in [(converted[0], converted), (converted, converted[0]), (converted[0], converted[0])]:
        expected = similarity(np.atleast_2d(first), np.atleast_2d(second), output_dtype)
        np.testing.assert_array_equal(similarity(first, second, output_dtype), expected)


@pytest.mark.parametrize("output_dtype", OUTPUT_DTYPES)
def test_many_rows_are_compared_like_few(output_dtype: str) -> None:
    many = convert(random_vectors(9001, 8), output_dtype, 3.0)
    found = similarity(many[:2], many, output_dtype)
    for place in (0, 4095, 4096, 8191, 8192, 9000):
        np.testing.assert_allclose(found[:, place], similarity(many[:2], many[place], output_dtype)[:, 0], atol=1e-6)


@pytest.mark.parametrize("output_dtype", OUTPUT_DTYPES)
def test_no_rows_give_no_similarities(output_dtype: str) -> None:
    converted = convert(random_vectors(3, 16), output_dtype, 3.0)
    assert similarity(converted[:0], converted, output_dtype).shape == (0, 3)
    assert similarity(converted, converted[:0], output_dtype).shape == (3, 0)


@pytest.mark.parametrize("output_dtype", ["float32", "float16", "int8", "uint8"])
def test_a_row_of_zeros_stays_zeros_and_is_similar_to_nothing(output_dtype: str) -> None:
    vectors = random_vectors(3, 16)
    vectors[1] = 0
    converted = convert(vectors, output_dtype, 3.0)
    assert set(converted[1].tolist()) == {128 if output_dtype == "uint8" else 0}
    assert similarity(converted, converted, output_dtype)[1].tolist() == [0, 0, 0]


def test_lists_of_floats_are_vectors() -> None:
    assert similarity([1.0, 0.0], [[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]], "float32").tolist() == [[1, 0, -1]]


@pytest.mark.parametrize(
    ("output_dtype", "made_as"),
    [
        (output_dtype, made_as)
        for output_dtype in OUTPUT_DTYPES
        for made_as in OUTPUT_DTYPES
        if STORED.get(output_dtype, output_dtype) != STORED.get(made_as, made_as)
        and (output_dtype, made_as) != ("float32", "float16")
    ],
)
def test_vectors_of_another_type_are_refused(output_dtype: str, made_as: str) -> None:
    vectors = convert(random_vectors(2, 16), made_as, 3.0)
    with pytest.raises(InputTypeError, match=f"vectors are {vectors.dtype}, and {output_dtype} ones are"):
        similarity(vectors, vectors, output_dtype)


def test_float32_takes_floats_of_any_width() -> None:
    vectors = random_vectors(2, 16)
    expected = similarity(vectors, vectors, "float32")
    for width, tolerance in ((np.float16, 2e-3), (np.float64, 0)):
        np.testing.assert_allclose(similarity(vectors.astype(width), vectors, "float32"), expected, atol=tolerance)


@pytest.mark.parametrize("output_dtype", OUTPUT_DTYPES)
def test_vectors_of_another_width_or_shape_are_refused(output_dtype: str) -> None:
    vectors = convert(random_vectors(2, 16), output_dtype, 3.0)
    with pytest.raises(InputError, match=f"of width {vectors.shape[1]} and 1 cannot be compared"):
        similarity(vectors, vectors[:, :1], output_dtype)
    with pytest.raises(InputError, match=r"vectors have shape \[1, 2, "):
        similarity(vectors[None], vectors, output_dtype)


@pytest.fixture(scope="module")
def limits() -> Mapping[str, float]:
    return open_bundle(BUNDLES / "tiny-de-en").manifest.vector_limits


@pytest.fixture(scope="module")
def translations() -> tuple[np.ndarray, np.ndarray]:
    """The trained checkpoint's raw vectors of 1,000 unseen English texts, and of the same in German: (1000, 256)."""
    with np.load(DATA / "tiny-de-en" / "heldout.npz") as vectors:
        return vectors["pairs_en"], vectors["pairs_de"]


@pytest.mark.parametrize("dimensions", [256, 128, 64])
def test_normalised_real_vectors_keep_their_direction_in_int8(
    limits: Mapping[str, float], translations: tuple[np.ndarray, np.ndarray], dimensions: int
) -> None:
    vectors = normalize(np.concatenate(translations)[:, :dimensions])
    steps = convert(vectors, "int8", limit_for(limits, True, dimensions, 256)).astype(np.float32)
    cosines = (vectors * normalize(steps)).sum(axis=1)
    assert cosines.mean() > 0.9999
    assert cosines.min() > 0.995


@pytest.mark.parametrize("output_dtype", OUTPUT_DTYPES)
@pytest.mark.parametrize("normalized", [True, False])
def test_translations_are_found_in_every_type(
    limits: Mapping[str, float], translations: tuple[np.ndarray, np.ndarray], output_dtype: str, normalized: bool
) -> None:
    limit = limit_for(limits, normalized, 256, 256)
    english, german = (convert(normalize(rows) if normalized else rows, output_dtype, limit) for rows in translations)
    found = similarity(german, english, output_dtype).argmax(axis=1)
    share = (found == np.arange(len(english))).mean()
    assert share >= (0.92 if output_dtype in PACKED else 0.95)
