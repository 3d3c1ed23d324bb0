"""The fields of Jina's API by plain HTTP: equal to what `Embedder` gives for the same arguments."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from jinabert_onnx import Embedder

TEXTS = ["Wo ist der nächste Bahnhof?", "My printer does not work.", "Er ist gleich um die Ecke."]


def embed(server: str, **fields: object) -> list:
    """What stands under `embedding` of each text."""
    request = urllib.request.Request(
        f"{server}/v1/embeddings",
        json.dumps(fields).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.headers["content-type"] == "application/json"
        content = json.load(response)
    assert [item["index"] for item in content["data"]] == list(range(len(content["data"])))
    return [item["embedding"] for item in content["data"]]


def require_close(found: object, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-6)


def test_the_model_may_be_left_out(server: str, embedder: Embedder):
    require_close(embed(server, input=TEXTS), embedder.encode(TEXTS, normalize_embeddings=True))


def test_numbers(server: str, embedder: Embedder):
    found = embed(server, model="bundle", input=TEXTS, embedding_type="float", task="retrieval.query")
    require_close(found, embedder.encode(TEXTS, normalize_embeddings=True))


def test_texts_may_be_objects(server: str, embedder: Embedder):
    expected = embedder.encode(TEXTS, normalize_embeddings=True)
    require_close(embed(server, input=[{"text": text} for text in TEXTS]), expected)
    require_close(embed(server, input=[{"text": TEXTS[0]}, *TEXTS[1:]]), expected)


def test_the_type_may_be_a_list_of_one(server: str, embedder: Embedder):
    expected = embedder.encode(TEXTS, normalize_embeddings=True)
    require_close(embed(server, input=TEXTS, embedding_type=["float"]), expected)
    assert embed(server, input=TEXTS, embedding_type=["binary"]) == embed(server, input=TEXTS, embedding_type="binary")


def test_base64_is_little_endian_float32(server: str, embedder: Embedder):
    found = embed(server, input=TEXTS, embedding_type="base64", dimensions=64)
    vectors = [np.frombuffer(base64.b64decode(text), dtype="<f4") for text in found]
    require_close(vectors, embedder.encode(TEXTS, normalize_embeddings=True, truncate_dim=64))


@pytest.mark.parametrize("name", ["binary", "ubinary"])
def test_a_bit_a_dimension(server: str, embedder: Embedder, name: str):
    found = embed(server, input=TEXTS, embedding_type=name)
    expected = embedder.encode(TEXTS, normalize_embeddings=True, output_dtype=name)
    assert found == expected.tolist()


def test_raw_vectors(server: str, embedder: Embedder):
    expected = embedder.encode(TEXTS)
    assert np.abs(np.linalg.norm(expected, axis=1) - 1).min() > 0.01
    require_close(embed(server, input=TEXTS, normalized=False), expected)


def test_late_chunking_reads_the_texts_as_lines_of_one(server: str, embedder: Embedder):
    whole = "\n".join(TEXTS)
    spans = [(whole.index(text), whole.index(text) + len(text)) for text in TEXTS]
    expected = embedder.encode_chunks(whole, spans=spans, normalize_embeddings=True).vectors
    require_close(embed(server, input=TEXTS, late_chunking=True), expected)
    assert np.abs(expected - embedder.encode(TEXTS, normalize_embeddings=True)).max() > 0.01


def test_late_chunking_beyond_the_limit(server: str, embedder: Embedder):
    texts = [f"Kapitel {number}. " + "Der Zug hat Verspätung. " * 100 for number in range(12)]
    whole = "\n".join(texts)
    assert embedder.count_tokens(whole)[0] > embedder.max_seq_length
    starts = np.cumsum([0] + [len(text) + 1 for text in texts[:-1]]).tolist()
    spans = [(start, start + len(text)) for start, text in zip(starts, texts, strict=True)]
    expected = embedder.encode_chunks(whole, spans=spans, normalize_embeddings=True).vectors
    require_close(embed(server, input=texts, late_chunking=True), expected)


def test_truncate_keeps_the_beginning(server: str, embedder: Embedder):
    long = "Der Zug hat Verspätung. " * 2000
    expected = embedder.encode([long, TEXTS[0]], normalize_embeddings=True, truncation="head")
    require_close(embed(server, input=[long, TEXTS[0]], truncate=True), expected)


def refusal(server: str, **fields: object) -> dict:
    """The error that a request gets, which must be a 400."""
    with pytest.raises(urllib.error.HTTPError) as raised:
        embed(server, **fields)
    with raised.value as error:
        assert error.code == 400
        return json.load(error)["error"]


def test_names_that_differ_are_refused(server: str):
    error = refusal(server, input=TEXTS, embedding_type="float", encoding_format="base64")
    assert "encoding_format and embedding_type differ" in error["message"]


def test_dimensions_that_fill_no_byte_are_named_as_the_request_names_them(server: str):
    error = refusal(server, input=TEXTS, embedding_type="binary", dimensions=12)
    assert error["param"] == "dimensions"
    assert "12 is not a multiple of 8" in error["message"]
    assert "truncate_dim" not in error["message"]


@pytest.mark.parametrize("empty", ["", " \n"], ids=["empty", "blank"])
def test_late_chunking_tells_which_text_is_empty(server: str, empty: str):
    error = refusal(server, input=[TEXTS[0], empty, TEXTS[1]], late_chunking=True)
    assert error["param"] == "input"
    assert "input[1]" in error["message"]
