"""What tells functions apart, the same in every process: their code, and what it reads.

Knows nothing of what a function is for.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

_PLAIN = (type(None), type(...), bool, int, float, complex, str, bytes)


def identity(function: Callable[..., object]) -> str | None:
    """64 hexadecimal digits of what `function` does, None where that cannot be told, as for objects with `__call__`.

    Functions, lambdas and `functools.partial` count with their code, their defaults, and the values of enclosing scopes
    and globals that they read; these must be plain values, patterns, collections or functions. What other modules
    define and a global names counts by its name.
    """
    try:
        description = _description(function, ())
    except (_UnknownError, RecursionError):
        return None
    return hashlib.sha256(repr(description).encode("utf-8")).hexdigest()


class _UnknownError(Exception):
    """A value about which nothing lasting can be said."""


def _description(value: object, around: tuple[FunctionType, ...]) -> object:
    """Text, or tuples of it. `around` are the functions that read the value, which it may name in turn."""
    if type(value) in _PLAIN:
        return repr(value)
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, re.Pattern):
        return "pattern", repr(value.pattern), value.flags
    if isinstance(value, BuiltinFunctionType):  # `len` of a module, or a method of an object
        return value.__name__, _description(value.__self__, around)
    if isinstance(value, FunctionType):
        return _function(value, around)
    if type(value) is functools.partial:
        value = ("partial", value.func, value.args, value.keywords)
    elif isinstance(value, CodeType):
        value = ("code", value.co_code, value.co_consts, value.co_names, value.co_varnames)
    return _collection(value, around)


def _collection(value: object, around: tuple[FunctionType, ...]) -> object:
    if type(value) in (set, frozenset):
        return type(value).__name__, sorted(repr(_description(part, around)) for part in value)  # type: ignore[attr-defined]
    if type(value) is dict:
        return "dict", [(_description(key, around), _description(part, around)) for key, part in value.items()]
    if type(value) in (list, tuple):
        return type(value).__name__, [_description(part, around) for part in value]  # type: ignore[attr-defined]
    raise _UnknownError


def _function(function: FunctionType, around: tuple[FunctionType, ...]) -> object:
    if function in around:
        return "around", around.index(function)
    try:
        enclosed = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError as error:  # nothing is in it yet
        raise _UnknownError from error
    read = [function.__code__, function.__defaults__, function.__kwdefaults__, enclosed, *_globals(function)]
    return function.__module__, function.__qualname__, _description(read, (*around, function))


def _globals(function: FunctionType) -> Iterator[object]:
    """The values that the code's names have in its module; an attribute of the same name comes along."""
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType | type) and value.__module__ != function.__module__:
            yield f"{value.__module__}.{value.__qualname__}"
        else:
            yield value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
