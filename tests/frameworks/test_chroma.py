"""Chroma's class: vectors, collections on disk that are opened again, models that do not belong to them."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.api import ClientAPI
from conftest import RAGGED
from jinabert_onnx import Embedder, InputError, InputTypeError, TruncationError, TruncationWarning
from jinabert_onnx.integrations.chroma import JinaBertEmbeddingFunction
from support.paths import TRAINED
from support.python import run_python

TEXTS = ["Mein Drucker funktioniert nicht.", "The meeting has been moved to Friday.", "Es regnet heute."]


@pytest.fixture
def client(tmp_path: Path) -> ClientAPI:
    settings = chromadb.Settings(anonymized_telemetry=False)
    return chromadb.PersistentClient(str(tmp_path / "index"), settings=settings)


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """A copy of the bundle that a test may move or replace."""
    return Path(shutil.copytree(TRAINED, tmp_path / "bundle"))


def fill(client: ClientAPI, function: JinaBertEmbeddingFunction, name: str = "notes") -> Any:
    collection = function.collection(client, name)
    collection.add(ids=[str(index) for index in range(len(TEXTS))], documents=TEXTS)
    return collection


def first(collection: Any, query: str) -> str:
    return str(collection.query(query_texts=[query], n_results=1)["documents"][0][0])


def test_vectors_are_what_encode_gives(embedder: Embedder):
    function = JinaBertEmbeddingFunction(embedder)
    expected = embedder.encode(RAGGED, normalize_embeddings=True)
    for vectors in (function(RAGGED), function.embed_query(RAGGED)):
        assert all(vector.dtype == np.float32 for vector in vectors)
        np.testing.assert_array_equal(np.array(vectors), expected)


def test_a_collection_holds_these_vectors(client: ClientAPI, embedder: Embedder):
    found = fill(client, JinaBertEmbeddingFunction(embedder)).get(include=["embeddings"], ids=["0", "1", "2"])
    np.testing.assert_allclose(found["embeddings"], embedder.encode(TEXTS, normalize_embeddings=True), atol=1e-6)


def test_a_collection_finds_translations(
    client: ClientAPI, embedder: Embedder, translations: tuple[list[str], list[str]]
):
    queries, texts = translations
    collection = JinaBertEmbeddingFunction(embedder).collection(client, "pairs")
    collection.add(ids=[str(index) for index in range(len(texts))], documents=texts)
    found = collection.query(query_texts=queries, n_results=1)["documents"]
    assert np.mean([[right] == rows for right, rows in zip(texts, found, strict=True)]) > 0.9


def test_a_collection_compares_by_cosine(client: ClientAPI, fp32: Embedder):
    collection = fill(client, JinaBertEmbeddingFunction(fp32))
    assert collection.configuration["hnsw"]["space"] == "cosine"
    found = collection.query(query_texts=TEXTS[:1], n_results=3)
    assert found["distances"][0][0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("space", ["cosine", "l2", "ip"])
def test_every_space_ranks_alike(client: ClientAPI, fp32: Embedder, space: Any):
    function = JinaBertEmbeddingFunction(fp32)
    assert space in function.supported_spaces()
    collection = client.create_collection(
        "notes", configuration={"hnsw": {"space": space}, "embedding_function": function}
    )
    collection.add(ids=["0", "1", "2"], documents=TEXTS)
    vector = fp32.encode("My printer is broken.", normalize_embeddings=True)
    similarity = fp32.encode(TEXTS, normalize_embeddings=True) @ vector
    found = collection.query(query_texts=["My printer is broken."], n_results=3)["ids"][0]
    assert found == [str(index) for index in np.argsort(-similarity)]


def test_another_process_opens_it_without_naming_the_function(client: ClientAPI, tmp_path: Path):
    fill(client, JinaBertEmbeddingFunction(TRAINED, precision="int8"))
    script = """
import chromadb, json, sys
import jinabert_onnx.integrations.chroma
client = chromadb.PersistentClient(sys.argv[1], settings=chromadb.Settings(anonymized_telemetry=False))
collection = client.get_collection("notes")
found = collection.query(query_texts=["My printer is broken."], n_results=1)["documents"]
print(json.dumps([found, collection.configuration["embedding_function"].embedder.precision]))
"""
    run = run_python("-c", script, tmp_path / "index", cwd=Path("/"))
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [[[TEXTS[0]]], "int8"]


def test_it_is_opened_with_the_same_function(client: ClientAPI):
    fill(client, JinaBertEmbeddingFunction(TRAINED))
    for function in (JinaBertEmbeddingFunction(TRAINED), JinaBertEmbeddingFunction(TRAINED, precision="int8")):
        assert first(function.collection(client, "notes"), "My printer is broken.") == TEXTS[0]
        assert first(client.get_collection("notes", embedding_function=function), "It is raining.") == TEXTS[2]  # type: ignore[arg-type]


def test_looking_at_collections_loads_no_model(client: ClientAPI, moving: Path):
    fill(client, JinaBertEmbeddingFunction(moving))
    shutil.rmtree(moving)
    (collection,) = client.list_collections()
    assert collection.count() == 3
    assert collection.configuration["embedding_function"].get_config()["model"] == str(moving)
    with pytest.raises(ValueError, match="no such directory"):
        client.get_collection("notes").query(query_texts=["a"])


def test_a_bundle_that_has_moved(client: ClientAPI, moving: Path, tmp_path: Path):
    fill(client, JinaBertEmbeddingFunction(moving))
    moved = moving.rename(tmp_path / "elsewhere")
    collection = JinaBertEmbeddingFunction(moved).collection(client, "notes")
    assert first(collection, "My printer is broken.") == TEXTS[0]


def test_another_model_at_the_same_place_is_refused(client: ClientAPI, moving: Path, other: Path):
    function = JinaBertEmbeddingFunction(moving)
    fill(client, function)
    function.embedder.close()
    shutil.rmtree(moving)
    shutil.copytree(other, moving)
    collection = client.get_collection("notes")
    with pytest.raises(InputError, match="another space"):
        collection.query(query_texts=["a"])
    with pytest.raises(InputError, match="another space"):
        collection.add(ids=["9"], documents=["a"])
    assert collection.count() == 3


def test_another_model_is_refused_for_a_collection(client: ClientAPI, other: Path):
    fill(client, JinaBertEmbeddingFunction(TRAINED))
    with pytest.raises(InputError, match="another space"):
        JinaBertEmbeddingFunction(other).collection(client, "notes")
    with pytest.raises(InputError, match="maximum length"):
        JinaBertEmbeddingFunction(TRAINED, max_length=99).collection(client, "notes")
    with pytest.raises(InputError, match="normalize_embeddings=True"):
        JinaBertEmbeddingFunction(TRAINED, normalize_embeddings=False).collection(client, "notes")
    assert first(client.get_collection("notes"), "My printer is broken.") == TEXTS[0]


ALIKE = ({"head", "warn", "error"}, {"tail"}, {"mean"})
TRUNCATIONS = ["head", "warn", "error", "tail", "mean"]


@pytest.mark.parametrize("filled", TRUNCATIONS)
def test_another_reading_of_long_texts_is_refused(client: ClientAPI, fp32: Embedder, filled: str):
    fill(client, JinaBertEmbeddingFunction(fp32, truncation=filled))
    (alike,) = [group for group in ALIKE if filled in group]
    for truncation in TRUNCATIONS:
        function = JinaBertEmbeddingFunction(fp32, truncation=truncation)
        if truncation in alike:
            assert function.collection(client, "notes").count() == 3
        else:
            with pytest.raises(InputError, match=f"truncation='{filled}', and '{truncation}' reads another part"):
                function.collection(client, "notes")


def test_readings_that_are_taken_for_alike_make_the_same_vectors():
    long = ["printer " + "word " * 30 + "Friday"]
    made = {name: JinaBertEmbeddingFunction(TRAINED, max_length=16, truncation=name) for name in TRUNCATIONS}
    with pytest.warns(TruncationWarning):
        warned = made["warn"](long)
    np.testing.assert_array_equal(warned, made["head"](long))
    with pytest.raises(TruncationError):
        made["error"](long)
    for name in ("tail", "mean"):
        assert np.abs(np.array(warned) - made[name](long)).max() > 0.001


def test_a_collection_of_unknown_vectors_is_refused(client: ClientAPI, fp32: Embedder):
    client.create_collection("notes", embedding_function=None)
    with pytest.raises(InputError, match="does not record"):
        JinaBertEmbeddingFunction(fp32).collection(client, "notes")


def test_a_configuration_may_change_where_vectors_do_not(other: Path):
    function = JinaBertEmbeddingFunction(TRAINED)
    before = function.get_config()
    function.validate_config_update(
        before, JinaBertEmbeddingFunction(TRAINED, precision="int8", threads=1).get_config()
    )
    with pytest.raises(InputError, match="another space"):
        function.validate_config_update(before, JinaBertEmbeddingFunction(other).get_config())


def test_a_configuration_makes_the_same_function_and_shares_its_model():
    function = JinaBertEmbeddingFunction(TRAINED, precision="int8", max_length=40, truncation="mean", batch_size=3)
    config = json.loads(json.dumps(function.get_config()))
    again = JinaBertEmbeddingFunction.build_from_config(config)
    assert again.get_config() == config
    assert again.embedder is function.embedder
    assert pickle.loads(pickle.dumps(function)).get_config() == config
    assert not function.is_legacy()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"colour": "red"}, "'colour'"), ({"fingerprint": "3f9c"}, "no fingerprint"), ({"model": None}, "'model'")],
)
def test_a_foreign_configuration_is_refused(fp32: Embedder, change: dict[str, Any], message: str):
    config = {**JinaBertEmbeddingFunction(fp32).get_config(), **change}
    config = {name: value for name, value in config.items() if name != "model" or value is not None}
    with pytest.raises(InputError, match=message):
        JinaBertEmbeddingFunction.build_from_config(config)
    with pytest.raises(InputTypeError, match="list, not a dictionary"):
        JinaBertEmbeddingFunction.validate_config([])  # type: ignore[arg-type]


def test_cuts_empty_lists_and_what_is_not_text():
    function: Any = JinaBertEmbeddingFunction(TRAINED, max_length=16)
    with pytest.warns(TruncationWarning):
        function(["word " * 30])
    with pytest.raises(ValueError, match="non-empty"):  # Chroma's own
        function([])
    assert function.embed_query([]) == []
    with pytest.raises(InputTypeError, match="text 1 is NoneType"):
        function(["a", None])
    with pytest.raises(InputTypeError, match="one str"):
        function("a text")
