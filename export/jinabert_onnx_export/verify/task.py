"""What differs between an embedding model and a cross-encoder where both are verified: inputs, results, comparisons.

Knows nothing of the order of the steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from jinabert_onnx.bundle.probes import Agreement, Input, Rows
from jinabert_onnx.model import Model
from numpy.typing import NDArray

from jinabert_onnx_export.checkpoint.read import Checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder

from .reference import Case

_Model = TypeVar("_Model", bound=Model)

Tokens = NDArray[np.int64]  # (tokens,)


@dataclass(frozen=True)
class Place:
    """The precision of a bundle that is verified, and what runs it."""

    bundle: Path
    precision: str
    provider: str
    threads: int | str

    def load(self, kind: type[_Model]) -> _Model:
        """Load it as an `Embedder` or a `CrossEncoder`; what follows is more than the checks at load."""
        return kind.load(
            self.bundle,
            precision=self.precision,
            provider=self.provider,
            threads=self.threads,
            integrity="off",
            self_test=False,
        )


@dataclass(frozen=True)
class Probed:
    """What the runtime gives for inputs: all at once, each alone, and those of the self-test at load."""

    together: NDArray[np.float32]
    alone: NDArray[np.float32]
    self_test: NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """Figures for the manifest, as JSON has them, and the most telling ones in words."""

    figures: Mapping[str, float]
    words: str


class Task(ABC, Generic[Input]):
    """What a checkpoint is for."""

    probe_inputs: tuple[Input, ...]
    self_test_inputs: tuple[Input, ...]
    named: str  # the inputs, in messages

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    @abstractmethod
    def check_known(self, encoder: JinaBertEncoder) -> str | None:
        """Return the published checkpoint that this one is by what it gives, or None.

        Raises:
            VerificationError: it claims to be one, and gives something else.
        """

    @abstractmethod
    def compute(self, encoder: JinaBertEncoder, inputs: Sequence[Input]) -> NDArray[np.float32]:
        """Compute in torch what the runtime is to give: one row per input."""

    @abstractmethod
    def run(self, place: Place, inputs: Sequence[Input]) -> Probed:
        """Compute the same with the runtime."""

    @abstractmethod
    def rows_of(self, case: Case, output: Rows) -> Rows:
        """Return what counts of a batch's output, (rows, channels)."""

    @abstractmethod
    def compare(self, actual: Rows, expected: Rows) -> Agreement:
        """Compare rows of fp32 with exact ones."""

    @abstractmethod
    def measure(
        self, precision: str, outputs: Sequence[tuple[Case, NDArray[np.float32]]], probed: Probed, expected: Rows
    ) -> Measured:
        """Compare batches and inputs with what torch's float32 gives for them.

        Raises:
            VerificationError: fp16 or int8 is too far off. Of fp32 that is judged elsewhere.
        """

    @abstractmethod
    def vector_limits(self, encoder: JinaBertEncoder) -> dict[str, float]:
        """Return the manifest's `vector_limits`."""

    @abstractmethod
    def calibration(self, path: Path | None) -> tuple[list[Tokens], list[Tokens] | None]:
        """Return token ids, and types if the model takes them, of the inputs that int8 is calibrated with."""
