"""The machine's physical ceiling, as `jinabert-onnx bench` measures and counts it, for a checkpoint and for any peer.

PYTHONPATH=benchmarks python -m peers.ceiling THREADS     (asked by side_by_side.py; prints JSON)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jinabert_onnx.bench import roofline


@dataclass(frozen=True)
class Sizes(roofline.Sizes):
    """What the cost of an encoder depends on, and the size of its vocabulary."""

    vocabulary: int

    @classmethod
    def read(cls, config: Path) -> Sizes:
        """From a checkpoint's `config.json`."""
        content = json.loads(config.read_text("utf-8"))
        names = ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
        return cls(*(content[name] for name in names))


def ceiling_milliseconds(sizes: Sizes, lengths: Sequence[int], rates: Mapping[str, float]) -> dict[str, float]:
    """The least time of the texts' products at the measured `rates` (operations a second), by kind of peer."""
    known = roofline.Rates(**rates)
    return {kind: round(1000 * known.seconds(sizes, lengths, kind), 2) for kind in ("fp32", "int8")}


def measure(threads: int) -> dict[str, float]:
    """Operations a second of float32 and of u8 x s8 products, each the best of its shapes and runs."""
    return asdict(roofline.Ceiling(threads).measure(first=True))


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
