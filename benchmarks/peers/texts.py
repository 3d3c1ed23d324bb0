"""Texts of an exact number of tokens, and their token ids: words that the tokenizer reads as one token each.

Knows nothing of shapes or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers

CANDIDATES = 2000  # words looked at, drawn from the whole vocabulary
SHORTEST_WORD = 3  # characters


class Words:
    """Draws texts from the words of one `tokenizer.json`.

    Attributes:
        special_tokens: what the tokenizer puts around every text.
    """

    def __init__(self, tokenizer_file: Path) -> None:
        """Read the tokenizer and find its words.

        Raises:
            SystemExit: it has no words of one token.
        """
        self._tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_file))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.special_tokens = len(self._tokenizer.encode("").ids)
        self._words = self._find()
        if not self._words:
            raise SystemExit(f"{tokenizer_file} has no words that are one token each: no texts of exact lengths")

    def text(self, tokens: int, generator: np.random.Generator) -> str:
        """A text of `tokens` tokens, special ones included.

        Raises:
            SystemExit: the tokenizer joins or splits words by their neighbours.
        """
        words = generator.choice(self._words, size=tokens - self.special_tokens)
        text = " ".join(words)
        if len(self.ids(text)) != tokens:
            raise SystemExit("this tokenizer reads a word differently among others: no texts of exact lengths")
        return text

    def ids(self, text: str) -> Sequence[int]:
        """The text's token ids, special ones included."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def _find(self) -> list[str]:
        """Lower-case ASCII words, in an order that does not change."""
        vocabulary = sorted(word.strip("▁Ġ") for word in self._tokenizer.get_vocab())
        plain = [word for word in dict.fromkeys(vocabulary) if word.isascii() and word.isalpha() and word.islower()]
        long = np.array([word for word in plain if len(word) >= SHORTEST_WORD])
        drawn = np.random.default_rng(0).permutation(long)[:CANDIDATES].tolist()
        return [word for word in drawn if self._is_one_token(word)]

    def _is_one_token(self, word: str) -> bool:
        return len(self._tokenizer.encode(f"{word} {word} {word}", add_special_tokens=False).ids) == 3
