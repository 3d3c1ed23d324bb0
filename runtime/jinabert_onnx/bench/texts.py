"""Texts, and pairs of them, of an exact number of tokens: of a bundle's own vocabulary, counted by its own tokenizer.

Words are drawn as natural text has them: the n-th of the vocabulary about 1/n as often as the first. Knows nothing of
models or times.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from jinabert_onnx.bundle.manifest import TOKENIZER
from jinabert_onnx.errors import BundleError, InputError
from jinabert_onnx.text.pair_tokenizer import require_pair_frame
from jinabert_onnx.text.tokenizer import Tokenizer

_WORDS = 4000  # most words to draw from
_CANDIDATES = 12_000  # entries of the vocabulary that are looked at for them
_MARKS = ("Ġ", "▁", "</w>")  # how tokenizers write the border of a word inside a token
_FLATTENING = 10.0  # the most frequent words are not quite as frequent as 1/n has them
_ATTEMPTS = 50  # tokens of neighbours may join; so many corrections of a text's length are more than enough
_LONGEST = 1 << 40  # tokens: count, do not cut
QUERY_TOKENS = 16  # of the query of a pair; people ask in few words


class TextMaker:
    """Makes texts of so many tokens, special ones included."""

    def __init__(self, bundle: Path) -> None:
        """Read the tokenizer of the bundle at `bundle`, and choose words.

        Raises:
            BundleError: it cannot be read, or no word of its vocabulary is one token in a text.
        """
        self.tokenizer = Tokenizer(bundle / TOKENIZER)
        self._words = self._choose_words(_entries(bundle / TOKENIZER))
        if not self._words:
            raise BundleError(f"{bundle / TOKENIZER}: no entry is one token in a text; no texts can be made of it")
        weights = 1 / (np.arange(len(self._words)) + _FLATTENING)
        self._weights: NDArray[np.float64] = weights / weights.sum()

    @property
    def shortest(self) -> int:
        """Return tokens of the shortest text: one word and the special tokens."""
        return self.tokenizer.special_tokens + 1

    def make(self, length: int, generator: np.random.Generator) -> str:
        """Return a text of exactly `length` tokens.

        Raises:
            InputError: shorter than `shortest`.
            BundleError: this tokenizer joins words in a way that no text of that length was found.
        """
        if length < self.shortest:
            raise InputError(f"length {length} is too short; the shortest text has {self.shortest} tokens")
        words = self._draw(length - self.tokenizer.special_tokens, generator)
        for _ in range(_ATTEMPTS):
            missing = length - self.count([" ".join(words)])[0]
            if missing == 0:
                return " ".join(words)
            words = words[: len(words) + min(missing, 0)] + self._draw(max(missing, 0), generator)
        raise BundleError(f"no text of {length} tokens could be made with this tokenizer; give another --length")

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return tokens of each text, special ones included."""
        return [len(ids) for ids in self.ids(texts)]

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the token ids of each text (tokens,), special ones included."""
        return self.tokenizer(texts, _LONGEST).input_ids

    def _draw(self, count: int, generator: np.random.Generator) -> list[str]:
        return [self._words[index] for index in generator.choice(len(self._words), size=count, p=self._weights)]

    def _choose_words(self, entries: Sequence[str]) -> list[str]:
        """Return those of `entries` that add one token to a text when they are between others."""
        if not entries:
            return []
        alone = [" ".join([entry] * 2) for entry in entries]
        more = [" ".join([entry] * 3) for entry in entries]
        counts = zip(entries, self.count(alone), self.count(more), strict=True)
        return [entry for entry, two, three in counts if three - two == 1][:_WORDS]


class PairMaker:
    """Makes pairs of a query and a document, which together have so many tokens, special ones included."""

    def __init__(self, bundle: Path) -> None:
        """Read the tokenizer of the bundle at `bundle`, and choose words.

        Raises:
            BundleError: what `TextMaker` raises, or the tokenizer cannot join two texts.
        """
        self._texts = TextMaker(bundle)
        self._special_tokens = require_pair_frame(self._texts.tokenizer).special_tokens

    @property
    def shortest(self) -> int:
        """Return tokens of the shortest pair: two words and the special tokens."""
        return self._special_tokens + 2

    def make(self, length: int, generator: np.random.Generator) -> tuple[str, str]:
        """Return a pair of exactly `length` tokens; the query has half of them at most.

        Raises:
            InputError: shorter than `shortest`.
            BundleError: this tokenizer joins words in a way that no text of a length was found.
        """
        if length < self.shortest:
            raise InputError(f"length {length} is too short; the shortest pair has {self.shortest} tokens")
        words = length - self._special_tokens
        query = min(QUERY_TOKENS, words // 2)
        around = self._texts.tokenizer.special_tokens  # what a text has when it is alone
        return self._texts.make(query + around, generator), self._texts.make(words - query + around, generator)


def _entries(path: Path) -> list[str]:
    """Return what could be words in the vocabulary, most frequent first: ids are given in that order."""
    vocabulary = tokenizers.Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=False)
    entries = [_bare(entry) for entry in sorted(vocabulary, key=lambda entry: vocabulary[entry])]
    words = list(dict.fromkeys(entry for entry in entries if len(entry) > 1 and entry.isalpha()))
    return (words or list(dict.fromkeys(entry for entry in entries if entry.isalnum())))[:_CANDIDATES]


def _bare(entry: str) -> str:
    for mark in _MARKS:
        entry = entry.removeprefix(mark).removesuffix(mark)
    return entry
