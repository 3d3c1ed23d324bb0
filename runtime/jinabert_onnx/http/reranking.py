"""From a request to rerank to rows of token ids that a model runs, and from what it gives to the response's body."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

import numpy as np
import orjson

from jinabert_onnx.encoding.pooling import Vectors
from jinabert_onnx.encoding.steps import require_finite
from jinabert_onnx.scoring import ranking
from jinabert_onnx.scoring.options import MAX_LENGTH, MAX_QUERY_LENGTH, OVERLAP_TOKENS
from jinabert_onnx.scoring.results import RankedDocument
from jinabert_onnx.scoring.steps import scores_of
from jinabert_onnx.text.pair_frame import Ids
from jinabert_onnx.text.tokenizer import Tokenizer

from .parsing import parse
from .reading import (
    MOST_WHOLE,
    PER_TOKEN,
    groups_of,
    head_of,
    require_count,
    require_tokens,
    require_whole,
    require_words,
)
from .rerank_schema import RerankRequest
from .served import RERANK, Served, choose
from .work import Work

# Bytes of memory: of a result as an object, and as JSON beside its document; of a token to run, by its id and type.
_PER_RESULT, _PER_TOKEN = 2_000, 16
# For a byte of a body whose documents are returned, beyond what it takes while it is read: the answer, as its buffer
# grows; and where a document has letters that are not ASCII, its text as Python holds it and once more as UTF-8.
_PER_RETURNED, _PER_RETURNED_WIDE = 1, 4
_LONGEST_HEAD = MOST_WHOLE // PER_TOKEN  # tokens: more of a document are read only if it can be read whole
_DOCUMENTS_BY_DEFAULT = {"1": True, "2": False}  # whether results hold the texts, by version: as Jina, as Cohere


def plan(models: Sequence[Served], body: bytes, version: str) -> Work:
    """Check a request against the model that it means, and lay its windows; `version` is that of the path.

    Raises:
        RequestError, InputError: the model cannot do this; says why.
    """
    request = parse(RerankRequest, body)
    served = choose(models, request.model, RERANK)
    require_count(len(request.documents), served.max_inputs, "documents", "documents")
    question = _read_query(served, request.query)
    windows = ranking.split_documents(question, _read_documents(served, request, question))
    tokens = sum(map(len, windows.input_ids))
    require_tokens(tokens, served.max_tokens, "documents")
    with_text = _DOCUMENTS_BY_DEFAULT[version] if request.return_documents is None else request.return_documents
    count, name, top_n = len(request.documents), request.model or served.name, request.top_n
    # What waits for its turn holds no more than it needs: of the windows not the types, of the request not its texts.
    owners, returned = windows.owners, request.documents if with_text else []
    logits = np.zeros(len(owners), dtype=np.float32)  # (windows,)

    def take(index: int, output: Vectors) -> None:
        require_finite(output)
        logits[index] = output[0]

    def answer() -> bytes:
        best = ranking.best_of_windows(logits, owners, count)
        scores = scores_of(served.model, best[:, None], raw_scores=False)
        ranked = ranking.in_order(best, scores, returned, top_n, with_text)
        return _response_body(ranked, name, tokens, _meta(version, tokens, question))

    return Work(
        served=served,
        input_ids=windows.input_ids,
        token_type_ids=windows.token_type_ids if served.model.session.takes_token_types else None,
        take=take,
        answer=answer,
        items=count,
        tokens=tokens,
        held=_PER_RESULT * count + _PER_TOKEN * tokens + _returned_memory(body, returned),
    )


def _returned_memory(body: bytes, documents: Sequence[str]) -> int:
    """Return the most bytes of memory that documents take in an answer."""
    if not documents:
        return 0
    return len(body) * (_PER_RETURNED if all(map(str.isascii, documents)) else _PER_RETURNED_WIDE)


def _read_query(served: Served, query: str) -> ranking.Question:
    tokenizer = served.model.tokenizer
    lengths = ranking.Lengths(MAX_LENGTH, MAX_QUERY_LENGTH, OVERLAP_TOKENS).within(served.max_length)
    head = head_of(tokenizer, query, "query", lengths.max_query_length)
    question = ranking.read_query(tokenizer, head, lengths)
    require_words(len(head) == len(query) or question.was_cut, query, "query")
    return question


def _read_documents(served: Served, request: RerankRequest, question: ranking.Question) -> Iterator[Ids]:
    """Yield the token ids of each document, reading no more than a request may have."""
    tokenizer, most = served.model.tokenizer, request.max_tokens_per_doc
    tokens = len(request.documents) * question.tokens
    require_tokens(tokens, served.max_tokens, "documents")
    for first, group in groups_of(request.documents):
        names = [f"documents[{first + index}]" for index in range(len(group))]
        heads = [_head(tokenizer, text, name, most) for text, name in zip(group, names, strict=True)]
        for text, name, head, ids in zip(group, names, heads, tokenizer.bare(heads, most), strict=True):
            require_words(len(head) == len(text) or (most is not None and len(ids) > most), text, name)
            tokens += len(ids[:most])
            require_tokens(tokens, served.max_tokens, "documents")
            yield ids[:most]


def _head(tokenizer: Tokenizer, text: str, name: str, most: int | None) -> str:
    """Return as much of a document as holds more than `most` tokens, or all of it."""
    if most is None or most > _LONGEST_HEAD:
        require_whole(tokenizer, text, name, f"split it, or set max_tokens_per_doc to {_LONGEST_HEAD} at most")
        return text
    return head_of(tokenizer, text, name, most)


def _meta(version: str, tokens: int, question: ranking.Question) -> dict[str, object]:
    meta: dict[str, object] = {"api_version": {"version": version}, "tokens": {"input_tokens": tokens}}
    if question.was_cut:
        meta["warnings"] = [f"the query was cut to {len(question.input_ids)} tokens"]
    return meta


def _response_body(ranked: Sequence[RankedDocument], name: str, tokens: int, meta: dict[str, object]) -> bytes:
    content = {
        "id": str(uuid.uuid4()),
        "model": name,
        "results": [_result(document) for document in ranked],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "meta": meta,
    }
    return orjson.dumps(content)


def _result(ranked: RankedDocument) -> dict[str, object]:
    result: dict[str, object] = {"index": ranked.index, "relevance_score": ranked.score}
    if ranked.document is not None:
        result["document"] = {"text": ranked.document}
    return result
