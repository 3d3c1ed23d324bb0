"""JSON bodies to pydantic models of requests, and pydantic's complaints to refusals. Knows nothing of models that run.

Fields that are not known are refused: a misspelt option would be silently without effect.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .problems import RequestError, refuse
from .unicode import find_lone_surrogate

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors and libraries write it before UTF-8
# Lists and objects of a body, of which parsers make hundreds of bytes each, and a client a megabyte of two bytes each.
MOST_CONTAINERS = 100_000
_STRINGS_AND_CONTAINERS = re.compile(rb'"[^"]*"?|[\[{]')


# Jina's form of a text, for the description of a request; written out, since a document of OpenAPI cannot refer to
# definitions inside of a request's schema.
TEXT_ITEM = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}


class RequestBody(BaseModel):
    """The base of requests: no other fields, and values of the very types.

    `parse` refuses other fields, not pydantic, which would make an error of a kilobyte of each of a million; nor does
    it keep their names for the next request, which would hold the memory around them.
    """

    model_config = ConfigDict(
        extra="allow", strict=True, cache_strings="none", json_schema_extra={"additionalProperties": False}
    )


Body = TypeVar("Body", bound=RequestBody)


def parse(request: type[Body], body: bytes) -> Body:
    """Return the request in a JSON body, which may begin with a byte order mark.

    Raises:
        RequestError: the body is not JSON, or a field is missing, unknown or of the wrong type or value.
    """
    _require_few_containers(body)
    try:
        parsed = request.model_validate_json(body.removeprefix(BYTE_ORDER_MARK))
    except ValidationError as error:
        raise _refusal(error, body) from None
    unknown = next(iter(parsed.model_extra or ()), None)
    if unknown is not None:
        del parsed  # which the error's traceback would hold while another body is read
        raise refuse(f"the field {unknown[:80]!r} is unknown", "unknown_field", unknown[:80])
    return parsed


def kind_of(value: Any) -> str:
    """Name the type of a value of JSON."""
    names = {dict: "an object", bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return names[type(value)]


def most_containers(body: bytes) -> int:
    """Return a number that a body has no more lists and objects than, if it is to be parsed; texts may raise it."""
    return min(MOST_CONTAINERS, body.count(b"[") + body.count(b"{"))


def _require_few_containers(body: bytes) -> None:
    """Return if a body has few lists and objects; those that stand in its texts do not count.

    Raises:
        RequestError: it has many.
    """
    if most_containers(body) < MOST_CONTAINERS:
        return
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # so that each quote begins or ends a text
    found = (match for match in _STRINGS_AND_CONTAINERS.finditer(unescaped) if match[0] in (b"[", b"{"))
    if next(islice(found, MOST_CONTAINERS, None), None) is not None:
        message = f"the body has more than {MOST_CONTAINERS} lists and objects; send it in parts"
        raise refuse(message, "too_many_inputs")


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
    if first["type"] == "missing":
        return refuse(f"the field {name} is missing", "missing_field", name)
    message = first["msg"] if first["type"] == "input" else f"{name}: {first['msg']}"
    return refuse(message, "invalid_value", name)
