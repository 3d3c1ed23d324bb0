"""What every peer is asked to run: shapes, seeded token ids, and the files that carry them to the workers.

Knows the runtime's batching, because mixed texts are batched as `Embedder` does; nothing of peers or times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinabert_onnx.batching import TOKEN_BUDGETS, pad, plan_batches
from numpy.typing import NDArray

BATCH_SIZE = 32  # the default of `encode`
SORTED_TOKENS = 512  # padded tokens of a sorted batch: about what is fastest on a CPU, with any of the runtimes

# Ways of batching: one batch of everything; batches of like length; batches as `Embedder` plans them here.
PADDED, SORTED, EMBEDDER = "padded", "sorted", "embedder"


@dataclass(frozen=True)
class Shape:
    """Texts by their lengths in tokens, and how often they are run.

    A turn is `warm` untimed and then `runs` timed passes. A shape that is `alone` has one turn, with no other
    worker alive, since its memory may be all that the machine has.
    """

    name: str
    lengths: tuple[int, ...]
    turns: int
    warm: int = 0
    runs: int = 1
    alone: bool = False

    @property
    def forms(self) -> tuple[str, ...]:
        """How the texts may be batched: in every way where the lengths differ."""
        return (SORTED, PADDED, EMBEDDER) if len(set(self.lengths)) > 1 else (PADDED,)


def _mixed_lengths(count: int) -> tuple[int, ...]:
    """8 to 512 tokens, evenly over the logarithm, in random order."""
    lengths = np.geomspace(8, 512, count).round().astype(int)
    return tuple(np.random.default_rng(0).permutation(lengths).tolist())


SHAPES = (
    Shape("1x16", (16,), turns=15, warm=3, runs=10),
    Shape("1x128", (128,), turns=12, warm=2, runs=5),
    Shape("8x128", (128,) * 8, turns=7, warm=1, runs=2),
    Shape("mixed", _mixed_lengths(32), turns=5),
    Shape("1x512", (512,), turns=9, warm=1, runs=2),
    Shape("1x2048", (2048,), turns=5),
    Shape("1x8192", (8192,), turns=1, warm=1, runs=2, alone=True),
)


def input_file(work: Path, shape: Shape, form: str) -> Path:
    """Where the batches of a shape lie."""
    return work / "inputs" / f"{shape.name}-{form}.npz"


def write_inputs(work: Path, shapes: Iterable[Shape], vocabulary: int) -> None:
    """Write the batches of every shape and form: for batch n `places{n}`, `ids{n}` and `mask{n}`."""
    (work / "inputs").mkdir(parents=True, exist_ok=True)
    for shape in shapes:
        generator = np.random.default_rng([len(shape.lengths), *shape.lengths])
        texts = [generator.integers(vocabulary, size=length) for length in shape.lengths]
        for form in shape.forms:
            arrays: dict[str, NDArray[np.int64]] = {}
            for number, places in enumerate(_plan(shape.lengths, form)):
                ids, mask = pad([texts[place] for place in places])
                arrays |= {f"places{number}": places, f"ids{number}": ids, f"mask{number}": mask}
            np.savez(input_file(work, shape, form), **arrays)  # type: ignore[arg-type]


def _plan(lengths: tuple[int, ...], form: str) -> list[NDArray[np.intp]]:
    if form == PADDED:
        return [np.arange(len(lengths))]
    budget = SORTED_TOKENS if form == SORTED else TOKEN_BUDGETS["cpu"]
    return plan_batches(lengths, BATCH_SIZE, budget)
