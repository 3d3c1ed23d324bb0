"""LangChain's class: its vectors, its own standard tests, tasks, pickling, errors."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RAGGED, require_ends_when_cancelled
from jinabert_onnx import Embedder, InputError, InputTypeError, TruncationError, TruncationWarning
from jinabert_onnx.errors import BundleNotFoundError, StateError
from jinabert_onnx.integrations.langchain import JinaBertEmbeddings
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from support.paths import TRAINED


class OurClass:
    """What LangChain's own tests ask of a class."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return JinaBertEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": TRAINED, "threads": 1}


class TestStandardUnit(OurClass, EmbeddingsUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        # The environment says where nothing else does; what it says shows in the model.
        return {"JINABERT_ONNX_THREADS": "1"}, {"model": TRAINED}, {}


class TestStandard(OurClass, EmbeddingsIntegrationTests):
    pass


def test_documents_are_what_encode_gives(embedder: Embedder):
    vectors = JinaBertEmbeddings(embedder).embed_documents(RAGGED)
    np.testing.assert_array_equal(np.float32(vectors), embedder.encode(RAGGED, normalize_embeddings=True))


def test_queries_are_what_encode_gives(embedder: Embedder):
    for text in RAGGED:
        vector = JinaBertEmbeddings(embedder, normalize_embeddings=False).embed_query(text)
        np.testing.assert_array_equal(np.float32(vector), embedder.encode(text))


async def test_tasks_get_the_same_vectors(embedder: Embedder):
    embeddings = JinaBertEmbeddings(embedder)
    found = await asyncio.gather(embeddings.aembed_documents(RAGGED), *map(embeddings.aembed_query, RAGGED))
    np.testing.assert_allclose(
        np.array(found[1:]), np.array(found[0]), atol=1e-6 if embedder.precision == "fp32" else 1e-3
    )
    np.testing.assert_array_equal(np.array(found[0]), np.array(embeddings.embed_documents(RAGGED)))


async def test_the_event_loop_goes_on(fp32: Embedder):
    work = asyncio.ensure_future(JinaBertEmbeddings(fp32).aembed_documents(["word " * 1000] * 2))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(work.result()) == 2
    assert turns > 10  # work on the loop itself would leave it two or three


async def test_cancelling_a_task_ends_its_work(fp32: Embedder):
    await require_ends_when_cancelled(JinaBertEmbeddings(fp32).aembed_documents(["word " * 8000] * 20))


def test_threads_get_their_own_vectors(fp32: Embedder, pairs: list[tuple[str, str]]):
    embeddings = JinaBertEmbeddings(fp32)
    texts = [german for german, _ in pairs[:40]]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(embeddings.embed_query, texts))
    np.testing.assert_allclose(np.array(found), np.array(embeddings.embed_documents(texts)), atol=1e-6)


def test_a_vector_store_finds_translations(embedder: Embedder, translations: tuple[list[str], list[str]]):
    queries, texts = translations
    store = InMemoryVectorStore(JinaBertEmbeddings(embedder))
    store.add_texts(texts)
    found = [store.similarity_search(query, k=1)[0].page_content for query in queries]
    assert np.mean([right == first for right, first in zip(texts, found, strict=True)]) > 0.9


def test_no_texts_give_no_vectors(fp32: Embedder):
    assert JinaBertEmbeddings(fp32).embed_documents([]) == []


def test_a_cut_is_told():
    embeddings = JinaBertEmbeddings(TRAINED, max_length=16)
    with pytest.warns(TruncationWarning, match="16"):
        embeddings.embed_documents(["short", "word " * 30])
    with pytest.warns(TruncationWarning, match="16"):
        embeddings.embed_query("word " * 30)


def test_a_cut_is_refused_where_that_is_asked_for():
    with pytest.raises(TruncationError):
        JinaBertEmbeddings(TRAINED, max_length=16, truncation="error").embed_documents(["word " * 30])


def test_objects_that_ask_alike_share_a_model():
    first, second = JinaBertEmbeddings(TRAINED, precision="int8"), JinaBertEmbeddings(str(TRAINED), precision="int8")
    assert first.embedder is second.embedder
    assert JinaBertEmbeddings(TRAINED).embedder is not first.embedder


def test_a_model_is_loaded_once_by_many_threads():
    together = threading.Barrier(4)

    def load(index: int) -> JinaBertEmbeddings:
        together.wait()
        return JinaBertEmbeddings(TRAINED, precision="int8", max_length=100)

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(load, range(4)))
    assert len({id(embeddings.embedder) for embeddings in made}) == 1


def test_a_closed_model_is_not_handed_out():
    closed = JinaBertEmbeddings(TRAINED, max_length=200)
    closed.embedder.close()
    with pytest.raises(StateError):
        closed.embed_query("a")
    assert len(JinaBertEmbeddings(TRAINED, max_length=200).embed_query("a")) == 256


@pytest.mark.parametrize("max_length", [None, 300])
def test_a_length_that_was_set_on_one_object_does_not_reach_a_later_one(max_length: int | None):
    first = JinaBertEmbeddings(TRAINED, max_length=max_length)
    asked = first.embedder.max_seq_length
    first.embedder.max_seq_length = 16
    later = JinaBertEmbeddings(TRAINED, max_length=max_length)
    assert later.embedder.max_seq_length == asked
    assert first.embedder.max_seq_length == 16
    assert JinaBertEmbeddings(TRAINED, max_length=max_length).embedder is later.embedder
    assert pickle.loads(pickle.dumps(first)).embed_query("word " * 30) == later.embed_query("word " * 30)


def test_a_bundle_that_was_replaced_is_loaded_anew(other: Path, tmp_path: Path):
    place = shutil.copytree(TRAINED, tmp_path / "bundle")
    before = JinaBertEmbeddings(place)
    assert JinaBertEmbeddings(place).embedder is before.embedder
    place.rename(tmp_path / "old")
    shutil.copytree(other, place)
    after = JinaBertEmbeddings(place)
    assert after.fingerprint == Embedder.load(other).fingerprint != before.fingerprint
    with pytest.raises(InputError, match="another space"):
        pickle.loads(pickle.dumps(before)).embed_query("a")


@pytest.mark.parametrize("shared", [False, True])
def test_another_process_unpickles_it(shared: bool):
    embeddings = (
        JinaBertEmbeddings(Embedder.load(TRAINED, precision="int8"))
        if shared
        else JinaBertEmbeddings(TRAINED, precision="int8", max_length=64)
    )
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(embeddings.embed_documents, RAGGED[:3]).result(timeout=100)
    np.testing.assert_allclose(np.array(found), np.array(embeddings.embed_documents(RAGGED[:3])), atol=1e-6)


def test_a_path_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "bundle").symlink_to(TRAINED)
    monkeypatch.chdir(tmp_path)
    stored = pickle.dumps(JinaBertEmbeddings("bundle", max_length=32))
    monkeypatch.chdir("/")
    assert len(pickle.loads(stored).embed_query("a")) == 256


def test_an_index_of_another_model_is_refused(other: Path, fp32: Embedder):
    fingerprint = str(JinaBertEmbeddings(TRAINED).fingerprint)
    assert JinaBertEmbeddings(TRAINED, precision="int8", fingerprint=fingerprint).fingerprint.precision == "int8"
    for model in (other, Embedder.load(other)):
        with pytest.raises(InputError, match=f"another space .*{fingerprint}"):
            JinaBertEmbeddings(model, fingerprint=fingerprint)
    with pytest.raises(InputError, match="maximum length"):
        JinaBertEmbeddings(TRAINED, max_length=16, fingerprint=fingerprint)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"truncation": "cut"}, "truncation 'cut'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_length": 1}, "max_seq_length"),
        ({"precision": "int4"}, "int4"),
        ({"fingerprint": "3f9c"}, "'3f9c' is no fingerprint"),
    ],
)
def test_settings_are_refused_before_any_text(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        JinaBertEmbeddings(TRAINED, **settings)


@pytest.mark.parametrize(
    "asked", [{"precision": "fp32"}, {"threads": 1}, {"local_files_only": False}, {"max_length": 9}]
)
def test_loading_is_refused_for_what_is_loaded(fp32: Embedder, asked: dict[str, Any]):
    with pytest.raises(InputError, match=f"{next(iter(asked))} is for loading"):
        JinaBertEmbeddings(fp32, **asked)


def test_errors_name_what_is_wrong(fp32: Embedder, tmp_path: Path):
    embeddings: Any = JinaBertEmbeddings(fp32)
    with pytest.raises(InputTypeError, match="text 1 is NoneType"):
        embeddings.embed_documents(["a", None])
    with pytest.raises(InputTypeError, match="text 0 is int"):
        embeddings.embed_query(7)
    with pytest.raises(InputTypeError, match="one str, not a list"):
        embeddings.embed_documents("a text")
    with pytest.raises(InputTypeError, match="model is NoneType"):
        JinaBertEmbeddings(None)  # type: ignore[arg-type]
    with pytest.raises(BundleNotFoundError, match="no such directory"):
        JinaBertEmbeddings(tmp_path / "nothing")
