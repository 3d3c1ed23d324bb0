"""OpenAI's client, LangChain's and LlamaIndex's with a live server: `Embedder`'s vectors, and errors that are clear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_index.core
import numpy as np
import openai
import pytest
from conftest import KEY, NAMES
from jinabert_onnx import Embedder
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from openai.types import CreateEmbeddingResponse

MODEL = NAMES[0]
TEXTS = [
    "How is the weather today?",
    "Wie setze ich mein Passwort zurück?",
    "",
    "The meeting has been moved to Friday. " * 40,
    "Straße 🚉, naïve café, 東京",
    "a",
]


@pytest.fixture
def client(server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def private_client(private_server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{private_server}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def vectors_of(response: CreateEmbeddingResponse) -> np.ndarray:
    assert [item.index for item in response.data] == list(range(len(response.data)))
    return np.array([item.embedding for item in response.data])


def require_equal(found: object, embedder: Embedder, texts: list[str], dimensions: int | None = None) -> None:
    """The vectors (texts, dimensions) are those that `embedder` gives."""
    expected = embedder.encode(texts, normalize_embeddings=True, truncate_dim=dimensions)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-6)


class TestOpenAI:
    def test_base64_is_its_default(self, client: openai.OpenAI, embedder: Embedder):
        response = client.embeddings.with_raw_response.create(model=MODEL, input=TEXTS)
        assert isinstance(json.loads(response.text)["data"][0]["embedding"], str)
        assert response.headers["x-embedding-fingerprint"] == str(embedder.fingerprint)
        require_equal(vectors_of(response.parse()), embedder, TEXTS)

    @pytest.mark.parametrize("options", [{"encoding_format": "float"}, {"dimensions": 64}], ids=str)
    def test_numbers_and_dimensions(self, client: openai.OpenAI, embedder: Embedder, options: dict):
        response = client.embeddings.create(model=MODEL, input=TEXTS, **options)
        require_equal(vectors_of(response), embedder, TEXTS, options.get("dimensions"))

    def test_one_text(self, client: openai.OpenAI, embedder: Embedder):
        response = client.embeddings.create(model=MODEL, input=TEXTS[0])
        require_equal(vectors_of(response), embedder, TEXTS[:1])
        assert response.model == MODEL
        assert response.usage.prompt_tokens == response.usage.total_tokens == embedder.count_tokens(TEXTS[0])[0]

    def test_many_texts_keep_their_order(self, client: openai.OpenAI, embedder: Embedder):
        texts = [f"{number} {'words ' * (number * 7 % 60)}" for number in range(300)]
        require_equal(vectors_of(client.embeddings.create(model=MODEL, input=texts)), embedder, texts)

    def test_int8_with_a_key(self, private_client: openai.OpenAI, private_embedder: Embedder):
        response = private_client.embeddings.create(model="tiny-de-en", input=TEXTS)
        require_equal(vectors_of(response), private_embedder, TEXTS)

    def test_many_requests_at_once_by_the_asynchronous_client(self, server: str, embedder: Embedder):
        texts = [f"{number} {'Wörter ' * (number % 17)}" for number in range(60)]

        async def embed_all() -> list[CreateEmbeddingResponse]:
            async with openai.AsyncOpenAI(base_url=f"{server}/v1", api_key="any", max_retries=0) as client:
                requests = [client.embeddings.create(model=MODEL, input=text) for text in texts]
                return await asyncio.gather(*requests)

        require_equal([vectors_of(response)[0] for response in asyncio.run(embed_all())], embedder, texts)

    def test_models(self, client: openai.OpenAI):
        models = client.models.list().data
        assert tuple(model.id for model in models) == NAMES
        assert [client.models.retrieve(name) for name in NAMES] == models

    @pytest.mark.parametrize("name", NAMES)
    def test_every_name_is_the_same_model(self, client: openai.OpenAI, embedder: Embedder, name: str):
        response = client.embeddings.create(model=name, input=TEXTS)
        require_equal(vectors_of(response), embedder, TEXTS)
        assert response.model == name


class TestErrorsOfOpenAI:
    def test_a_text_beyond_the_limit(self, client: openai.OpenAI, embedder: Embedder):
        with pytest.raises(openai.BadRequestError) as raised:
            client.embeddings.create(model=MODEL, input=["short", "word " * 9000])
        tokens = (
            len(embedder.loaded.tokenizer.with_offsets("word " * 9000).ids) + embedder.loaded.tokenizer.special_tokens
        )
        assert f"input[1] has {tokens} tokens, {tokens - 8192} more than the limit of 8192" in str(raised.value)
        assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "input")
        assert raised.value.type == "invalid_request_error"

    def test_too_many_dimensions(self, client: openai.OpenAI):
        with pytest.raises(openai.BadRequestError, match="dimensions is 1536, and vectors have 256") as raised:
            client.embeddings.create(model=MODEL, input="a", dimensions=1536)
        assert raised.value.param == "dimensions"

    def test_another_model(self, client: openai.OpenAI):
        with pytest.raises(
            openai.NotFoundError, match="the model 'other' is not served here; this server has bundle, "
        ):
            client.embeddings.create(model="other", input="a")
        with pytest.raises(openai.NotFoundError, match="no model 'other'"):
            client.models.retrieve("other")

    @pytest.mark.parametrize("tokens", [[1212, 318], [[1212, 318], [257]]], ids=["one text", "two texts"])
    def test_token_ids_of_another_tokenizer(self, client: openai.OpenAI, tokens: list):
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False") as raised:
            client.embeddings.create(model=MODEL, input=tokens)
        assert raised.value.code == "token_ids_refused"

    def test_a_wrong_key(self, private_server: str):
        with (
            openai.OpenAI(base_url=f"{private_server}/v1", api_key="a-key-that-is-not", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError, match="the API key is not valid") as raised,
        ):
            client.embeddings.create(model="tiny-de-en", input="a")
        assert raised.value.code == "invalid_api_key"

    def test_the_connection_is_good_after_an_error(self, client: openai.OpenAI, embedder: Embedder):
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model=MODEL, input=[])
        require_equal(vectors_of(client.embeddings.create(model=MODEL, input=TEXTS)), embedder, TEXTS)


def test_token_ids_of_this_tokenizer_where_they_are_accepted(private_client: openai.OpenAI, private_embedder: Embedder):
    texts = TEXTS[:2]
    tokens = [private_embedder.loaded.tokenizer.with_offsets(text).ids.tolist() for text in texts]
    require_equal(
        vectors_of(private_client.embeddings.create(model="tiny-de-en", input=tokens)), private_embedder, texts
    )


def langchain(server: str, **options: Any) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(model=MODEL, base_url=f"{server}/v1", api_key="any", max_retries=0, **options)


class TestLangChain:
    def test_texts(self, server: str, embedder: Embedder):
        embeddings = langchain(server, check_embedding_ctx_length=False)
        require_equal(embeddings.embed_documents(TEXTS), embedder, TEXTS)
        require_equal([embeddings.embed_query(TEXTS[0])], embedder, TEXTS[:1])

    def test_texts_asynchronously(self, server: str, embedder: Embedder):
        async def embed() -> list[list[float]]:
            async with openai.DefaultAsyncHttpxClient() as http_client:
                embeddings = langchain(server, check_embedding_ctx_length=False, http_async_client=http_client)
                return await embeddings.aembed_documents(TEXTS)

        require_equal(asyncio.run(embed()), embedder, TEXTS)

    def test_its_default_sends_token_ids_and_is_told_what_to_change(self, server: str, monkeypatch: pytest.MonkeyPatch):
        """tiktoken would download its vocabulary, if LlamaIndex's package did not hold the file."""
        vocabulary = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(vocabulary))
        with pytest.raises(openai.BadRequestError, match=r"send text .* with check_embedding_ctx_length=False"):
            langchain(server).embed_documents(TEXTS)


def of_llama_index(server: str, **options: Any) -> OpenAILikeEmbedding:
    return OpenAILikeEmbedding(model_name=MODEL, api_base=f"{server}/v1", api_key="any", max_retries=0, **options)


class TestLlamaIndex:
    def test_texts(self, server: str, embedder: Embedder):
        embeddings = of_llama_index(server, embed_batch_size=4)
        require_equal(embeddings.get_text_embedding_batch(TEXTS), embedder, TEXTS)
        require_equal([embeddings.get_query_embedding(TEXTS[0])], embedder, TEXTS[:1])

    def test_texts_asynchronously(self, server: str, embedder: Embedder):
        async def embed() -> list[list[float]]:
            async with openai.DefaultAsyncHttpxClient() as http_client:
                embeddings = of_llama_index(server, async_http_client=http_client)
                return await embeddings.aget_text_embedding_batch(TEXTS)

        require_equal(asyncio.run(embed()), embedder, TEXTS)

    def test_dimensions(self, server: str, embedder: Embedder):
        embeddings = of_llama_index(server, dimensions=128)
        require_equal(embeddings.get_text_embedding_batch(TEXTS[:2]), embedder, TEXTS[:2], dimensions=128)
