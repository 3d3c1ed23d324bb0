"""From a request for vectors to rows of token ids that a model runs, and from what it gives to the response's body."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from jinabert_onnx.encoding import late_chunking, pooling, steps
from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.encoding.options import EncodeOptions
from jinabert_onnx.encoding.pooling import Vectors
from jinabert_onnx.encoding.settings import Settings, resolve_settings
from jinabert_onnx.encoding.steps import Rows
from jinabert_onnx.encoding.vector_types import AnyVectors
from jinabert_onnx.errors import InputError

from .embeddings_schema import EmbeddingsRequest, Encoding, parse_request
from .problems import refuse
from .reading import Bounds, count_tokens, read_texts, require_count, require_tokens, require_whole, too_long
from .served import EMBED, Served, choose
from .work import Work

_DTYPES: dict[Encoding, str] = {"float": "float32", "base64": "float32", "binary": "binary", "ubinary": "ubinary"}
_BETWEEN = "\n"  # texts that are read as one
_PER_CHANNEL, _PER_NUMBER = 8, 24  # bytes of memory: of a vector, twice; of a number in JSON, as its buffer grows


@dataclass(frozen=True)
class _Rows:
    """Rows to run, what takes each, and the vectors (texts, dimensions) that come of all."""

    input_ids: Rows
    take: Callable[[int, Vectors], None]
    vectors: Callable[[], AnyVectors]


def plan(models: Sequence[Served], body: bytes) -> Work:
    """Check a request against the model that it means, and tokenize it.

    Raises:
        RequestError, InputError: the model cannot do this; says why.
    """
    request = parse_request(body)
    served = choose(models, request.model, EMBED)
    _require_items(request, served)
    settings = _settings(served, request)
    rows = _rows(served, request, settings)
    tokens = sum(map(len, rows.input_ids))
    require_tokens(tokens, served.max_tokens)
    name, encoding, texts = request.model or served.name, request.encoding, len(request.input)
    hidden = served.model.bundle.manifest.model.hidden_size
    return Work(
        served=served,
        input_ids=rows.input_ids,
        token_type_ids=None,
        take=rows.take,
        answer=lambda: _response_body(rows.vectors(), encoding, name, tokens),
        items=texts,
        tokens=tokens,
        held=texts * (_PER_CHANNEL * hidden + _PER_NUMBER * settings.dimensions),
    )


def _rows(served: Served, request: EmbeddingsRequest, settings: Settings) -> _Rows:
    model, bounds = served.model, Bounds(served.max_tokens, request.truncate)
    if request.late_chunking:
        return _plan_chunks(model, _texts(request), settings, bounds)
    if isinstance(request.input[0], str):
        return _pooled(model, read_texts(model, _texts(request), settings, bounds), settings)
    return _pooled(model, _frame(request, served), settings)


def _response_body(vectors: AnyVectors, encoding: Encoding, name: str, tokens: int) -> bytes:
    items: Sequence[object] = list(vectors)
    if encoding == "base64":
        items = [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in vectors]
    content = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": item} for index, item in enumerate(items)],
        "model": name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _require_items(request: EmbeddingsRequest, served: Served) -> None:
    require_count(len(request.input), served.max_inputs, "texts", "input")
    if isinstance(request.input[0], str):
        return
    if not served.accept_token_ids:
        raise refuse(
            "input holds token ids, and those of another model's tokenizer would give plausible, wrong vectors; send "
            "text (LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False)",
            "token_ids_refused",
            "input",
        )
    if request.late_chunking:
        raise refuse("late_chunking needs text, not token ids", "conflict", "late_chunking")


def _settings(served: Served, request: EmbeddingsRequest) -> Settings:
    width = served.model.bundle.manifest.dimensions
    if request.dimensions is not None and request.dimensions > width:
        raise refuse(f"dimensions is {request.dimensions}, and vectors have {width}", "invalid_value", "dimensions")
    options: EncodeOptions = {
        "truncate_dim": request.dimensions,
        "output_dtype": _DTYPES[request.encoding],
        "normalize_embeddings": request.normalized,
        "prompt": served.prefix,
        "truncation": "head",
    }
    try:
        return resolve_settings(served.model, options, served.max_length)
    except InputError as error:
        if error.argument != "truncate_dim":
            raise
        raise refuse(
            f"{request.encoding} vectors hold 8 dimensions per byte, and {request.dimensions or width} is not a "
            "multiple of 8; give dimensions that are",
            "invalid_value",
            "dimensions",
        ) from None


def _texts(request: EmbeddingsRequest) -> list[str]:
    return [item for item in request.input if isinstance(item, str)]


def _frame(request: EmbeddingsRequest, served: Served) -> list[NDArray[np.int64]]:
    """Return rows of token ids that a client made, which have no special tokens."""
    tokenizer, rows = served.model.tokenizer, []
    largest = served.model.bundle.manifest.model.vocab_size - 1
    room = served.max_length - tokenizer.special_tokens
    for index, item in enumerate(request.input):
        assert isinstance(item, list)
        if min(item) < 0 or max(item) > largest:
            raise refuse(f"input[{index}] holds a token id outside 0 to {largest}", "invalid_value", "input")
        if len(item) > room and not request.truncate:
            raise too_long(index, len(item) + tokenizer.special_tokens, served.max_length)
        ids = np.array(item[:room], dtype=np.int64)
        rows.append(np.concatenate((tokenizer.before, ids, tokenizer.after)))
    return rows


def _pooled(model: LoadedModel, input_ids: list[NDArray[np.int64]], settings: Settings) -> _Rows:
    manifest = model.bundle.manifest
    pooled = np.zeros((len(input_ids), manifest.model.hidden_size), dtype=np.float32)

    def take(index: int, embeddings: Vectors) -> None:
        tokens = embeddings[: len(input_ids[index])]  # (tokens, hidden)
        mask = np.ones((1, len(tokens)), dtype=np.int64)
        pooled[index] = pooling.pool(tokens[None], mask, manifest.pooling.mode)[0]

    return _Rows(input_ids, take, lambda: steps.finish(model, pooled, settings))


def _plan_chunks(model: LoadedModel, texts: list[str], settings: Settings, bounds: Bounds) -> _Rows:
    """Read all texts as one, and give a vector for each (late chunking)."""
    ends = np.cumsum([len(text) + len(_BETWEEN) for text in texts]) - len(_BETWEEN)
    spans = [(int(end) - len(text), int(end)) for text, end in zip(texts, ends, strict=True)]
    for index, text in enumerate(texts):
        if not text.strip():
            raise refuse(
                f"input[{index}] is empty, and late_chunking needs at least one word in each", "invalid_value", "input"
            )
    joined = _BETWEEN.join(texts)
    require_whole(model.tokenizer, joined, "input")
    if bounds.max_tokens is not None:
        require_tokens(count_tokens(model.tokenizer, joined, bounds.max_tokens)[0], bounds.max_tokens)
    try:
        chunked = late_chunking.split_into_windows(model, joined, spans, None, settings)
    except InputError as error:
        told = str(error) if error.index is None else f"input[{error.index}] holds no token; leave it out"
        raise refuse(told, "invalid_value", "input") from None
    lock = threading.Lock()  # windows of one text may run at the same time, and add to the same sums

    def take(index: int, embeddings: Vectors) -> None:
        with lock:
            chunked.add(index, embeddings[: len(chunked.input_ids[index])])

    return _Rows(chunked.input_ids, take, lambda: steps.finish(model, chunked.pooled(), settings))
