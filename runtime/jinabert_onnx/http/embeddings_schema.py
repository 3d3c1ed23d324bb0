"""Request and response of `POST /v1/embeddings`, as pydantic models: the fields of OpenAI's API and of Jina's.

Fields that neither has are refused: a misspelt option would be silently without effect. Knows nothing of models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from .parsing import TEXT_ITEM, RequestBody, kind_of, parse
from .problems import refuse
from .responses import Usage

Encoding = Literal["float", "base64", "binary", "ubinary"]
Texts = list[str] | list[list[int]]  # lists of token ids where a request holds these

_FORMS = "input must be a string or a list of strings"
_INPUT = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, TEXT_ITEM]}, "minItems": 1},
    ]
}


def _read_input(value: Any) -> Texts:
    """One text or list of token ids, or several, as a list; pydantic's own words for a union would be many."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("input", f"{_FORMS}, not {kind_of(value)}")
    if _is_token(value[0]):
        value = [value]
    value = [_text_of(item, index) for index, item in enumerate(value)]
    tokens = isinstance(value[0], list)
    for index, item in enumerate(value):
        if tokens and not (isinstance(item, list) and item and all(map(_is_token, item))):
            raise PydanticCustomError("input", f"input[{index}] is not a list of token ids, as the first item is")
        if not tokens and not isinstance(item, str):
            raise PydanticCustomError("input", f"{_FORMS}; input[{index}] is {kind_of(item)}")
    return list(value)


def _text_of(item: Any, index: int) -> Any:
    """The text of Jina's form of an item, {"text": ...}; any other item as it is."""
    if not isinstance(item, dict):
        return item
    if set(item) != {"text"} or not isinstance(item["text"], str):
        raise PydanticCustomError("input", f'{_FORMS} or of {{"text": ...}}; input[{index}] is another object')
    return item["text"]


def _only(value: Any) -> Any:
    """Return what a list of one holds, as Jina's clients send it; anything else as it is."""
    if not isinstance(value, list):
        return value
    if len(value) != 1 or value[0] is None:  # pydantic would take null for a field that was left out
        raise PydanticCustomError("embedding_type", "a list must hold one type")
    return value[0]


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class EmbeddingsRequest(RequestBody):
    """Texts to embed, and the form of the vectors."""

    input: Annotated[Texts, PlainValidator(_read_input), WithJsonSchema(_INPUT)] = Field(
        description="A text or a list of texts; a text may also be Jina's object.",
        json_schema_extra={"examples": ["How is the weather today?"]},
    )
    model: str | None = Field(
        None, description="A name that this server has, see /v1/models; needed where several models embed."
    )
    encoding_format: Encoding | None = Field(
        None,
        description="float (default): numbers; base64: of little-endian float32; binary, ubinary: one bit per number.",
    )
    embedding_type: Annotated[
        Encoding | None,
        BeforeValidator(
            _only, json_schema_input_type=Encoding | Annotated[list[Encoding], Field(min_length=1, max_length=1)] | None
        ),
    ] = Field(None, description="Jina's name for encoding_format; may be a list of one.")
    dimensions: int | None = Field(None, ge=1, description="Keep only the first numbers of each vector.")
    normalized: bool = Field(True, description="Scale each vector to length 1.")
    truncate: bool = Field(False, description="Cut texts that are too long instead of refusing them.")
    late_chunking: bool = Field(
        False, description="Read all texts of the input as one, and embed each in the context of the others."
    )
    user: str | None = Field(None, description="Ignored.")
    task: str | None = Field(None, description="Ignored: this family of models has no tasks.")

    @property
    def encoding(self) -> Encoding:
        """Return the form of vectors, whichever name it came by."""
        return self.encoding_format or self.embedding_type or "float"


class Embedding(BaseModel):
    """One text's vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsResponse(BaseModel):
    """Vectors in the order of the input."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


def parse_request(body: bytes) -> EmbeddingsRequest:
    """Return the request in a JSON body, which may begin with a byte order mark.

    Raises:
        RequestError: the body is not JSON, or a field is missing, unknown or of the wrong type or value.
    """
    request = parse(EmbeddingsRequest, body)
    if None not in (request.encoding_format, request.embedding_type) and (
        request.encoding_format != request.embedding_type
    ):
        raise refuse("encoding_format and embedding_type differ; give one of them", "conflict", "embedding_type")
    return request
