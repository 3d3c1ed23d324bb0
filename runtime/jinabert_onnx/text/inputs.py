"""Arguments of `encode`, checked and brought into one form. Every error names the argument or the text.

Knows nothing of tokens or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from pathlib import Path

from jinabert_onnx.errors import InputError, InputTypeError


def as_texts(sentences: object) -> list[str]:
    """Return a list of str from a str or any iterable of str.

    Raises:
        InputTypeError: neither, or an element is not a str; names its index.
    """
    return [as_text(text, index) for index, text in enumerate(as_stream(sentences))]


def as_text(text: object, index: int, name: str = "text") -> str:
    """Return a text, which is that of this index; `name` is what errors call it.

    Raises:
        InputTypeError: it is none.
    """
    if not isinstance(text, str):
        raise InputTypeError(f"{name} {index} is {type(text).__name__}, not str", index=index)
    return text


def as_stream(sentences: object, name: str = "sentences") -> Iterable[str]:
    """Return a str as a list of one, and any other iterable as it is, its elements not yet checked.

    `name` is what errors call the argument.

    Raises:
        InputTypeError: no iterable of texts, or a table or mapping, which would give the names of its columns.
    """
    if isinstance(sentences, str):
        return [sentences]
    message = f"{name} must be a str or an iterable of str, not {type(sentences).__name__}"
    if isinstance(sentences, Mapping) or _is_table(sentences):
        raise InputTypeError(f"{message}; pass one column or field as a list")
    if isinstance(sentences, bytes | bytearray) or not isinstance(sentences, Iterable):
        raise InputTypeError(message)
    return sentences


def require_unicode(text: str, name: str) -> None:
    """Refuse a text that cannot be written as UTF-8; `name` is what errors call it.

    Raises:
        InputError: it cannot.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} is not valid Unicode: lone surrogate at character {error.start}; decode it correctly"
        ) from error


def count_ahead(inputs: object, total: int | None) -> int | None:
    """Return how many inputs a stream will have: `total`, or the length of `inputs` if it has one.

    Raises:
        InputError, InputTypeError: `total` is no number of inputs.
    """
    if total is not None:
        return require_range("total", total, 0, None)
    return len(inputs) if isinstance(inputs, Sized) else None


def _is_table(value: object) -> bool:
    """Return whether the class has columns; an instance may have columns of any name, so it is not looked at."""
    return any(hasattr(type(value), name) for name in ("__dataframe__", "columns", "column_names"))


def is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8; of a file's name that is not, Python keeps the bytes as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def require_unicode_name(path: Path, reader: str) -> None:
    """Refuse a path that `reader`, a library that takes names as text, cannot open.

    Raises:
        InputError: its name is not UTF-8.
    """
    if not is_unicode(str(path)):
        raise InputError(f"{path}: its name is not UTF-8, and {reader} opens no such files; rename it")


def require_range(name: str, value: object, low: int, high: int | None) -> int:
    """Return `value` as an int from `low` to `high`, both allowed; `high` None is no upper bound.

    Raises:
        InputTypeError: not an integer.
        InputError: outside the range.
    """
    try:
        number = value.__index__()  # type: ignore[attr-defined]
    except AttributeError:
        raise InputTypeError(f"{name} is {type(value).__name__}, not int", argument=name) from None
    if number < low or (high is not None and number > high):
        limit = f"from {low} to {high}" if high is not None else f"at least {low}"
        raise InputError(f"{name} is {number}; it must be {limit}", argument=name)
    return int(number)


def choose_prompt(prompts: Mapping[str, str], default: str | None, name: str | None, prompt: str | None) -> str:
    """Return the text to put before every input: `prompt`, or the one called `name`, or the default's, or "".

    Raises:
        InputTypeError: one is not a str.
        InputError: both are given, or there is no prompt of that name.
    """
    for argument, value in (("prompt", prompt), ("prompt_name", name)):
        if value is not None and not isinstance(value, str):
            raise InputTypeError(f"{argument} is {type(value).__name__}, not str", argument=argument)
    if prompt is not None and name is not None:
        raise InputError("give prompt or prompt_name, not both")
    if prompt is not None:
        return prompt
    name = name if name is not None else default
    if name is None:
        return ""
    if name not in prompts:
        known = ", ".join(prompts) or "none"
        raise InputError(f"prompt_name {name!r} is unknown; this bundle's prompts: {known}", argument="prompt_name")
    return prompts[name]
