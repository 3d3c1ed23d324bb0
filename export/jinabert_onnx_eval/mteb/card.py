"""What the model card of jina-embeddings-v2-base-de states of tasks whose data and protocol mteb 2 still has.

Knows nothing of mteb's code, or of models.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

MODEL = "jinaai/jina-embeddings-v2-base-de"
SPLIT, SUBSET = "test", "default"  # of every result in the list
_FILE = Path(__file__).with_name("card_base_de.json")


@dataclass(frozen=True)
class Published:
    """One result of the card.

    Attributes:
        task: mteb's name; revision: the data set's commit.
        metric: mteb's name of what the card measured; score: points of 0 to 100.
    """

    task: str
    revision: str
    metric: str
    score: float


def read_card() -> tuple[Published, ...]:
    """Return the results, in the card's order."""
    return tuple(Published(**result) for result in json.loads(_FILE.read_text("utf-8"))["results"])
