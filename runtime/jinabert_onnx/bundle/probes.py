"""A few short texts with the vectors they should have, or pairs with their logits, and how close vectors must come.

The bundle carries them in `probes.json`, so that any machine can check what it computes without torch: torch's own
vectors for `verify`, and those that each precision gave at export for the self-test at every load.
Knows nothing of how vectors are made.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import BundleError, TruncationWarning
from jinabert_onnx.foreign_errors import is_from_reading
from jinabert_onnx.text.pairs import TextOrPair

from .manifest import PROBES, Bundle

# fp32 is exact but for rounding: this much or, where scores are large, twice as much as torch's float32 is off by.
FP32_MAX_ERROR = 1e-5
FP32_TIMES_TORCH = 2
# The other two are judged by direction, as embeddings are used.
MIN_COSINE = {"fp32": 0.999999, "fp16": 0.9995, "int8": 0.95}


Rows = NDArray[np.floating[Any]]  # (rows, hidden)
Input = TypeVar("Input", str, TextOrPair)  # of an embedding model, of a cross-encoder


@dataclass(frozen=True)
class SelfTest(Generic[Input]):
    """Texts and, by precision, the vectors that the exporter's machine computed, float32 (texts, hidden).

    Of a cross-encoder: pairs or texts, and logits (pairs, labels).
    """

    texts: tuple[Input, ...]
    vectors: Mapping[str, NDArray[np.float32]]

    def to_dict(self) -> dict[str, object]:
        """Return the content for `probes.json`."""
        return {"texts": self.texts, "vectors": {name: rows.tolist() for name, rows in self.vectors.items()}}


@dataclass(frozen=True)
class Probes(Generic[Input]):
    """Texts and the vectors torch gave for them, float32 (texts, hidden), and what is compared at load.

    Of a cross-encoder: pairs or texts, and logits (pairs, labels).
    """

    texts: tuple[Input, ...]
    vectors: NDArray[np.float32]
    self_test: SelfTest[Input] = field(default_factory=lambda: SelfTest((), {}))

    def to_json(self) -> str:
        """Return the text of `probes.json`."""
        content = {"texts": self.texts, "vectors": self.vectors.tolist(), "self_test": self.self_test.to_dict()}
        return json.dumps(content, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Agreement:
    """Closeness to the expected rows: largest difference of a value, smallest cosine of a row."""

    max_difference: float
    min_cosine: float

    def within(self, precision: str, fp32_difference: float = FP32_MAX_ERROR) -> bool:
        """Return whether `precision` may differ this much; False for NaN, which compares with nothing."""
        close = precision != "fp32" or self.max_difference <= fp32_difference
        return close and self.min_cosine >= MIN_COSINE[precision]

    def as_exact_as(self, torch: Agreement) -> bool:
        """Return whether this, of fp32 with float64, is rounding, or near that of torch's float32; False for NaN.

        A vector that is off twice as far is turned by twice the angle, which takes its cosine 4 times as far from 1.
        """
        close = self.max_difference <= allowed_error(torch.max_difference)
        turned = max(1 - MIN_COSINE["fp32"], FP32_TIMES_TORCH**2 * (1 - torch.min_cosine))
        return close and 1 - self.min_cosine <= turned


def allowed_error(torch_error: float) -> float:
    """Return how far fp32 may be off from float64 where torch's float32 is off by `torch_error`."""
    return max(FP32_MAX_ERROR, FP32_TIMES_TORCH * torch_error)


def allowed_difference(measured: object) -> float:
    """Return how far fp32 may be from torch's float32 vectors, which are off from float64 themselves.

    `measured` is the manifest's record of fp32. Where torch's error was not measured, its difference from the graph,
    which was small then, stands for it.
    """
    figures = measured if isinstance(measured, Mapping) else {}
    found = (figures.get(name) for name in ("max_error_torch", "max_difference_tokens", "max_difference_logits"))
    torch_error = next((value for value in found if isinstance(value, float)), 0.0)
    return (1 + FP32_TIMES_TORCH) * max(FP32_MAX_ERROR, torch_error)


def required(precision: str, fp32_difference: float = FP32_MAX_ERROR) -> str:
    """Return the bound of a precision in words, for messages."""
    if precision == "fp32":
        return f"difference at most {fp32_difference:g}"
    return f"cosine at least {MIN_COSINE[precision]:g}"


def compare(actual: Rows, expected: Rows) -> Agreement:
    """Compare two float arrays (rows, hidden) row by row, in float64."""
    first, second = actual.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    cosines = (first * second).sum(axis=-1) / np.where(lengths == 0, 1, lengths)
    return Agreement(float(np.abs(first - second).max()), float(cosines.min()))


def worst(agreements: Sequence[Agreement]) -> Agreement:
    """Return the largest difference and the smallest cosine of several; NaN if any is."""
    return Agreement(
        float(np.max([agreement.max_difference for agreement in agreements])),
        float(np.min([agreement.min_cosine for agreement in agreements])),
    )


def probe(encode: Callable[[Sequence[Input]], NDArray[np.float32]], texts: Sequence[Input], vectors: Rows) -> Agreement:
    """Compare what `encode` gives for texts with the expected vectors, all texts at once and each alone."""
    return worst([compare(rows, vectors) for rows in together_and_alone(encode, texts)])


def together_and_alone(
    compute: Callable[[Sequence[Input]], NDArray[np.float32]], inputs: Sequence[Input]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what `compute` gives for all inputs at once, and for each alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # a model with a small limit cuts these too
        return compute(inputs), np.concatenate([compute([one]) for one in inputs])


def read_probes(bundle: Bundle) -> Probes[str]:
    """Read `probes.json` of the bundle of an embedding model.

    Raises:
        BundleError: missing or damaged.
    """
    return _read(bundle, str)


def read_pair_probes(bundle: Bundle) -> Probes[TextOrPair]:
    """Read `probes.json` of the bundle of a cross-encoder.

    Raises:
        BundleError: missing or damaged.
    """
    return _read(bundle, _text_or_pair)


def _read(bundle: Bundle, as_input: Callable[[Any], Input]) -> Probes[Input]:
    path = bundle.path / PROBES
    try:
        content: Any = json.loads(path.read_bytes())
        texts = tuple(as_input(text) for text in content["texts"])
        vectors = _rows(content["vectors"])
        inner = content["self_test"]
        own = tuple(as_input(text) for text in inner["texts"])
        self_test = SelfTest(own, {str(name): _rows(rows) for name, rows in inner["vectors"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if not is_from_reading(error):
            raise
        raise BundleError(f"{path}: missing or damaged ({error}); export or download the bundle again") from error
    width = bundle.manifest.dimensions
    shapes_fit = [vectors.shape == (len(texts), width)]
    shapes_fit += [rows.shape == (len(own), width) for rows in self_test.vectors.values()]
    if not texts or not all(shapes_fit):
        raise BundleError(f"{path}: texts and vectors do not fit together; export or download the bundle again")
    return Probes(texts, vectors, self_test)


def _text_or_pair(content: Any) -> TextOrPair:
    if isinstance(content, str):
        return content
    first, second = content
    return str(first), str(second)


def _rows(content: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.array(content, dtype=np.float32)
