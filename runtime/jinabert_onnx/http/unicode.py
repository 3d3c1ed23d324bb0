"""Text in a request's JSON that is not valid Unicode: an escape can write half of a surrogate pair, no character.

Parsers refuse the whole body for it, at some column; this module finds the field and the item that it stands in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # of whole pairs too


def find_lone_surrogate(body: bytes) -> tuple[str | None, str] | None:
    """Return the first field with a lone surrogate (None if in a field's name), and a message that says where.

    Return None if no field has one, or the body is wrong in another way.
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
            for place, text in _texts_of(value, name[:80]):
                if (position := _first_surrogate(text)) is not None:
                    return name[:80], (
                        f"{place} is not valid Unicode: lone surrogate at character {position}; write a character "
                        "beyond \\uffff as both its surrogates, or as UTF-8"
                    )
    except (ValueError, RecursionError):  # no JSON, or nested deeper than anything that is meant
        return None
    return None


def _texts_of(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Every text of a value, names of fields included, and where it stands."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts_of(item, f"{place}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield f"the name of a field of {place}", name
            yield from _texts_of(item, f"{place}.{name[:80]}")


def _first_surrogate(text: str) -> int | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return error.start
    return None
