"""Request and response of reranking, as pydantic models: the fields of Jina's API and of Cohere's.

Knows nothing of models.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from .parsing import TEXT_ITEM, RequestBody, kind_of
from .responses import Usage

# Documents of Cohere's may have other fields than their text, which is what is read of them there by default.
_DOCUMENT_ITEM = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_QUERY = {"anyOf": [{"type": "string"}, TEXT_ITEM]}
_DOCUMENTS = {"type": "array", "items": {"anyOf": [{"type": "string"}, _DOCUMENT_ITEM]}, "minItems": 1}

_RANK_FIELDS = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}


def _read_query(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"text"}:
        value = value["text"]
    if not isinstance(value, str):
        raise PydanticCustomError("input", f'query must be a string or {{"text": ...}}, not {kind_of(value)}')
    return value


def _read_documents(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("input", f"documents must be a list of strings, not {kind_of(value)}")
    return [_read_document(item, index) for index, item in enumerate(value)]


def _read_document(item: Any, index: int) -> str:
    text = item.get("text") if isinstance(item, dict) else item
    if not isinstance(text, str):
        found = "an object without a text" if isinstance(item, dict) else kind_of(item)
        message = f'documents must be strings or objects with a "text"; documents[{index}] is {found}'
        raise PydanticCustomError("input", message)
    return text


def _read_rank_fields(value: Any) -> list[str] | None:
    """Return the value if it is a list of strings; pydantic's own words would be as many as there are others."""
    if value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        return value
    raise PydanticCustomError("input", "rank_fields must be a list of strings")


class RerankRequest(RequestBody):
    """A query, and documents to order by how well they fit it."""

    query: Annotated[str, PlainValidator(_read_query), WithJsonSchema(_QUERY)] = Field(
        description="A text; may also be Jina's object.", json_schema_extra={"examples": ["How is the weather today?"]}
    )
    documents: Annotated[list[str], PlainValidator(_read_documents), WithJsonSchema(_DOCUMENTS)] = Field(
        description="Texts, or objects whose text is read.",
        json_schema_extra={"examples": [["The sun is shining.", "Apples and pears"]]},
    )
    model: str | None = Field(
        None, description="A name that this server has, see /v1/models; needed where several models rerank."
    )
    top_n: int | None = Field(None, ge=1, description="How many documents to return; default: all.")
    return_documents: bool | None = Field(
        None, description="Whether results hold the texts; default: true at /v1, false at /v2."
    )
    max_tokens_per_doc: int | None = Field(
        None, ge=1, description="Read only so many tokens of each document; default: all, in windows."
    )
    rank_fields: Annotated[list[str] | None, PlainValidator(_read_rank_fields), WithJsonSchema(_RANK_FIELDS)] = Field(
        None, description="Ignored: the text is read."
    )
    max_chunks_per_doc: int | None = Field(None, description="Ignored: all of a document is read.")
    priority: int | None = Field(None, description="Ignored.")


class RerankedDocument(BaseModel):
    """A document's text."""

    text: str


class RerankResult(BaseModel):
    """A document's place in the request, its score, and its text if that was asked for."""

    index: int
    relevance_score: float
    document: RerankedDocument | None = None


class Meta(BaseModel):
    """What Cohere's clients read beside the results."""

    api_version: dict[str, str]
    tokens: dict[str, int]
    warnings: list[str] | None = None


class RerankResponse(BaseModel):
    """Documents, the best first."""

    id: str
    model: str
    results: list[RerankResult]
    usage: Usage
    meta: Meta
