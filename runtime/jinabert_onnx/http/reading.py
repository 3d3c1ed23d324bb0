"""Texts of a request to rows of token ids, in memory that is bounded whatever the texts are.

A tokenizer takes up to a kilobyte a character of what it reads at once, so that one body of megabytes could take
gigabytes. Here it reads a bounded piece at a time, and stops when there is too much. Rows are those of reading whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.encoding.settings import Settings
from jinabert_onnx.encoding.tokenized import tokenize
from jinabert_onnx.text.tokenizer import Tokenizer

from .parsing import most_containers
from .problems import RequestError, refuse

_PIECE = 16_384  # characters that are counted at a time
_UNBROKEN = 65_536  # most characters between two places where a text can be cut
PER_TOKEN = 32  # most characters a token, on average, of a text that is read up to the limit
_TOGETHER = 65_536  # characters of texts that are read at a time
MOST_WHOLE = 262_144  # characters of a text that is read whole
# Bytes of memory: for one of a body as JSON, for a list or object, field or item of it, and for one that the tokenizer
# is reading.
_PER_BYTE, _PER_ITEM, _PER_READ = 4, 400, 500


@dataclass(frozen=True)
class Bounds:
    """How many tokens a request may have (None: as many as there are), and whether longer texts are cut."""

    max_tokens: int | None
    truncate: bool


def reading_memory(body: bytes) -> int:
    """Return the most bytes of memory that a request's body takes while it is read: as JSON, and by the tokenizer."""
    together = MOST_WHOLE if body.isascii() else 4 * MOST_WHOLE  # bytes of characters
    items = most_containers(body) + body.count(b",")
    return _PER_BYTE * len(body) + _PER_ITEM * items + _PER_READ * min(len(body), together)


def read_texts(model: LoadedModel, texts: Sequence[str], settings: Settings, bounds: Bounds) -> list[NDArray[np.int64]]:
    """Return one row of token ids a text, cut where it is too long.

    Raises:
        RequestError: a text is too long and is not to be cut, or all together are.
    """
    rows: list[NDArray[np.int64]] = []
    tokens = 0
    for first, group in groups_of(texts):
        names = [f"input[{first + index}]" for index in range(len(group))]
        heads = [
            head_of(model.tokenizer, text, name, settings.max_length) for text, name in zip(group, names, strict=True)
        ]
        tokenized = tokenize(model.tokenizer, heads, settings)
        for index, (text, report) in enumerate(zip(group, tokenized.reports, strict=True)):
            require_words(report.cut is not None or len(heads[index]) == len(text), text, names[index])
            if report.cut is not None and not bounds.truncate:
                raise _too_long(model.tokenizer, text, first + index, settings, bounds)
        rows += tokenized.input_ids
        tokens += sum(map(len, tokenized.input_ids))
        require_tokens(tokens, bounds.max_tokens)
    return rows


def head_of(tokenizer: Tokenizer, text: str, name: str, tokens: int) -> str:
    """Return as much of a text as holds more than so many tokens, unless it is of hardly any words.

    Raises:
        RequestError: it has no places where it can be cut.
    """
    wanted = max(PER_TOKEN * tokens, 2 * _UNBROKEN)
    head = text if len(text) <= wanted else next(tokenizer.pieces(text, wanted))
    _require_places(tokenizer, head, name)
    return head


def require_words(enough: bool, text: str, name: str) -> None:
    """Return if the head of a text had `enough` tokens.

    Raises:
        RequestError: it had not.
    """
    if not enough:
        message = f"{name} has {len(text)} characters and hardly any words; split it"
        raise refuse(message, "unreadable_text", _field(name))


def require_count(count: int, most: int, what: str, param: str) -> None:
    """Return if a request may have so many texts or documents.

    Raises:
        RequestError: it may not.
    """
    if count > most:
        message = f"{count} {what} are more than the {most} that a request may have; send them in parts"
        raise refuse(message, "too_many_inputs", param)


def require_tokens(tokens: int, most: int | None, param: str = "input") -> None:
    """Return if a request may have so many tokens.

    Raises:
        RequestError: it may not.
    """
    if most is not None and tokens > most:
        message = f"the input has {tokens} tokens or more, and a request may have at most {most}; send it in parts"
        raise refuse(message, "too_many_tokens", param)


def require_whole(tokenizer: Tokenizer, text: str, name: str, advice: str = "send it in parts") -> None:
    """Return if a text can be read whole.

    Raises:
        RequestError: it is too long, or has no places where it can be cut.
    """
    if len(text) > MOST_WHOLE:
        message = f"{name} has {len(text)} characters, and {MOST_WHOLE} are the most that are read whole; {advice}"
        raise refuse(message, "too_many_characters", _field(name))
    _require_places(tokenizer, text, name)


def too_long(index: int, tokens: int, limit: int, more: bool = False) -> RequestError:
    """Return the refusal of a text of so many tokens, or of `more`."""
    number = f"{tokens} tokens or more, " if more else f"{tokens} tokens, "
    message = f"input[{index}] has {number}{tokens - limit} more than the limit of {limit}"
    return refuse(f"{message}; shorten it, or set truncate to true", "context_length_exceeded", "input")


def groups_of(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield texts that are read together, and the index of the first."""
    first, group, size = 0, list[str](), 0
    for index, text in enumerate(texts):
        if group and size + len(text) > _TOGETHER:
            yield first, group
            first, group, size = index, [], 0
        group.append(text)
        size += len(text)
    yield first, group


def _require_places(tokenizer: Tokenizer, text: str, name: str) -> None:
    """Return if a text can be cut here and there, so that no piece of it is long.

    Raises:
        RequestError: it cannot.
    """
    if len(text) <= _PIECE + _UNBROKEN:
        return
    longest = max(map(len, tokenizer.pieces(text, _PIECE)))
    if longest > _PIECE + _UNBROKEN:
        message = f"{name} has {longest} characters without a place to cut them, such as the end of a word; split it"
        raise refuse(message, "unreadable_text", _field(name))


def _field(name: str) -> str:
    """Return the field of a request that a text's name, such as input[3], begins with."""
    return name.partition("[")[0]


def _too_long(tokenizer: Tokenizer, text: str, index: int, settings: Settings, bounds: Bounds) -> RequestError:
    most = max(bounds.max_tokens or 0, 8 * settings.max_length)
    tokens, more = count_tokens(tokenizer, settings.prefix + text, most)
    return too_long(index, tokens + tokenizer.special_tokens, settings.max_length, more)


def count_tokens(tokenizer: Tokenizer, text: str, most: int, size: int = _PIECE) -> tuple[int, bool]:
    """Count the tokens of a text, special ones left out, and say whether it has more that were not counted.

    It is read in pieces of about `size` characters, and no further than to `most` tokens.
    """
    tokens, before = 0, ""
    for piece in tokenizer.pieces(text, size):
        if tokens > most or (tokens and len(piece) > size + _UNBROKEN):
            return tokens, True
        # With the character before it, since what stands at the beginning of a text may become other tokens.
        tokens += tokenizer.count(before + piece) - (tokenizer.count(before) if before else 0)
        before = piece[-1]
    return tokens, False
