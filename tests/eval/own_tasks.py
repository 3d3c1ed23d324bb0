"""Small tasks of mteb's, one of each type, over texts that the trained checkpoint has not seen."""

from __future__ import annotations

import json
from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskPairClassification, AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
from mteb.abstasks.text.summarization import AbsTaskSummarization
from support.paths import CHECKPOINT

PAIRS: list[dict[str, str]] = json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))["pairs"]
SOURCES = ("libreoffice-help", "freedict-examples")
TEXT_TYPES = {
    "BitextMining": (AbsTaskBitextMining, "f1"),
    "Classification": (AbsTaskClassification, "accuracy"),
    "Clustering": (AbsTaskClusteringLegacy, "v_measure"),
    "PairClassification": (AbsTaskPairClassification, "cosine_ap"),
    "Reranking": (AbsTaskRetrieval, "map_at_1000"),
    "Retrieval": (AbsTaskRetrieval, "ndcg_at_10"),
    "STS": (AbsTaskSTS, "cosine_spearman"),
    "Summarization": (AbsTaskSummarization, "cosine_spearman"),
}


def metadata(task_type: str) -> TaskMetadata:
    languages = ["deu-Latn", "eng-Latn"]
    return TaskMetadata(
        name=f"Own{task_type}",
        description="Texts of the test data.",
        dataset={"path": "local/heldout", "revision": "1"},
        type=task_type,
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs={"de-en": languages, "en-de": languages} if task_type == "BitextMining" else languages,
        main_score=TEXT_TYPES[task_type][1],
    )


def own_task(task_type: str) -> AbsTask:
    """A task of this type whose data are there."""
    base, _ = TEXT_TYPES[task_type]
    task = type(f"Own{task_type}", (base,), {"metadata": metadata(task_type), "min_score": 0, "max_score": 5})()
    task.dataset = DATA[task_type]()
    task.data_loaded = True
    return task


def english(count: int) -> list[str]:
    return [pair["en"] for pair in PAIRS[:count]]


def german(count: int) -> list[str]:
    return [pair["de"] for pair in PAIRS[:count]]


def one_split(**columns: list[Any]) -> DatasetDict:
    return DatasetDict(test=Dataset.from_dict(columns))


def of_source(count: int, start: int = 0) -> Dataset:
    """`count` English texts of each source, and the number of the source."""
    rows = []
    for label, source in enumerate(SOURCES):
        texts = [pair["en"] for pair in PAIRS if pair["source"] == source][start : start + count]
        rows += [{"text": text, "label": label} for text in texts]
    return Dataset.from_list(rows)


def scored_pairs(column: str, right: float, wrong: float) -> DatasetDict:
    """24 translations of each other, and 24 that are none."""
    first, second = english(24), german(24)
    return one_split(
        sentence1=first + first, sentence2=second + second[1:] + second[:1], **{column: [right] * 24 + [wrong] * 24}
    )


def search_of(count: int, ranked: bool = False) -> dict[str, Any]:
    """English questions for German documents, one right for each; a document has a title, another is empty."""
    documents = [
        {"id": f"d{i}", "title": "Hilfe" if i == 1 else "", "text": text} for i, text in enumerate(german(count))
    ]
    found = {
        "queries": Dataset.from_list([{"id": f"q{i}", "text": text} for i, text in enumerate(english(count))]),
        "corpus": Dataset.from_list([*documents, {"id": "empty", "title": "", "text": ""}]),
        "relevant_docs": {f"q{i}": {f"d{i}": 1} for i in range(count)},
        "top_ranked": {f"q{i}": [f"d{(i + step) % count}" for step in range(5)] for i in range(count)}
        if ranked
        else None,
    }
    return {"default": {"test": found}}


def summaries() -> DatasetDict:
    first, second = english(12), german(12)
    return one_split(
        text=first,
        human_summaries=[[text] for text in first],
        machine_summaries=[[second[i], second[i - 1], second[i - 2], first[i]] for i in range(12)],
        relevance=[[4.0, 1.0, 0.0, 5.0]] * 12,
    )


DATA = {
    "BitextMining": lambda: {
        "de-en": one_split(sentence1=german(32), sentence2=english(32)),
        "en-de": one_split(sentence1=english(32), sentence2=german(32)),
    },
    "Classification": lambda: DatasetDict(train=of_source(24), test=of_source(24, start=24)),
    "Clustering": lambda: one_split(
        sentences=[english(16) + german(16)], labels=[[str(number) for number in (*range(16), *range(16))]]
    ),
    "PairClassification": lambda: scored_pairs("labels", 1, 0),
    "Reranking": lambda: search_of(16, ranked=True),
    "Retrieval": lambda: search_of(32),
    "STS": lambda: scored_pairs("score", 5.0, 0.0),
    "Summarization": summaries,
}
