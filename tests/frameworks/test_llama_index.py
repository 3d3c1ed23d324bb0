"""LlamaIndex's classes: vectors, an index asked in both languages, late chunking, what is stored and read again."""

from __future__ import annotations

import asyncio
import functools
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RAGGED
from jinabert_onnx import Embedder, InputError, InputTypeError, TruncationWarning
from jinabert_onnx.integrations.llama_index import JinaBertEmbedding, LateChunkingNodeParser
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import BaseNode, NodeRelationship, TextNode
from support.paths import TRAINED

TWO_SUBJECTS = (
    "Der Drucker steht im Flur. Er ist seit gestern kaputt. The meeting has been moved to Friday. It begins at nine."
)


def index_of(texts: list[str], embedding: JinaBertEmbedding) -> VectorStoreIndex:
    return VectorStoreIndex.from_documents([Document(text=text) for text in texts], embed_model=embedding)


def stored_vectors(index: VectorStoreIndex, nodes: list[BaseNode]) -> np.ndarray:
    """What the index will search, in the order of the nodes."""
    return np.array([index.vector_store.get(node.node_id) for node in nodes])


def test_texts_and_queries_are_what_encode_gives(embedder: Embedder):
    embedding = JinaBertEmbedding(embedder)
    expected = embedder.encode(RAGGED, normalize_embeddings=True)
    np.testing.assert_array_equal(np.float32(embedding.get_text_embedding_batch(RAGGED)), expected)
    alone = [embedder.encode(text, normalize_embeddings=True) for text in RAGGED]
    np.testing.assert_array_equal(np.float32([embedding.get_query_embedding(text) for text in RAGGED]), alone)
    np.testing.assert_array_equal(np.float32([embedding.get_text_embedding(text) for text in RAGGED]), alone)


async def test_tasks_get_the_same_vectors(embedder: Embedder):
    embedding = JinaBertEmbedding(embedder, embed_batch_size=2)
    batch, query, text = await asyncio.gather(
        embedding.aget_text_embedding_batch(RAGGED),
        embedding.aget_query_embedding(RAGGED[2]),
        embedding.aget_text_embedding(RAGGED[2]),
    )
    np.testing.assert_array_equal(np.array(batch), np.array(embedding.get_text_embedding_batch(RAGGED)))
    assert query == text == embedding.get_query_embedding(RAGGED[2])


def test_no_texts_give_no_vectors(fp32: Embedder):
    assert JinaBertEmbedding(fp32).get_text_embedding_batch([]) == []


async def test_an_index_finds_translations(embedder: Embedder, translations: tuple[list[str], list[str]]):
    queries, texts = translations
    retriever = index_of(texts, JinaBertEmbedding(embedder)).as_retriever(similarity_top_k=1)
    found = [retriever.retrieve(query)[0].text for query in queries]
    assert np.mean([right == first for right, first in zip(texts, found, strict=True)]) > 0.9
    by_tasks = await asyncio.gather(*map(retriever.aretrieve, queries[:20]))
    assert [nodes[0].text for nodes in by_tasks] == found[:20]


def test_an_index_is_stored_and_read_again(tmp_path: Path):
    embedding = JinaBertEmbedding(TRAINED)
    index_of(["Mein Drucker funktioniert nicht.", "Es regnet heute."], embedding).storage_context.persist(tmp_path)
    (tmp_path / "model.json").write_text(embedding.to_json(), "utf-8")

    again = JinaBertEmbedding.from_json((tmp_path / "model.json").read_text("utf-8"))
    storage = StorageContext.from_defaults(persist_dir=str(tmp_path))
    retriever = load_index_from_storage(storage, embed_model=again).as_retriever(similarity_top_k=1)
    assert retriever.retrieve("My printer does not work.")[0].text == "Mein Drucker funktioniert nicht."


def test_dictionary_and_pickle_give_the_same_settings_and_share_the_model():
    embedding = JinaBertEmbedding(TRAINED, precision="int8", max_length=40, truncation="mean", embed_batch_size=7)
    for again in (
        JinaBertEmbedding.from_dict(json.loads(embedding.to_json())),
        pickle.loads(pickle.dumps(embedding)),
        embedding.model_copy(deep=True),
    ):
        assert again.to_dict() == embedding.to_dict()
        assert again.embedder is embedding.embedder


def test_stored_over_another_model_it_is_refused(other: Path, tmp_path: Path):
    shutil.copytree(TRAINED, tmp_path / "bundle")
    embedding = JinaBertEmbedding(tmp_path / "bundle")
    stored, pickled = embedding.to_dict(), pickle.dumps(embedding)
    embedding.embedder.close()
    shutil.rmtree(tmp_path / "bundle")
    shutil.copytree(other, tmp_path / "bundle")
    with pytest.raises(InputError, match="another space"):
        JinaBertEmbedding.from_dict(stored)
    with pytest.raises(InputError, match="another space"):
        pickle.loads(pickled).get_query_embedding("a")


def test_a_shared_embedder_is_pickled_by_its_place(embedder: Embedder):
    again = pickle.loads(pickle.dumps(JinaBertEmbedding(embedder)))
    assert again.embedder is not embedder
    assert again.embedder.fingerprint == embedder.fingerprint


def test_what_makes_the_vectors_cannot_be_set_afterwards(fp32: Embedder):
    with pytest.raises(ValueError, match="frozen"):
        JinaBertEmbedding(fp32).truncation = "head"


def test_cuts_and_what_is_not_text():
    embedding: Any = JinaBertEmbedding(TRAINED, max_length=16)
    with pytest.warns(TruncationWarning):
        embedding.get_text_embedding("word " * 30)
    with pytest.raises(InputTypeError, match="text 1 is NoneType"):
        embedding.get_text_embedding_batch(["a", None])


def test_late_chunks_are_what_encode_chunks_gives(embedder: Embedder, long_texts: list[str]):
    parser = LateChunkingNodeParser(embed_model=JinaBertEmbedding(embedder), chunk_size=64)
    nodes = parser.get_nodes_from_documents([Document(text=text) for text in long_texts])
    for text in long_texts:
        own = [
            node for node in nodes if node.source_node and text[node.start_char_idx : node.end_char_idx] == node.text
        ]
        spans = [(node.start_char_idx, node.end_char_idx) for node in own]
        assert len(spans) > 10
        expected = embedder.encode_chunks(text, spans, normalize_embeddings=True).vectors
        np.testing.assert_array_equal(np.float32([node.embedding for node in own]), expected)
    assert len(nodes) == sum(1 for node in nodes if any(node.text in text for text in long_texts))


def test_an_index_takes_late_chunks_as_they_are(fp32: Embedder, long_texts: list[str]):
    embedding = JinaBertEmbedding(fp32)
    nodes = LateChunkingNodeParser(embed_model=embedding).get_nodes_from_documents([Document(text=long_texts[0])])
    vectors = stored_vectors(VectorStoreIndex(nodes, embed_model=embedding), nodes)
    np.testing.assert_array_equal(vectors, np.array([node.embedding for node in nodes]))
    alone = np.array(embedding.get_text_embedding_batch([node.text for node in nodes]))
    assert np.abs(vectors - alone).max() > 0.01  # a chunk by itself does not know its document


def test_an_index_makes_late_chunks_of_documents(fp32: Embedder):
    embedding = JinaBertEmbedding(fp32)
    parser = LateChunkingNodeParser(embed_model=embedding, chunk_size=16)
    index = VectorStoreIndex.from_documents(
        [Document(text=TWO_SUBJECTS)], transformations=[parser], embed_model=embedding
    )
    retriever = index.as_retriever(similarity_top_k=1)
    assert retriever.retrieve("Wann beginnt die Besprechung?")[0].text.startswith("The meeting")
    assert retriever.retrieve("Is the printer broken?")[0].text.startswith("Der Drucker")


async def test_late_chunks_in_tasks_and_pipelines(fp32: Embedder):
    parser = LateChunkingNodeParser(embed_model=JinaBertEmbedding(fp32), chunk_size=16)
    documents = [Document(text=TWO_SUBJECTS, id_=str(number)) for number in range(3)]
    expected = [(node.text, node.embedding) for node in parser.get_nodes_from_documents(documents)]
    pipeline = IngestionPipeline(transformations=[parser], disable_cache=True)
    for nodes in (await parser.aget_nodes_from_documents(documents), pipeline.run(documents=documents)):
        assert [(node.text, node.embedding) for node in nodes] == expected


@pytest.mark.parametrize("chunk_size", [1, 16, 64, 10_000])
def test_chunks_are_whole_sentences_of_so_many_tokens(fp32: Embedder, long_texts: list[str], chunk_size: int):
    embedding, text = JinaBertEmbedding(fp32), long_texts[1]
    parser = LateChunkingNodeParser(embed_model=embedding, chunk_size=chunk_size)
    nodes = parser.get_nodes_from_documents([Document(text=text)])
    sentences = fp32.encode_chunks(text).spans
    starts, ends = {start for start, _ in sentences}, {end for _, end in sentences}
    for node, tokens in zip(nodes, fp32.count_tokens([node.text for node in nodes]), strict=True):
        assert node.start_char_idx in starts
        assert node.end_char_idx in ends
        assert tokens - 2 <= chunk_size or (node.start_char_idx, node.end_char_idx) in sentences
    assert "".join("".join(node.text for node in nodes).split()) == "".join(text.split())
    assert (len(nodes) == 1) == (chunk_size == 10_000)


def test_repeated_sentences_keep_their_places(fp32: Embedder):
    text = "Es regnet. " * 4
    nodes = LateChunkingNodeParser(embed_model=JinaBertEmbedding(fp32), chunk_size=1).get_nodes_from_documents(
        [Document(text=text)]
    )
    assert [node.start_char_idx for node in nodes] == [0, 11, 22, 33]


def last_word_first(text: str) -> list[tuple[int, int]]:
    return [(text.rindex(" ") + 1, len(text)), (0, text.index(" "))]


def first_word(text: str) -> list[tuple[int, int]]:
    return [(0, text.index(" "))]


def test_a_splitter_of_ones_own(fp32: Embedder):
    parser = LateChunkingNodeParser(embed_model=JinaBertEmbedding(fp32), splitter=last_word_first)
    nodes = parser.get_nodes_from_documents([Document(text="eins zwei eins")])
    assert [(node.text, node.start_char_idx, node.end_char_idx) for node in nodes] == [("eins", 10, 14), ("eins", 0, 4)]
    with pytest.raises(InputError, match="span 1"):
        LateChunkingNodeParser(
            embed_model=JinaBertEmbedding(fp32), splitter=lambda text: [(0, 4), (4, 5)]
        ).get_nodes_from_documents([Document(text="eins zwei")])


def test_nodes_know_their_document_and_neighbours(fp32: Embedder):
    document = Document(text=TWO_SUBJECTS, metadata={"file": "a.txt"}, excluded_embed_metadata_keys=["file"])
    parser = LateChunkingNodeParser(embed_model=JinaBertEmbedding(fp32), chunk_size=16)
    first, second = parser.get_nodes_from_documents([document])
    assert isinstance(first, TextNode)
    assert first.ref_doc_id == second.ref_doc_id == document.doc_id
    assert first.metadata == {"file": "a.txt"}
    assert first.excluded_embed_metadata_keys == ["file"]
    assert first.relationships[NodeRelationship.NEXT].node_id == second.node_id  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", " \n\n "])
def test_a_document_without_text_has_no_nodes(fp32: Embedder, text: str):
    parser = LateChunkingNodeParser(embed_model=JinaBertEmbedding(fp32))
    nodes = parser.get_nodes_from_documents([Document(text=text), Document(text="Es regnet.")])
    assert [node.text for node in nodes] == ["Es regnet."]


def test_a_cache_of_pipelines_keeps_models_and_settings_apart(other: Path):
    node = TextNode(text="a")
    parsers = [
        LateChunkingNodeParser(embed_model=JinaBertEmbedding(TRAINED)),
        LateChunkingNodeParser(embed_model=JinaBertEmbedding(other)),
        LateChunkingNodeParser(embed_model=JinaBertEmbedding(TRAINED), chunk_size=9),
        LateChunkingNodeParser(embed_model=JinaBertEmbedding(TRAINED), splitter=last_word_first),
        LateChunkingNodeParser(embed_model=JinaBertEmbedding(TRAINED), splitter=first_word),
        LateChunkingNodeParser(embed_model=JinaBertEmbedding(TRAINED, max_length=99)),
    ]
    assert len({get_transformation_hash([node], parser) for parser in parsers}) == len(parsers)
    assert get_transformation_hash([node], pickle.loads(pickle.dumps(parsers[3]))) == get_transformation_hash(
        [node], parsers[3]
    )


class Cutter:
    """Ways to split a text after as many characters as `end` says at the moment."""

    end = 4

    def __call__(self, text: str) -> list[tuple[int, int]]:
        return [(0, self.end)]

    def cut(self, text: str) -> list[tuple[int, int]]:
        return self(text)

    def as_nested_function(self) -> Callable[[str], list[tuple[int, int]]]:
        def nested(text: str) -> list[tuple[int, int]]:
            return self(text)

        return nested

    def as_function_of_a_script(self) -> Any:
        names = {"__name__": "__main__", "cutter": self}
        exec("def splitter(text): return cutter(text)", names)
        return names["splitter"]


@pytest.mark.parametrize(
    "made",
    [
        lambda cutter: cutter,
        lambda cutter: cutter.cut,
        functools.partial,
        lambda cutter: lambda text: cutter(text),
        Cutter.as_nested_function,
        Cutter.as_function_of_a_script,
    ],
    ids=["object", "method", "partial", "lambda", "nested", "script"],
)
def test_splitters_without_a_lasting_name_are_never_taken_from_the_cache(fp32: Embedder, made: Any):
    cutter = Cutter()
    parser = LateChunkingNodeParser(embed_model=JinaBertEmbedding(fp32), splitter=made(cutter))
    pipeline = IngestionPipeline(transformations=[parser], cache=IngestionCache())
    for cutter.end in (4, 5):
        (node,) = pipeline.run(documents=[Document(text="eins zwei", id_="1")])
        assert node.end_char_idx == cutter.end  # type: ignore[attr-defined]
