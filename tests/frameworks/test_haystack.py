"""Haystack's components: vectors and order, alone and in pipelines that are stored as YAML, copies, errors."""

from __future__ import annotations

import asyncio
import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import NO_RERANKERS, RAGGED, require_ends_when_cancelled
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.core.errors import DeserializationError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from jinabert_onnx import CrossEncoder, Embedder, InputError, InputTypeError, TruncationWarning
from jinabert_onnx.errors import BundleError, BundleNotFoundError, JinaBertError
from jinabert_onnx.integrations.haystack import JinaBertDocumentEmbedder, JinaBertRanker, JinaBertTextEmbedder
from support.paths import TRAINED, TRAINED_RERANKER

QUERY = "When is the meeting?"
TRUSTED = ["jinabert_onnx"]


def as_documents(texts: list[str], **meta: Any) -> list[Document]:
    return [Document(content=text, id=str(index), meta=meta) for index, text in enumerate(texts)]


def order_of(result: dict[str, list[Document]]) -> list[tuple[int, float | None]]:
    return [(int(document.id), document.score) for document in result["documents"]]


def vectors_of(result: dict[str, list[Document]]) -> np.ndarray:
    return np.float32([document.embedding for document in result["documents"]])


def test_documents_get_what_encode_gives(embedder: Embedder):
    documents = as_documents(RAGGED)
    result = JinaBertDocumentEmbedder(embedder).run(documents)
    np.testing.assert_array_equal(vectors_of(result), embedder.encode(RAGGED, normalize_embeddings=True))
    assert [document.content for document in result["documents"]] == RAGGED
    assert documents == as_documents(RAGGED)


def test_queries_are_what_encode_gives(embedder: Embedder):
    for text in RAGGED:
        vector = JinaBertTextEmbedder(embedder, normalize_embeddings=False).run(text)["embedding"]
        np.testing.assert_array_equal(np.float32(vector), embedder.encode(text))


@pytest.mark.parametrize("top_k", [1, 3, 100, None])
def test_order_and_scores_are_what_rank_gives(cross_encoder: CrossEncoder, top_k: int | None):
    documents = as_documents(RAGGED)
    expected = [(ranked.index, ranked.score) for ranked in cross_encoder.rank(QUERY, RAGGED, top_n=top_k)]
    assert order_of(JinaBertRanker(cross_encoder, top_k=top_k).run(QUERY, documents)) == expected
    assert documents == as_documents(RAGGED)
    if top_k is not None:
        assert order_of(JinaBertRanker(cross_encoder).run(QUERY, documents, top_k=top_k)) == expected


def test_long_documents_are_ranked_in_windows(cross_encoder: CrossEncoder):
    expected = cross_encoder.rank(QUERY, RAGGED, max_length=48, max_query_length=24)
    found = JinaBertRanker(cross_encoder, max_length=48, max_query_length=24).run(QUERY, as_documents(RAGGED))
    assert order_of(found) == [(ranked.index, ranked.score) for ranked in expected]


def test_a_threshold_leaves_out_what_scores_lower(reranker: CrossEncoder):
    ranked = reranker.rank(QUERY, RAGGED)
    threshold, expected = ranked[2].score, [(found.index, found.score) for found in ranked[:3]]
    assert order_of(JinaBertRanker(reranker, score_threshold=threshold).run(QUERY, as_documents(RAGGED))) == expected
    ranker = JinaBertRanker(reranker, score_threshold=2)
    assert order_of(ranker.run(QUERY, as_documents(RAGGED))) == []
    assert order_of(ranker.run(QUERY, as_documents(RAGGED), score_threshold=threshold)) == expected


def test_metadata_that_are_asked_for_are_read(fp32: Embedder, reranker: CrossEncoder):
    documents = [Document(content="Text.", meta={"title": "Titel", "year": 1999, "none": None}), Document()]
    asked: dict[str, Any] = {"meta_fields_to_embed": ["year", "none", "other", "title"], "embedding_separator": " | "}
    texts = ["1999 | Titel | Text.", ""]
    vectors = vectors_of(JinaBertDocumentEmbedder(fp32, **asked).run(documents))
    np.testing.assert_array_equal(vectors, fp32.encode(texts, normalize_embeddings=True))
    found = JinaBertRanker(reranker, **asked).run(QUERY, documents)["documents"]
    assert [document.score for document in found] == [ranked.score for ranked in reranker.rank(QUERY, texts)]


def test_no_documents_give_none(fp32: Embedder, reranker: CrossEncoder):
    assert JinaBertDocumentEmbedder(fp32).run([]) == {"documents": []}
    assert JinaBertRanker(reranker).run(QUERY, []) == {"documents": []}


async def test_tasks_get_the_same_results(fp32: Embedder, reranker: CrossEncoder):
    text, documents, ranker = JinaBertTextEmbedder(fp32), JinaBertDocumentEmbedder(fp32), JinaBertRanker(reranker)
    found = await asyncio.gather(
        text.run_async(QUERY), documents.run_async(as_documents(RAGGED)), ranker.run_async(QUERY, as_documents(RAGGED))
    )
    assert found == [
        text.run(QUERY),
        documents.run(as_documents(RAGGED)),
        ranker.run(QUERY, as_documents(RAGGED)),
    ]


async def test_cancelling_a_task_ends_ranking(reranker: CrossEncoder):
    documents = as_documents(["word " * 50_000] * 20)
    await require_ends_when_cancelled(JinaBertRanker(reranker).run_async(QUERY, documents))


async def test_cancelling_a_task_ends_embedding(fp32: Embedder):
    documents = as_documents(["word " * 8000] * 20)
    await require_ends_when_cancelled(JinaBertDocumentEmbedder(fp32).run_async(documents))


def indexing(store: InMemoryDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", JinaBertDocumentEmbedder(TRAINED, precision="int8", progress_bar=False))
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("embedder", "writer")
    return pipeline


def searching(store: InMemoryDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", JinaBertTextEmbedder(TRAINED, precision="int8"))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=5))
    pipeline.add_component("ranker", JinaBertRanker(TRAINED_RERANKER, top_k=2))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "ranker.documents")
    return pipeline


def asked(query: str) -> dict[str, Any]:
    return {"embedder": {"text": query}, "ranker": {"query": query}}


def test_stored_pipelines_index_search_and_rerank(reranker: CrossEncoder, pairs: list[tuple[str, str]], tmp_path: Path):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    for name, pipeline in (("indexing", indexing(store)), ("searching", searching(store))):
        (tmp_path / name).write_text(pipeline.dumps(), "utf-8")
    index, search = (
        Pipeline.loads((tmp_path / name).read_text("utf-8"), allowed_modules=TRUSTED)
        for name in ("indexing", "searching")
    )
    german = [text for text, _ in pairs[:60]]
    assert index.run({"embedder": {"documents": as_documents(german)}}) == {"writer": {"documents_written": 60}}
    before = InMemoryEmbeddingRetriever(store, top_k=5)
    embed = JinaBertTextEmbedder(TRAINED, precision="int8")
    for _, english in pairs[:10]:
        candidates = [document.content or "" for document in before.run(**query_of(embed, english))["documents"]]
        expected = [(candidates[ranked.index], ranked.score) for ranked in reranker.rank(english, candidates, top_n=2)]
        for pipeline in (search, searching(store)):
            found = pipeline.run(asked(english))["ranker"]["documents"]
            assert [(document.content, document.score) for document in found] == expected


def query_of(embed: JinaBertTextEmbedder, text: str) -> dict[str, list[float]]:
    return {"query_embedding": embed.run(text)["embedding"]}


async def test_a_pipeline_runs_in_tasks(pairs: list[tuple[str, str]]):
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    await indexing(store).run_async({"embedder": {"documents": as_documents([german for german, _ in pairs[:30]])}})
    pipeline, queries = searching(store), [english for _, english in pairs[:5]]
    found = await asyncio.gather(*(pipeline.run_async(asked(query)) for query in queries))
    assert found == [pipeline.run(asked(query)) for query in queries]


def test_haystack_asks_whether_a_stored_pipeline_may_load_the_module():
    with pytest.raises(DeserializationError, match=r"allowed_modules=\['jinabert_onnx.integrations.haystack'\]"):
        Pipeline.loads(searching(InMemoryDocumentStore()).dumps())


COMPONENTS = [
    JinaBertTextEmbedder(TRAINED, precision="int8", max_length=40, truncation="mean"),
    JinaBertDocumentEmbedder(TRAINED, batch_size=7, meta_fields_to_embed=["title"], embedding_separator=" "),
    JinaBertRanker(TRAINED_RERANKER, top_k=None, score_threshold=0.1, max_length=100, max_query_length=50),
]


@pytest.mark.parametrize("part", COMPONENTS, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("warm", [False, True])
def test_dictionaries_and_copies_give_the_same_settings_and_share_the_model(part: Any, warm: bool):
    if warm:
        part.warm_up()
    for again in (type(part).from_dict(part.to_dict()), copy.deepcopy(part), pickle.loads(pickle.dumps(part))):
        assert again.to_dict() == part.to_dict()
        assert again._loaded().model is part._loaded().model


def test_a_model_is_stored_by_the_name_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "bundle").symlink_to(TRAINED)
    monkeypatch.chdir(tmp_path)
    embed = JinaBertTextEmbedder("bundle")
    assert embed.to_dict()["init_parameters"]["model"] == "bundle"
    assert JinaBertTextEmbedder(Path("bundle")).to_dict()["init_parameters"]["model"] == str(tmp_path / "bundle")
    monkeypatch.chdir("/")
    assert len(embed.run("a")["embedding"]) == 256


def test_loaded_models_are_shared_and_stored_by_their_places(embedder: Embedder, cross_encoder: CrossEncoder):
    embed, ranker = JinaBertDocumentEmbedder(embedder), JinaBertRanker(cross_encoder)
    assert embed.embedder is embedder
    assert ranker.cross_encoder is cross_encoder
    again = JinaBertDocumentEmbedder.from_dict(embed.to_dict())
    assert again.embedder is not embedder
    assert again.fingerprint == embedder.fingerprint
    ranked = JinaBertRanker.from_dict(ranker.to_dict()).run(QUERY, as_documents(RAGGED))
    assert ranked == ranker.run(QUERY, as_documents(RAGGED))


async def test_a_model_is_loaded_by_warming_up(tmp_path: Path):
    (tmp_path / "bundle").symlink_to(TRAINED)
    missing = JinaBertTextEmbedder(tmp_path / "nothing")
    with pytest.raises(BundleNotFoundError, match="no such directory"):
        missing.warm_up()
    with pytest.raises(BundleNotFoundError):
        await missing.warm_up_async()
    with pytest.raises(BundleNotFoundError):
        missing.run("a")
    embed = JinaBertTextEmbedder(tmp_path / "bundle")
    await embed.warm_up_async()
    (tmp_path / "bundle").unlink()
    assert len(embed.run("a")["embedding"]) == 256


@pytest.mark.parametrize(("bundle", "message"), NO_RERANKERS)
def test_a_model_that_is_no_reranker_is_refused_by_warming_up(bundle: Path, message: str):
    with pytest.raises(JinaBertError, match=message):
        JinaBertRanker(bundle).warm_up()


def test_a_reranker_makes_no_vectors():
    with pytest.raises(BundleError, match="a cross-encoder, which scores pairs of texts and gives no vectors"):
        JinaBertTextEmbedder(TRAINED_RERANKER).warm_up()


def test_an_index_of_another_model_is_refused(other: Path):
    fingerprint = str(JinaBertDocumentEmbedder(TRAINED).fingerprint)
    JinaBertTextEmbedder(TRAINED, precision="int8", fingerprint=fingerprint).warm_up()
    with pytest.raises(InputError, match="another space"):
        JinaBertTextEmbedder(other, fingerprint=fingerprint).warm_up()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda: JinaBertDocumentEmbedder(TRAINED, batch_size=0), "batch_size is 0"),
        (lambda: JinaBertTextEmbedder(TRAINED, truncation="cut"), "truncation 'cut'"),
        (lambda: JinaBertTextEmbedder(TRAINED, precision="int4"), "int4"),
        (lambda: JinaBertRanker(TRAINED_RERANKER, top_k=0), "top_k is 0"),
        (lambda: JinaBertRanker(TRAINED_RERANKER, max_length=512), "less than twice max_query_length"),
    ],
)
def test_settings_are_refused_before_any_text(part: Any, message: str):
    with pytest.raises(InputError, match=message):
        part().warm_up()


def test_wrong_types_are_named(fp32: Embedder, reranker: CrossEncoder):
    wrong: Any = None
    with pytest.raises(InputTypeError, match="model is NoneType"):
        JinaBertRanker(wrong)
    with pytest.raises(InputTypeError, match="unexpected keyword argument 'prefix'"):
        JinaBertTextEmbedder(fp32, prefix="query: ")  # type: ignore[call-arg]
    with pytest.raises(InputTypeError, match="text is list, not str; documents are for JinaBertDocumentEmbedder"):
        JinaBertTextEmbedder(fp32).run(as_documents(RAGGED))  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="documents is str, not a list of Documents"):
        JinaBertDocumentEmbedder(fp32).run("a text")  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="document 1 is str, not a Document"):
        JinaBertRanker(reranker).run(QUERY, [Document(content="a"), "b"])  # type: ignore[list-item]
    with pytest.raises(InputTypeError, match="query is NoneType"):
        JinaBertRanker(reranker).run(wrong, as_documents(RAGGED))
    with pytest.raises(InputError, match="top_k is 0"):
        JinaBertRanker(reranker).run(QUERY, as_documents(RAGGED), top_k=0)


def test_a_cut_is_told():
    with pytest.warns(TruncationWarning, match="16"):
        JinaBertDocumentEmbedder(TRAINED, max_length=16).run(as_documents(["word " * 30]))


def test_a_progress_bar_shows_where_it_is_asked_for(fp32: Embedder, capsys: pytest.CaptureFixture[str]):
    JinaBertDocumentEmbedder(fp32, progress_bar=True).run(as_documents(RAGGED))
    assert "texts" in capsys.readouterr().err
    JinaBertDocumentEmbedder(fp32).run(as_documents(RAGGED))
    assert capsys.readouterr().err == ""
