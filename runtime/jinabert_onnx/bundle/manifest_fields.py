"""Typed fields of decoded JSON: each is there and of its type, or the error names it.

Knows nothing of what they mean.
"""

from __future__ import annotations

from typing import Any, TypeVar

from jinabert_onnx.errors import BundleError

_LARGEST_NUMBER = 1 << 53

_Kind = TypeVar("_Kind")


def take(content: Any, name: str, kind: type[_Kind], where: str) -> _Kind:
    """Return the field `name` of an object, which must be of this kind; `where` begins the message of a BundleError."""
    value = content.get(name) if isinstance(content, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise BundleError(f"{where}: field {name!r} is missing or not a {kind.__name__}; export the bundle again")
    if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        raise BundleError(f"{where}: field {name!r} is an impossible number; export the bundle again")
    return value


def optional_string(content: dict[str, Any], name: str, where: str) -> str | None:
    """Return a string, or None where the field is null or missing."""
    return None if content.get(name) is None else take(content, name, str, where)


def strings(content: dict[str, Any], name: str, where: str) -> dict[str, str]:
    """Return the object `content`, the field `name`, whose values must all be strings."""
    return {key: take(content, key, str, f"{where}: {name}") for key in content}
