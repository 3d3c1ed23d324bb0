"""Texts to token ids, and a report of how each was read: whole, cut, or in windows.

Knows nothing of sessions and vectors.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import InputError, TruncationError, TruncationWarning
from jinabert_onnx.text.tokenizer import Tokenizer

from .results import TextReport
from .settings import Settings


@dataclass(frozen=True)
class TokenizedTexts:
    """Texts as token ids.

    Attributes:
        input_ids: int64 (tokens,) of each window; a text has one, but for those that "mean" reads in several.
        owners: (windows,), the text that each window is of.
        reports: one a text.
    """

    input_ids: list[NDArray[np.int64]]
    owners: NDArray[np.intp]
    reports: tuple[TextReport, ...]


def tokenize(
    tokenizer: Tokenizer, texts: Sequence[str], settings: Settings, *, count_dropped: bool = False, first: int = 0
) -> TokenizedTexts:
    """Tokenize, and cut what is too long as `settings.truncation` says; a warning is given two callers up.

    Without `count_dropped` a long text is cut before it is tokenized, and `dropped` is some number above 0. Messages
    count texts from `first`.

    Raises:
        TruncationError: a text is too long, and `truncation` is "error".
        InputError: a text is not valid Unicode.
    """
    exact = settings.truncation == "error" or (count_dropped and settings.truncation in ("warn", "head"))
    tokens = tokenizer([settings.prefix + text for text in texts], settings.max_length, count_dropped=exact)
    windows = [[ids] for ids in tokens.input_ids]
    reports = [
        TextReport(len(ids), dropped, None if cut is None else max(0, cut - len(settings.prefix)))
        for ids, dropped, cut in zip(tokens.input_ids, tokens.dropped, tokens.cuts, strict=True)
    ]
    _tell_of_cuts(texts, reports, settings, first)
    if settings.truncation in ("tail", "mean"):
        for index, report in enumerate(reports):
            if report.cut is not None:
                windows[index], reports[index] = _windows_of(tokenizer, texts[index], settings)
    owners = np.repeat(np.arange(len(texts)), [len(parts) for parts in windows])
    return TokenizedTexts([ids for parts in windows for ids in parts], owners, tuple(reports))


def _windows_of(tokenizer: Tokenizer, text: str, settings: Settings) -> tuple[list[NDArray[np.int64]], TextReport]:
    """Read the tail of a text that is too long, or all of it in windows; the prompt stands before each."""
    prompt = tokenizer.with_offsets(settings.prefix).ids  # (tokens,)
    room = settings.max_length - len(prompt)
    if room <= tokenizer.special_tokens:
        raise InputError(f"the prompt's {len(prompt)} tokens leave no room for text; use a larger max_length")
    begin = len(tokenizer.before)
    if settings.truncation == "tail":
        tokens = tokenizer([text], room, keep="tail")
        parts, dropped, cut = tokens.input_ids, tokens.dropped[0], tokens.cuts[0]
    else:
        (parts,), dropped, cut = tokenizer.split([text], room), 0, None
    read = sum(len(ids) - tokenizer.special_tokens for ids in parts) + len(prompt) + tokenizer.special_tokens
    windows = [np.concatenate((ids[:begin], prompt, ids[begin:])) for ids in parts]
    return windows, TextReport(read, dropped, cut, len(windows))


def _tell_of_cuts(texts: Sequence[str], reports: Sequence[TextReport], settings: Settings, start: int) -> None:
    """Warn of texts that were cut, or refuse them, where the policy says so."""
    cut = [index for index, report in enumerate(reports) if report.cut is not None]
    if not cut or settings.truncation not in ("warn", "error"):
        return
    first, number = reports[cut[0]], start + cut[0]
    if settings.truncation == "error":
        raise TruncationError(
            f"text {number} has {first.tokens + first.dropped} tokens, {first.dropped} more than the limit of "
            f"{settings.max_length} ({len(cut)} of {len(reports)} texts are too long); shorten it, or choose another "
            "truncation than 'error'"
        )
    warnings.warn(
        f"{len(cut)} of {len(reports)} texts were cut to {settings.max_length} tokens (the first: text {number}, after "
        f"{first.cut} of {len(texts[cut[0]])} characters)",
        TruncationWarning,
        stacklevel=4,
    )
