"""JSON to frozen dataclasses: every field of its type, and no other. Knows no class itself."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

_TOO_LARGE = 1e30  # for any figure


def decode(kind: Any, content: Any) -> Any:
    """Return `content`, as `json` gives it, as an object of the dataclass `kind`.

    Fields may be int, float, str, bool, None, tuples and mappings of these, and dataclasses.

    Raises:
        TypeError, ValueError, KeyError, AttributeError: a field is missing, unknown or of another type, or a number is
            not finite or absurdly large.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: decode(hints[name], value) for name, value in content.items()})  # type: ignore[operator]
    if origin in (Union, types.UnionType):
        return None if content is None else decode(arguments[0], content)
    if origin is tuple:
        return tuple(decode(arguments[0], item) for item in content)
    if origin is Mapping:
        return {name: decode(arguments[1], item) for name, item in content.items()}
    value = float(content) if kind is float and type(content) is int else content
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}: {str(value)[:80]!r}")
    if kind in (int, float) and not abs(value) < _TOO_LARGE:
        raise ValueError("a number is not finite, or too large")
    return value
