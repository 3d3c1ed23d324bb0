"""A few short texts with the vectors they should have, and how close each precision must come.

The bundle carries them in `probes.json`, so that any machine can check what it computes without torch: torch's own
vectors for `verify`, and those that each precision gave at export for the self-test at every load.
Knows nothing of how vectors are made.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import BundleError, TruncationWarning
from jinabert_onnx.foreign_errors import is_from_reading

from .manifest import PROBES, Bundle

# fp32 is exact but for rounding; the other two are judged by direction, as embeddings are used.
FP32_MAX_DIFFERENCE = 1e-4
MIN_COSINE = {"fp32": 0.999999, "fp16": 0.9995, "int8": 0.95}


@dataclass(frozen=True)
class SelfTest:
    """Texts and, by precision, the vectors that the exporter's machine computed, float32 (texts, hidden)."""

    texts: tuple[str, ...]
    vectors: Mapping[str, NDArray[np.float32]]

    def to_dict(self) -> dict[str, object]:
        """Return the content for `probes.json`."""
        return {"texts": self.texts, "vectors": {name: rows.tolist() for name, rows in self.vectors.items()}}


@dataclass(frozen=True)
class Probes:
    """Texts and the vectors torch gave for them, float32 (texts, hidden), and what is compared at load."""

    texts: tuple[str, ...]
    vectors: NDArray[np.float32]
    self_test: SelfTest = field(default_factory=lambda: SelfTest((), {}))

    def to_json(self) -> str:
        """Return the text of `probes.json`."""
        content = {"texts": self.texts, "vectors": self.vectors.tolist(), "self_test": self.self_test.to_dict()}
        return json.dumps(content, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Agreement:
    """Closeness to the expected rows: largest difference of a value, smallest cosine of a row."""

    max_difference: float
    min_cosine: float

    def within(self, precision: str) -> bool:
        """Return whether `precision` may differ this much; False for NaN, which compares with nothing."""
        close = precision != "fp32" or self.max_difference <= FP32_MAX_DIFFERENCE
        return close and self.min_cosine >= MIN_COSINE[precision]


def required(precision: str) -> str:
    """Return the bound of a precision in words, for messages and tables."""
    if precision == "fp32":
        return f"difference at most {FP32_MAX_DIFFERENCE:g}"
    return f"cosine at least {MIN_COSINE[precision]:g}"


def compare(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> Agreement:
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


def probe(encode: Callable[[Sequence[str]], NDArray[np.float32]], expected: Probes) -> Agreement:
    """Compare what `encode` gives with the expected vectors, all texts at once and each alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # a model with a small limit cuts these texts too
        together = encode(expected.texts)
        alone = np.concatenate([encode([text]) for text in expected.texts])
    return worst([compare(together, expected.vectors), compare(alone, expected.vectors)])


def read_probes(bundle: Bundle) -> Probes:
    """Read `probes.json` of a bundle.

    Raises:
        BundleError: missing or damaged.
    """
    path = bundle.path / PROBES
    try:
        content: Any = json.loads(path.read_bytes())
        texts, vectors = _texts(content), _rows(content["vectors"])
        inner = content["self_test"]
        self_test = SelfTest(_texts(inner), {str(name): _rows(rows) for name, rows in inner["vectors"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if not is_from_reading(error):
            raise
        raise BundleError(f"{path}: missing or damaged ({error}); export or download the bundle again") from error
    hidden = bundle.manifest.model.hidden_size
    shapes_fit = [vectors.shape == (len(texts), hidden)]
    shapes_fit += [rows.shape == (len(self_test.texts), hidden) for rows in self_test.vectors.values()]
    if not texts or not all(shapes_fit):
        raise BundleError(f"{path}: texts and vectors do not fit together; export or download the bundle again")
    return Probes(texts, vectors, self_test)


def _texts(content: Any) -> tuple[str, ...]:
    return tuple(str(text) for text in content["texts"])


def _rows(content: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.array(content, dtype=np.float32)
