"""JSON to frozen dataclasses, strictly: every field must be there, of its type, and no other. Knows no class itself."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_TOO_LARGE = 1e30  # for any figure

_Kind = TypeVar("_Kind")


class DecodingError(ValueError):
    """The JSON is not of this class; says which field."""


def decode(kind: type[_Kind], content: object, where: str) -> _Kind:
    """`content`, as `json` gives it, as an object of the dataclass `kind`; `where` names it in messages.

    Fields may be int, float, str, bool, None, tuples and mappings of these, and dataclasses.

    Raises:
        DecodingError: a field is missing, unknown or of another type, or a number is not finite or absurdly large.
    """
    value = _decode(kind, content, where)
    assert isinstance(value, kind)
    return value


def _decode(kind: Any, content: object, where: str) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _object(kind, content, where)
    if origin in (Union, types.UnionType):
        options = [option for option in arguments if option is not type(None)]
        return None if content is None and len(options) < len(arguments) else _decode(options[0], content, where)
    if origin is tuple:
        return tuple(_decode(arguments[0], item, f"{where}[{n}]") for n, item in enumerate(_of(list, content, where)))
    if origin is not None and issubclass(origin, Mapping):
        items = _of(dict, content, where).items()
        return {str(name): _decode(arguments[1], item, f"{where}.{name}") for name, item in items}
    return _number_or_text(kind, content, where)


def _object(kind: Any, content: object, where: str) -> object:
    found = _of(dict, content, where)
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for name in found:
        if name not in names:
            raise DecodingError(f"{where}: unknown field {str(name)[:80]!r}")
    for name in names:
        if name not in found:
            raise DecodingError(f"{where}: field {name!r} is missing")
    return kind(**{name: _decode(hints[name], found[name], f"{where}.{name}") for name in names})


def _number_or_text(kind: Any, content: object, where: str) -> object:
    whole = kind is float and isinstance(content, int)
    value = _of(int if whole else kind, content, where)
    if isinstance(value, int | float) and not abs(value) < _TOO_LARGE:
        raise DecodingError(f"{where}: not a finite number, or too large for a figure")
    return float(value) if whole else value


def _of(kind: Any, content: object, where: str) -> Any:
    if not isinstance(content, kind) or (isinstance(content, bool) and kind is not bool):
        raise DecodingError(f"{where}: {type(content).__name__} in place of {kind.__name__}")
    return content
