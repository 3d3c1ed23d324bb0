"""Mixed lengths as callers have them: search queries, passages of documents, whole documents.

A workload is a distribution of lengths in tokens. What is run are its quantiles in a seeded order, which stand for the
distribution with few texts. Knows lengths only.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Workload:
    """Lengths whose logarithm is normal: half of the texts are up to `median` tokens.

    Attributes:
        median, spread: of the lengths, and the standard deviation of their logarithm.
        shortest, longest: to which lengths beyond them are moved.
        texts: how many make one pass; more where a call has more.
    """

    median: int
    spread: float
    shortest: int
    longest: int
    texts: int

    def lengths(self, count: int, generator: np.random.Generator, limit: int) -> list[int]:
        """`count` lengths, none above `limit`: the quantiles of the distribution in random order."""
        normal = NormalDist(float(np.log(self.median)), self.spread)
        quantiles = [float(np.exp(normal.inv_cdf((index + 0.5) / count))) for index in range(count)]
        highest = min(self.longest, limit)
        lengths = np.clip(np.round(quantiles), min(self.shortest, highest), highest).astype(int)
        return [int(length) for length in generator.permutation(lengths)]


WORKLOADS = {
    "queries": Workload(median=12, spread=0.5, shortest=4, longest=64, texts=32),
    "passages": Workload(median=130, spread=0.6, shortest=16, longest=512, texts=16),
    "documents": Workload(median=1000, spread=0.9, shortest=128, longest=8192, texts=4),
}
