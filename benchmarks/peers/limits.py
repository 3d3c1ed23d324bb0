"""The ratios to reach, as data: by shape, the most that one peer's time may be of another's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

# numerator, denominator
RATIOS = (
    ("ours-int8", "openvino-int8"),
    ("ours-int8", "plain"),
    ("ours-fp32", "plain"),
    ("ours-int8", "openvino-int8-float32"),
)
LIMITS = {  # of the first three
    "1x16": (1.10, 0.40, 1.00),
    "1x128": (1.00, 0.37, 0.97),
    "8x128": (1.00, 0.37, 0.95),
    "mixed": (0.80, 0.25, 0.70),
    "1x512": (0.95, 0.31, 0.78),
    "1x2048": (0.75, 0.22, 0.44),
    "1x8192": (0.33, 0.12, 0.30),
}


@dataclass(frozen=True)
class Ratio:
    """One measured ratio beside its limit; `limit` is None for shapes that have none."""

    shape: str
    ours: str
    peer: str
    ratio: float
    limit: float | None

    @property
    def met(self) -> bool:
        """Whether the limit is kept, to the two digits that it is given in."""
        return self.limit is None or round(self.ratio, 2) <= self.limit

    def to_json(self) -> dict[str, object]:
        """For the results."""
        return asdict(self) | {"met": self.met}


def ratios(shape: str, milliseconds: Mapping[str, float]) -> list[Ratio]:
    """The ratios of one shape whose two peers were both measured."""
    limits = (*LIMITS.get(shape, (None,) * 3), None)
    return [
        Ratio(shape, ours, peer, round(milliseconds[ours] / milliseconds[peer], 3), limit)
        for (ours, peer), limit in zip(RATIOS, limits, strict=True)
        if ours in milliseconds and peer in milliseconds
    ]
