"""Small tasks of mteb's, one of each type that the card has, over texts of the trained checkpoint that it has not seen.

`jinabert-onnx eval mteb --own` runs this file, as it would a user's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskClassification, AbsTaskPairClassification, AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
from mteb.abstasks.text.summarization import AbsTaskSummarization

HELD_OUT = Path(__file__).resolve().parents[1] / "data" / "tiny-de-en" / "heldout.json"
PAIRS: list[dict[str, str]] = json.loads(HELD_OUT.read_text("utf-8"))["pairs"]
SOURCES = ("libreoffice-help", "freedict-examples")


def metadata(name: str, task_type: str, main_score: str, languages: Any = ("eng-Latn", "deu-Latn")) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description="Texts of the test data.",
        dataset={"path": "local/heldout", "revision": "1"},
        reference=None,
        type=task_type,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=languages if isinstance(languages, dict) else list(languages),
        main_score=main_score,
    )


def english(count: int) -> list[str]:
    return [pair["en"] for pair in PAIRS[:count]]


def german(count: int) -> list[str]:
    return [pair["de"] for pair in PAIRS[:count]]


def of_source(count: int, start: int = 0) -> tuple[list[str], list[int]]:
    """`count` English texts of each source, and the number of the source."""
    texts, labels = [], []
    for label, source in enumerate(SOURCES):
        found = [pair["en"] for pair in PAIRS if pair["source"] == source][start : start + count]
        texts += found
        labels += [label] * len(found)
    return texts, labels


class OwnClassification(AbsTaskClassification):
    metadata = metadata("OwnClassification", "Classification", "accuracy")

    def load_data(self, **_: Any) -> None:
        train, test = of_source(24), of_source(24, start=24)
        self.dataset = DatasetDict(
            train=Dataset.from_dict({"text": train[0], "label": train[1]}),
            test=Dataset.from_dict({"text": test[0], "label": test[1]}),
        )
        self.data_loaded = True


class OwnClustering(AbsTaskClusteringLegacy):
    metadata = metadata("OwnClustering", "Clustering", "v_measure")

    def load_data(self, **_: Any) -> None:
        texts, labels = english(16) + german(16), [str(number) for number in (*range(16), *range(16))]
        self.dataset = DatasetDict(test=Dataset.from_dict({"sentences": [texts], "labels": [labels]}))
        self.data_loaded = True


class OwnPairClassification(AbsTaskPairClassification):
    metadata = metadata("OwnPairClassification", "PairClassification", "cosine_ap")

    def load_data(self, **_: Any) -> None:
        first, second = english(24), german(24)
        other = second[1:] + second[:1]
        columns = {"sentence1": first + first, "sentence2": second + other, "labels": [1] * 24 + [0] * 24}
        self.dataset = DatasetDict(test=Dataset.from_dict(columns))
        self.data_loaded = True


class OwnReranking(AbsTaskRetrieval):
    metadata = metadata("OwnReranking", "Reranking", "map_at_1000")

    def load_data(self, **_: Any) -> None:
        ranked = {f"q{i}": [f"d{(i + step) % 16}" for step in range(5)] for i in range(16)}
        self.dataset = {"default": {"test": search_of(16) | {"top_ranked": ranked}}}
        self.data_loaded = True


class OwnRetrieval(AbsTaskRetrieval):
    metadata = metadata("OwnRetrieval", "Retrieval", "ndcg_at_10")

    def load_data(self, **_: Any) -> None:
        self.dataset = {"default": {"test": search_of(32)}}
        self.data_loaded = True


def search_of(count: int) -> dict[str, Any]:
    """English questions for German documents, one right for each; a document has a title, another is empty."""
    documents = [
        {"id": f"d{i}", "title": "Hilfe" if i == 1 else "", "text": text} for i, text in enumerate(german(count))
    ]
    return {
        "queries": Dataset.from_list([{"id": f"q{i}", "text": text} for i, text in enumerate(english(count))]),
        "corpus": Dataset.from_list([*documents, {"id": "empty", "title": "", "text": ""}]),
        "relevant_docs": {f"q{i}": {f"d{i}": 1} for i in range(count)},
        "top_ranked": None,
    }


class OwnSTS(AbsTaskSTS):
    metadata = metadata("OwnSTS", "STS", "cosine_spearman")
    min_score = 0
    max_score = 5

    def load_data(self, **_: Any) -> None:
        first, second = english(24), german(24)
        other = second[1:] + second[:1]
        columns = {"sentence1": first + first, "sentence2": second + other, "score": [5.0] * 24 + [0.0] * 24}
        self.dataset = DatasetDict(test=Dataset.from_dict(columns))
        self.data_loaded = True


class OwnSummarization(AbsTaskSummarization):
    metadata = metadata("OwnSummarization", "Summarization", "cosine_spearman")
    min_score = 0
    max_score = 5

    def load_data(self, **_: Any) -> None:
        first, second = english(12), german(12)
        columns = {
            "text": first,
            "human_summaries": [[text] for text in first],
            "machine_summaries": [[second[i], second[i - 1], second[i - 2], first[i]] for i in range(12)],
            "relevance": [[4.0, 1.0, 0.0, 5.0]] * 12,
        }
        self.dataset = DatasetDict(test=Dataset.from_dict(columns))
        self.data_loaded = True


class OwnBitextMining(AbsTaskBitextMining):
    metadata = metadata(
        "OwnBitextMining",
        "BitextMining",
        "f1",
        {"de-en": ["deu-Latn", "eng-Latn"], "en-de": ["eng-Latn", "deu-Latn"]},
    )

    def load_data(self, **_: Any) -> None:
        forth = {"sentence1": german(32), "sentence2": english(32)}
        back = {"sentence1": english(32), "sentence2": german(32)}
        self.dataset = {
            name: DatasetDict(test=Dataset.from_dict(columns)) for name, columns in (("de-en", forth), ("en-de", back))
        }
        self.data_loaded = True
