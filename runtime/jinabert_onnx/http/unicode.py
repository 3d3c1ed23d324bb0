"""Text in a request's JSON that is not valid Unicode: an escape can write half of a surrogate pair, no character.

Parsers refuse the whole body for it, at some column; this module finds the field and the item that it stands in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # of whole pairs too
_DEPTH = 2  # of lists and objects in a field: no field that is known has more


def find_lone_surrogate(body: bytes) -> tuple[str | None, str] | None:
    """Return the first field with a lone surrogate (None if in a field's name), and a message that says where.

    Return None if no field has one, or the body is wrong in another way. What is nested deeper than any known field is
    not looked into: the work grows with the bytes alone.
    """
    if _SURROGATE.search(body) is None:
        return None
    try:
        fields = json.loads(body)
        if not isinstance(fields, dict):
            return None
        for name, value in fields.items():
            if _first_surrogate(name) is not None:
                return None, "the name of a field is not valid Unicode: it holds a lone surrogate"
            for place, text in _texts_of(value, name[:80], _DEPTH):
                if (position := _first_surrogate(text)) is not None:
                    return name[:80], (
                        f"{place} is not valid Unicode: lone surrogate at character {position}; write a character "
                        "beyond \\uffff as both its surrogates, or as UTF-8"
                    )
    except (ValueError, RecursionError):  # no JSON, or nested deeper than anything that is meant
        return None
    return None


def _texts_of(value: object, place: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield where each text of a value stands, names of fields included, and the text, down to `depth` levels."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list) and depth:
        for index, item in enumerate(value):
            yield from _texts_of(item, f"{place}[{index}]", depth - 1)
    elif isinstance(value, dict) and depth:
        for name, item in value.items():
            yield f"the name of a field of {place}", name
            yield from _texts_of(item, f"{place}.{name[:80]}", depth - 1)


def _first_surrogate(text: str) -> int | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None
