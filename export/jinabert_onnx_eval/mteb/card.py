"""The results that the model card of jina-embeddings-v2-base-de states, and what mteb calls the same things today.

Knows nothing of mteb's code, of models, or of how scores are judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MODEL = "jinaai/jina-embeddings-v2-base-de"
_FILE = Path(__file__).with_name("card_base_de.json")

# What the card calls by a name that mteb never had, or no longer has, and the subset meant.
_TASKS = {"MIRACL": "MIRACLReranking", "PawsX": "PawsXPairClassification"}
_SUBSETS = {"MIRACL": "de", "PawsX": "de", "XMarket": "de"}


@dataclass(frozen=True)
class Measure:
    """What the rows of one type of task are judged by.

    Attributes:
        card: the card's name of the metric; mteb: that of mteb's results.
        other_protocol: why the two are not the same measurement, or None where they are.
    """

    card: str
    mteb: str
    other_protocol: str | None = None


MEASURES: Mapping[str, Measure] = {
    "BitextMining": Measure("f1", "f1"),
    "Classification": Measure("accuracy", "accuracy"),
    "Clustering": Measure("v_measure", "v_measure"),
    "PairClassification": Measure("cos_sim_ap", "cosine_ap"),
    "Reranking": Measure("map", "map_at_1000", "other protocol (mteb 2 scores reranking as retrieval)"),
    "Retrieval": Measure("ndcg_at_10", "ndcg_at_10"),
    "STS": Measure("cos_sim_spearman", "cosine_spearman"),
    "Summarization": Measure("cos_sim_spearman", "cosine_spearman"),
}


@dataclass(frozen=True)
class CardRow:
    """One result of the card.

    Attributes:
        type: mteb's type of the task; name: what the card calls it, which may end in a language.
        config: the subset, in the card's words; split: of the data set.
        revision: the data set's commit, or None where the card names none.
        metrics: by the card's names, in points of 0 to 100.
    """

    type: str
    name: str
    config: str
    split: str
    revision: str | None
    metrics: Mapping[str, float]

    @property
    def measure(self) -> Measure:
        """Return what this row is judged by."""
        return MEASURES[self.type]

    @property
    def task(self) -> str:
        """Return the name of mteb's task."""
        name = self.name.partition(" (")[0]
        return _TASKS.get(name, name)

    @property
    def subset(self) -> str:
        """Return the name of the subset in mteb."""
        return _SUBSETS.get(self.name, self.config)


def read_card() -> tuple[CardRow, ...]:
    """Return all 88 rows, in the card's order."""
    results = json.loads(_FILE.read_text("utf-8"))["results"]
    return tuple(
        CardRow(row["task"], row["name"], row["config"], row["split"], row["revision"], row["metrics"])
        for row in results
    )


def mteb_metric(row: CardRow, name: str) -> str | None:
    """Return what mteb calls the card's metric `name` of this row; None where it has no such metric."""
    if name == row.measure.card:
        return row.measure.mteb
    if row.type == "Reranking":
        return None
    return name.replace("cos_sim_", "cosine_", 1)
