"""From a request to rows of token ids that a model runs, and from what it gives to the body of the response.

Knows nothing of who runs the rows: a queue that many requests share, or a loop.
"""

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
from jinabert_onnx.encoding.vector_types import AnyVectors
from jinabert_onnx.errors import InputError

from .problems import refuse
from .reading import Bounds, read_texts, require_tokens, require_whole, too_long
from .schema import EmbeddingsRequest, Encoding

_DTYPES: dict[Encoding, str] = {"float": "float32", "base64": "float32", "binary": "binary", "ubinary": "ubinary"}
_BETWEEN = "\n"  # texts that are read as one


@dataclass(frozen=True)
class Policy:
    """What one model is asked for by all requests.

    Attributes:
        names: of the model, as clients may give it; the first is its own.
        max_length: most tokens of a text.
        max_inputs: most texts of a request.
        max_tokens: most tokens of a request; None for as many as there are.
        prefix: the prompt before each text.
        accept_token_ids: whether lists of token ids are taken, which must be of this model's tokenizer.
    """

    names: tuple[str, ...]
    max_length: int
    max_inputs: int
    max_tokens: int | None
    prefix: str
    accept_token_ids: bool = False


@dataclass(frozen=True)
class Work:
    """What a model must run for one request.

    Attributes:
        input_ids: int64 (tokens,) of each row, special tokens included. Rows may run in any order and company.
        take: to be called once for each row, with its index and its token embeddings, float32 (tokens, hidden).
        vectors: what the request gets, (texts, dimensions), after every row was taken.
        tokens: how many tokens were read.
    """

    input_ids: list[NDArray[np.int64]]
    take: Callable[[int, Vectors], None]
    vectors: Callable[[], AnyVectors]
    tokens: int


def plan(model: LoadedModel, request: EmbeddingsRequest, policy: Policy) -> Work:
    """Check the request against the model, and tokenize it.

    Raises:
        RequestError, InputError: the model cannot do this; says why.
    """
    _require_name(request, policy)
    _require_count(request, policy)
    settings = _settings(model, request, policy)
    bounds = Bounds(policy.max_tokens, request.truncate)
    if request.late_chunking:
        work = _plan_chunks(model, _texts(request), settings, bounds)
    elif isinstance(request.input[0], str):
        work = _pooled(model, read_texts(model, _texts(request), settings, bounds), settings)
    else:
        work = _pooled(model, _frame(model, request, policy), settings)
    require_tokens(work.tokens, policy.max_tokens)
    return work


def response_body(work: Work, request: EmbeddingsRequest, policy: Policy) -> bytes:
    """Return the JSON of a response, after every row of `work` was taken.

    Raises:
        RunError: the model gave NaN or infinity.
    """
    vectors = work.vectors()
    items: Sequence[object] = list(vectors)
    if request.encoding == "base64":
        items = [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in vectors]
    content = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": item} for index, item in enumerate(items)],
        "model": request.model or policy.names[0],
        "usage": {"prompt_tokens": work.tokens, "total_tokens": work.tokens},
    }
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _require_name(request: EmbeddingsRequest, policy: Policy) -> None:
    if request.model is not None and request.model not in policy.names:
        raise refuse(
            f"the model {request.model[:80]!r} is not served here; this server has {', '.join(policy.names)}",
            "model_not_found",
            "model",
            status=404,
        )


def _require_count(request: EmbeddingsRequest, policy: Policy) -> None:
    if len(request.input) > policy.max_inputs:
        raise refuse(
            f"{len(request.input)} texts are more than the {policy.max_inputs} that a request may have; "
            "send them in parts",
            "too_many_inputs",
            "input",
        )
    if isinstance(request.input[0], str):
        return
    if not policy.accept_token_ids:
        raise refuse(
            "input holds token ids, and those of another model's tokenizer would give plausible, wrong vectors; send "
            "text (LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False)",
            "token_ids_refused",
            "input",
        )
    if request.late_chunking:
        raise refuse("late_chunking needs text, not token ids", "conflict", "late_chunking")


def _settings(model: LoadedModel, request: EmbeddingsRequest, policy: Policy) -> Settings:
    width = model.bundle.manifest.dimensions
    if request.dimensions is not None and request.dimensions > width:
        raise refuse(f"dimensions is {request.dimensions}, and vectors have {width}", "invalid_value", "dimensions")
    options: EncodeOptions = {
        "truncate_dim": request.dimensions,
        "output_dtype": _DTYPES[request.encoding],
        "normalize_embeddings": request.normalized,
        "prompt": policy.prefix,
        "truncation": "head",
    }
    try:
        return resolve_settings(model, options, policy.max_length)
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


def _frame(model: LoadedModel, request: EmbeddingsRequest, policy: Policy) -> list[NDArray[np.int64]]:
    """Return rows of token ids that a client made, which have no special tokens."""
    tokenizer, rows = model.tokenizer, []
    largest = model.bundle.manifest.model.vocab_size - 1
    room = policy.max_length - tokenizer.special_tokens
    for index, item in enumerate(request.input):
        assert isinstance(item, list)
        if min(item) < 0 or max(item) > largest:
            raise refuse(f"input[{index}] holds a token id outside 0 to {largest}", "invalid_value", "input")
        if len(item) > room and not request.truncate:
            raise too_long(index, len(item) + tokenizer.special_tokens, policy.max_length)
        ids = np.array(item[:room], dtype=np.int64)
        rows.append(np.concatenate((tokenizer.before, ids, tokenizer.after)))
    return rows


def _pooled(model: LoadedModel, input_ids: list[NDArray[np.int64]], settings: Settings) -> Work:
    manifest = model.bundle.manifest
    pooled = np.zeros((len(input_ids), manifest.model.hidden_size), dtype=np.float32)

    def take(index: int, embeddings: Vectors) -> None:
        mask = np.ones((1, len(embeddings)), dtype=np.int64)
        pooled[index] = pooling.pool(embeddings[None], mask, manifest.pooling.mode)[0]

    tokens = sum(map(len, input_ids))
    return Work(input_ids, take, lambda: steps.finish(model, pooled, settings), tokens)


def _plan_chunks(model: LoadedModel, texts: list[str], settings: Settings, bounds: Bounds) -> Work:
    """Read all texts as one, and give a vector for each (late chunking)."""
    ends = np.cumsum([len(text) + len(_BETWEEN) for text in texts]) - len(_BETWEEN)
    spans = [(int(end) - len(text), int(end)) for text, end in zip(texts, ends, strict=True)]
    for index, text in enumerate(texts):
        if not text.strip():
            raise refuse(
                f"input[{index}] is empty, and late_chunking needs at least one word in each", "invalid_value", "input"
            )
    joined = _BETWEEN.join(texts)
    require_whole(model.tokenizer, joined, bounds)
    try:
        chunked = late_chunking.split_into_windows(model, joined, spans, None, settings)
    except InputError as error:
        told = str(error) if error.index is None else f"input[{error.index}] holds no token; leave it out"
        raise refuse(told, "invalid_value", "input") from None
    lock = threading.Lock()  # windows of one text may run at the same time, and add to the same sums

    def take(index: int, embeddings: Vectors) -> None:
        with lock:
            chunked.add(index, embeddings)

    tokens = sum(map(len, chunked.input_ids))
    return Work(chunked.input_ids, take, lambda: steps.finish(model, chunked.pooled(), settings), tokens)
