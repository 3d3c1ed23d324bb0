"""What tests of the native kernels ask and compare. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jinabert_onnx import Embedder
from numpy.typing import NDArray

# Between two float32 computations of what tests/kernels/forms.py makes: its scores are large, and torch's own is off by
# up to 1e-4.
BETWEEN_FLOATS = 5e-4


@dataclass
class NativeRuns:
    """A count of the library, so that no test passes on the portable path."""

    count: Callable[[], int]
    before: int = field(init=False)

    def __post_init__(self) -> None:
        self.before = self.count()

    def __call__(self) -> int:
        return self.count() - self.before


def embed(model: Embedder, input_ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the token embeddings, (batch, sequence, hidden)."""
    return model.loaded.session.run(input_ids, mask)


def error(found: NDArray[np.float32], right: NDArray[np.float32], mask: NDArray[np.int64]) -> float:
    """Return the largest difference in rows that the mask shows."""
    return float(np.abs(found - right)[mask > 0].max())


def distance(found: NDArray[np.float32], right: NDArray[np.float32], mask: NDArray[np.int64]) -> float:
    """Return the root mean square of differences, as a share of the reference's."""
    difference = (found - right)[mask > 0]
    return float(np.sqrt(np.square(difference).mean() / np.square(right[mask > 0]).mean()))
