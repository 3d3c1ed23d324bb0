"""Texts to ragged token ids, and how many tokens were cut off each.

Reads `tokenizer.json` alone: class names and settings in other files are never consulted, and no pad
token is ever used. Knows nothing of batches or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from .errors import BundleError, InputError, first_line


@dataclass(frozen=True)
class TokenizedTexts:
    """Per text: its token ids, int64 (tokens,), special tokens included, and the count of tokens cut off."""

    input_ids: list[NDArray[np.int64]]
    dropped: list[int]


class Tokenizer:
    """A `tokenizer.json` file, used without padding and with truncation by argument.

    Holds no mutable state, so several threads may call it with different lengths.
    """

    def __init__(self, path: Path) -> None:
        """Read the file at `path`.

        Raises:
            BundleError: the file is missing or not a tokenizer.
        """
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
        except Exception as error:  # the library raises bare Exception for malformed JSON
            raise BundleError(f"{path}: not a valid tokenizer.json ({first_line(error)})") from error
        # What the file says about padding and truncation is the taste of whoever saved it.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.special_tokens: int = self._tokenizer.num_special_tokens_to_add(False)

    @property
    def largest_id(self) -> int:
        """The largest token id that an input can get."""
        frame = self._tokenizer.encode("").ids  # the ids of the frame stand apart from the vocabulary
        return max([*self._tokenizer.get_vocab(with_added_tokens=True).values(), *frame], default=0)

    def __call__(self, texts: Sequence[str], max_length: int) -> TokenizedTexts:
        """Tokenize, keeping at most the first `max_length` tokens of each text, special tokens included.

        Raises:
            InputError: a text is not valid Unicode, or becomes no token at all.
        """
        room = max_length - self.special_tokens
        input_ids, dropped = [], []
        for index, encoding in enumerate(self._encode(texts)):
            dropped.append(max(0, len(encoding) - room))
            if len(encoding) > room:
                encoding.truncate(room)
            # Adds the special tokens around what is left.
            whole = self._tokenizer.post_process(encoding)
            if len(whole) == 0:
                raise InputError(f"text {index} becomes no tokens (this tokenizer adds no special ones); leave it out")
            input_ids.append(np.array(whole.ids, dtype=np.int64))
        return TokenizedTexts(input_ids, dropped)

    def _encode(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        try:
            return self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):
            for index, text in enumerate(texts):
                _require_unicode(text, index)
            raise


def _require_unicode(text: str, index: int) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"text {index} is not valid Unicode: lone surrogate at character {error.start}; decode it correctly"
        ) from error
