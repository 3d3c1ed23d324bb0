"""What every peer is asked to run: shapes, seeded texts and their token ids, and the files that carry them.

Knows the runtime's batching, because mixed texts are batched as `Embedder` does; nothing of peers or times.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jinabert_onnx.bench.texts import TextMaker
from jinabert_onnx.engine.batching import pad, plan_batches
from numpy.typing import NDArray

BATCH_SIZE = 32  # the default of `encode`
BATCH_TOKENS = 512  # padded tokens of a batch: as `Embedder` has it, and about what is fastest with any of the runtimes

Takes = Literal["ids", "texts"]  # what a peer is given


@dataclass(frozen=True)
class Shape:
    """Texts by their lengths in tokens, and how often they are run.

    A turn is `warm` untimed and then `runs` timed passes; slow peers get fewer turns. A shape that is `alone` has
    one turn, with no other worker alive, since its memory may be all that the machine has. `patience` multiplies the
    time that it may take.
    """

    name: str
    lengths: tuple[int, ...]
    turns: int
    warm: int = 0
    runs: int = 1
    alone: bool = False
    patience: float = 1.0
    texts: bool = False  # asked of those that take texts, too

    def takes(self, takes: Takes) -> bool:
        """Return whether this is asked of those that take `takes`."""
        return takes == "ids" or self.texts


def _mixed_lengths(count: int) -> tuple[int, ...]:
    """8 to 512 tokens, evenly over the logarithm, in random order."""
    lengths = np.geomspace(8, 512, count).round().astype(int)
    return tuple(np.random.default_rng(0).permutation(lengths).tolist())


SHAPES = (
    Shape("1x16", (16,), turns=6, warm=2, runs=8, texts=True),
    Shape("1x128", (128,), turns=7, warm=1, runs=3),
    Shape("8x128", (128,) * 8, turns=4, texts=True),
    Shape("mixed", _mixed_lengths(32), turns=3, texts=True),
    Shape("1x512", (512,), turns=6),
    Shape("1x2048", (2048,), turns=3),
    Shape("1x8192", (8192,), turns=1, alone=True, patience=3),
)


# Of `--quick`: the tables and checks in little time, no figures to rely on.
QUICK_SHAPES = (
    Shape("1x12", (12,), turns=2, warm=1, runs=2, texts=True),
    Shape("4x32", (32,) * 4, turns=1),
    Shape("mixed-4", (8, 40, 17, 90), turns=1, texts=True),
    Shape("1x100", (100,), turns=1, alone=True),
)


def input_file(work: Path, shape: Shape, takes: Takes, whole: bool = False) -> Path:
    """Return where the batches of a shape lie, or all of its texts in one call."""
    return work / "inputs" / f"{shape.name}{'-whole' if whole else ''}.{'npz' if takes == 'ids' else 'json'}"


def write_inputs(work: Path, shapes: Iterable[Shape], maker: TextMaker) -> None:
    """Write the batches of every shape, as token ids, and as the texts that have these ids, which also lie in one call.

    For batch n `places{n}`, `ids{n}` and `mask{n}`; or a list of objects with `places` and `texts`.
    """
    (work / "inputs").mkdir(parents=True, exist_ok=True)
    for shape in shapes:
        generator = np.random.default_rng([len(shape.lengths), *shape.lengths])
        texts = [maker.make(length, generator) for length in shape.lengths]
        plan, all_at_once = _plan(shape.lengths), [np.arange(len(texts))]
        _write_ids(input_file(work, shape, "ids"), texts, plan, maker)
        for whole, calls in ((False, plan), (True, all_at_once)):
            batches = [{"places": places.tolist(), "texts": [texts[place] for place in places]} for places in calls]
            input_file(work, shape, "texts", whole).write_text(json.dumps(batches), "utf-8")


def _write_ids(path: Path, texts: list[str], plan: list[NDArray[np.intp]], maker: TextMaker) -> None:
    arrays: dict[str, NDArray[np.int64]] = {}
    for number, places in enumerate(plan):
        ids, mask = pad(maker.ids([texts[place] for place in places]))
        arrays |= {f"places{number}": places, f"ids{number}": ids, f"mask{number}": mask}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _plan(lengths: tuple[int, ...]) -> list[NDArray[np.intp]]:
    """Mixed texts in batches of like length: padded to one length they took five times as long, with every runtime."""
    if len(set(lengths)) == 1:
        return [np.arange(len(lengths))]
    return plan_batches(lengths, BATCH_SIZE, BATCH_TOKENS)
