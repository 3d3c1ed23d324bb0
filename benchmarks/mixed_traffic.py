"""Requests of two kinds, texts to embed and documents to rerank, with the values that their answers must have.

Knows nothing of processes or measuring.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
from jinabert_onnx import CrossEncoder, Embedder
from jinabert_onnx.bench.texts import QUERY_TOKENS, TextMaker
from numpy.typing import NDArray

TEXTS, SHORTEST, LONGEST = 64, 16, 300
QUERIES, DOCUMENTS, SHORTEST_DOCUMENT = 32, 20, 20

Values = NDArray[np.float32]  # a vector (hidden,), or the scores of (documents,)


@dataclass(frozen=True)
class Request:
    """What a client sends, how its answer is read, and the values that it must have."""

    path: str
    body: bytes
    read: Callable[[Any], Values]
    expected: Values


@dataclass(frozen=True)
class Answer:
    """What came: when it was asked for and there, its status, its tokens and its largest difference."""

    start: float
    end: float
    status: int
    tokens: int = 0
    difference: float = 0.0


def read_vector(content: Any) -> Values:
    """Return the vector of an answer of one text."""
    return np.frombuffer(base64.b64decode(content["data"][0]["embedding"]), dtype="<f4")


def read_scores(content: Any) -> Values:
    """Return the scores of an answer in the order of the documents; a document that is missing has none, NaN."""
    scores = np.full(DOCUMENTS, np.nan, dtype=np.float32)
    for result in content["results"]:
        scores[result["index"]] = result["relevance_score"]
    return scores


def embedding_requests(bundle: Path, precision: str, threads: int) -> list[Request]:
    """Make texts of evenly spread lengths in a shuffled order, and embed them one by one."""
    maker, generator = TextMaker(bundle), np.random.default_rng(0)
    lengths = generator.permutation(np.linspace(SHORTEST, LONGEST, TEXTS).astype(int)).tolist()
    texts = [maker.make(length, generator) for length in lengths]
    with Embedder.load(bundle, precision=precision, threads=threads) as model:
        vectors = [np.asarray(model.encode(text, normalize_embeddings=True), dtype=np.float32) for text in texts]
    bodies = [json.dumps({"input": text, "encoding_format": "base64"}).encode() for text in texts]
    made = zip(bodies, vectors, strict=True)
    return [Request("/v1/embeddings", body, read_vector, vector) for body, vector in made]


def reranking_requests(bundle: Path, precision: str, threads: int) -> list[Request]:
    """Make queries, each with documents of evenly spread lengths in a shuffled order, and rank them one by one."""
    maker, generator, requests = TextMaker(bundle), np.random.default_rng(1), []
    with CrossEncoder.load(bundle, precision=precision, threads=threads) as model:
        for _ in range(QUERIES):
            lengths = generator.permutation(np.linspace(SHORTEST_DOCUMENT, LONGEST, DOCUMENTS).astype(int)).tolist()
            query, documents = maker.make(QUERY_TOKENS, generator), [maker.make(n, generator) for n in lengths]
            scores = np.empty(DOCUMENTS, dtype=np.float32)
            for ranked in model.rank(query, documents):
                scores[ranked.index] = ranked.score
            body = json.dumps({"query": query, "documents": documents}).encode()
            requests.append(Request("/v1/rerank", body, read_scores, scores))
    return requests


def ask(connection: HTTPConnection, request: Request) -> Answer:
    """Send a request and compare its answer; after a refusal, wait as long as the server says."""
    start = time.monotonic()
    connection.request("POST", request.path, request.body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    body, end = response.read(), time.monotonic()
    if response.status == 429:
        time.sleep(float(response.headers["Retry-After"]))
    if response.status != 200:
        return Answer(start, end, response.status)
    content = json.loads(body)
    difference = float(np.abs(request.read(content) - request.expected).max())
    return Answer(start, end, 200, content["usage"]["total_tokens"], difference)
