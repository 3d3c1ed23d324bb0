"""Pairs of texts, and single ones, to the rows of token ids that a cross-encoder reads.

A pair that is too long loses tokens at the end of the longer text until it fits ("longest first"). Knows nothing of
models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jinabert_onnx.errors import BundleError

from .inputs import require_unicode
from .pair_frame import Ids, PairFrame
from .pairs import TextOrPair
from .tokenizer import Tokenizer


@dataclass(frozen=True)
class PairRow:
    """One input: token ids and token types, int64 (tokens,) with special tokens, and what was cut off.

    `kept` counts the tokens of each text that are left; `dropped` those cut off: where they were not to be counted, it
    is only 0 or some number above.
    """

    input_ids: Ids
    token_type_ids: Ids
    kept: tuple[int, ...]
    dropped: int


def tokenize_pairs(
    tokenizer: Tokenizer, pairs: Sequence[TextOrPair], max_length: int, count_dropped: bool = False
) -> list[PairRow]:
    """Tokenize pairs, each text once, keeping at most `max_length` tokens of each pair, special ones included.

    Args:
        tokenizer: of the bundle.
        pairs: pairs and single texts.
        max_length: more than a pair has special tokens.
        count_dropped: count the tokens that were cut off; else a long text is read no further than needed.

    Raises:
        InputError: a text is not valid Unicode; names the pair.
        BundleError: the tokenizer cannot join two texts.
    """
    texts: dict[str, int] = {}
    for index, given in enumerate(pairs):
        for text in (given,) if isinstance(given, str) else given:
            if text not in texts:
                require_unicode(text, f"pair {index}")
                texts[text] = len(texts)
    bare = tokenizer.bare(list(texts), None if count_dropped else max_length)
    rows = []
    for given in pairs:
        if isinstance(given, str):
            rows.append(_single(tokenizer, bare[texts[given]], max_length))
        else:
            first, second = (bare[texts[text]] for text in given)
            rows.append(_joined(require_pair_frame(tokenizer), first, second, max_length))
    return rows


def require_pair_frame(tokenizer: Tokenizer) -> PairFrame:
    """Return what the tokenizer puts around two texts.

    Raises:
        BundleError: its post-processor does more than add tokens around and between them.
    """
    if tokenizer.pair is None:
        raise BundleError(
            "tokenizer.json joins two texts by more than special tokens around them; export the bundle again with the "
            "checkpoint's own tokenizer"
        )
    return tokenizer.pair


def special_tokens_of(tokenizer: Tokenizer, pairs: bool) -> int:
    """Return how many special tokens a text has, or a pair.

    Raises:
        BundleError: the tokenizer cannot join two texts.
    """
    return require_pair_frame(tokenizer).special_tokens if pairs else tokenizer.special_tokens


def join(frame: PairFrame, first: Ids, second: Ids) -> tuple[Ids, Ids]:
    """Return token ids and token types, int64 (tokens,), of two texts whose ids have no special tokens."""
    ids = np.concatenate((frame.before, first, frame.between, second, frame.after))
    types = np.concatenate(
        (
            frame.types_before,
            np.full(len(first), frame.types_of_texts[0], dtype=np.int64),
            frame.types_between,
            np.full(len(second), frame.types_of_texts[1], dtype=np.int64),
            frame.types_after,
        )
    )
    return ids, types


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of two texts are kept where `room` fit: the longer one loses tokens until they do.

    Of two that both have more than half, each keeps half; the odd token is that of the longer, or of the second.
    """
    if first + second <= room:
        return first, second
    half = room // 2
    if min(first, second) <= half:
        return (first, room - first) if first <= second else (room - second, second)
    return (room - half, half) if first > second else (half, room - half)


def _single(tokenizer: Tokenizer, ids: Ids, max_length: int) -> PairRow:
    kept = ids[: max_length - tokenizer.special_tokens]
    row = np.concatenate((tokenizer.before, kept, tokenizer.after))
    return PairRow(row, np.zeros_like(row), (len(kept),), len(ids) - len(kept))


def _joined(frame: PairFrame, first: Ids, second: Ids, max_length: int) -> PairRow:
    kept = longest_first(len(first), len(second), max_length - frame.special_tokens)
    ids, types = join(frame, first[: kept[0]], second[: kept[1]])
    return PairRow(ids, types, kept, len(first) + len(second) - sum(kept))
