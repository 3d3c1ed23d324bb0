"""Request and response of `POST /v1/embeddings`, as pydantic models: the fields of OpenAI's API and of Jina's.

Fields that neither has are refused: a misspelt option would be silently without effect. Knows nothing of models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from .problems import RequestError, refuse
from .unicode import find_lone_surrogate

Encoding = Literal["float", "base64", "binary", "ubinary"]
Texts = list[str] | list[list[int]]  # lists of token ids where a request holds these

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors and libraries write it before UTF-8

_FORMS = "input must be a string or a list of strings"
# Written out, since a document of OpenAPI cannot refer to definitions inside of a request's schema.
_TEXT_ITEM = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
_INPUT = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"anyOf": [{"type": "string"}, _TEXT_ITEM]}, "minItems": 1},
    ]
}


def _read_input(value: Any) -> Texts:
    """One text or list of token ids, or several, as a list; pydantic's own words for a union would be many."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise PydanticCustomError("input", f"{_FORMS}, not {_name(value)}")
    if _is_token(value[0]):
        value = [value]
    value = [_text_of(item, index) for index, item in enumerate(value)]
    tokens = isinstance(value[0], list)
    for index, item in enumerate(value):
        if tokens and not (isinstance(item, list) and item and all(map(_is_token, item))):
            raise PydanticCustomError("input", f"input[{index}] is not a list of token ids, as the first item is")
        if not tokens and not isinstance(item, str):
            raise PydanticCustomError("input", f"{_FORMS}; input[{index}] is {_name(item)}")
    return list(value)


def _text_of(item: Any, index: int) -> Any:
    """The text of Jina's form of an item, {"text": ...}; any other item as it is."""
    if not isinstance(item, dict):
        return item
    if set(item) != {"text"} or not isinstance(item["text"], str):
        raise PydanticCustomError("input", f'{_FORMS} or of {{"text": ...}}; input[{index}] is another object')
    return item["text"]


def _only(value: Any) -> Any:
    """What a list of one holds, as Jina's clients send it; anything else as it is."""
    if not isinstance(value, list):
        return value
    if len(value) != 1 or value[0] is None:  # pydantic would take null for a field that was left out
        raise PydanticCustomError("embedding_type", "a list must hold one type")
    return value[0]


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _name(value: Any) -> str:
    names = {dict: "an object", bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return names[type(value)]


class EmbeddingsRequest(BaseModel):
    """Texts to embed, and in which form."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input: Annotated[Texts, PlainValidator(_read_input), WithJsonSchema(_INPUT)] = Field(
        description="A text or a list of texts; a text may stand as Jina's object of it.",
        json_schema_extra={"examples": ["How is the weather today?"]},
    )
    model: str | None = Field(None, description="A name that this server has, see /v1/models; may be left out.")
    encoding_format: Encoding | None = Field(
        None, description="float (default): numbers; base64: of little-endian float32; binary, ubinary: a bit a number."
    )
    embedding_type: Annotated[
        Encoding | None,
        BeforeValidator(
            _only, json_schema_input_type=Encoding | Annotated[list[Encoding], Field(min_length=1, max_length=1)] | None
        ),
    ] = Field(None, description="Jina's name of encoding_format; may be a list of one.")
    dimensions: int | None = Field(None, ge=1, description="Keep the first numbers of each vector only.")
    normalized: bool = Field(True, description="Scale each vector to length 1.")
    truncate: bool = Field(False, description="Cut texts that are too long, in place of refusing them.")
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


class Usage(BaseModel):
    """Tokens that were read, special ones included."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """Vectors in the order of the input."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class ProblemDetail(BaseModel):
    """What is wrong and what to do."""

    message: str
    type: str
    param: str | None
    code: str


class ProblemResponse(BaseModel):
    """An error in OpenAI's shape."""

    error: ProblemDetail


def parse_request(body: bytes) -> EmbeddingsRequest:
    """Return the request in a JSON body, which may begin with a byte order mark.

    Raises:
        RequestError: the body is not JSON, or a field is missing, unknown or of the wrong type or value.
    """
    try:
        request = EmbeddingsRequest.model_validate_json(body.removeprefix(BYTE_ORDER_MARK))
    except ValidationError as error:
        raise _refusal(error, body) from None
    if None not in (request.encoding_format, request.embedding_type) and (
        request.encoding_format != request.embedding_type
    ):
        raise refuse("encoding_format and embedding_type differ; give one of them", "conflict", "embedding_type")
    return request


def _refusal(error: ValidationError, body: bytes) -> RequestError:
    """Return the first of pydantic's complaints about a body, without the value that it is about."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        surrogate = find_lone_surrogate(body)
        if surrogate is not None:
            field, message = surrogate
            return refuse(message, "invalid_value", field)
        return refuse(f"the body is not JSON ({first['msg'].removeprefix('Invalid JSON: ')})", "invalid_json")
    if not first["loc"]:
        return refuse("the body must be a JSON object", "invalid_json")
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return refuse(f"the field {name[:80]!r} is unknown", "unknown_field", name[:80])
    if first["type"] == "missing":
        return refuse(f"the field {name} is missing", "missing_field", name)
    message = first["msg"] if first["type"] == "input" else f"{name}: {first['msg']}"
    return refuse(message, "invalid_value", name)
