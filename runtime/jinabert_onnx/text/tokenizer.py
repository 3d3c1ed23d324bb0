"""Texts to ragged token ids; where each was cut; windows over a whole text; tokens with their characters.

Reads `tokenizer.json` alone: class names and settings in other files are never consulted, and no pad
token is ever used. Knows nothing of batches or models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import BundleError, InputError, first_line
from jinabert_onnx.foreign_errors import is_from, is_from_reading

from .boundaries import find_boundaries, prefix_length
from .inputs import require_unicode
from .pair_frame import find_pair_frame

if TYPE_CHECKING:
    import tokenizers

# First guess of how many characters of a text must be read; few texts have more of them per token.
CHARACTERS_PER_TOKEN = 8


@dataclass(frozen=True)
class TokenizedTexts:
    """Per text: its token ids, int64 (tokens,), special tokens included, and what was cut off.

    `dropped` counts the tokens cut off; where they were not to be counted, it is only 0 or some number above.
    `cuts` is None for a text that is whole, else a position in its characters. With the head kept, text[:cut]
    was read; with the tail kept, text[cut:]. A character of several tokens counts as read if any of them was.
    """

    input_ids: list[NDArray[np.int64]]
    dropped: list[int]
    cuts: list[int | None]


@dataclass(frozen=True)
class PlacedTokens:
    """A whole text's tokens without special ones, and the characters text[start:end] that each stands for.

    All int64 (tokens,). Surrounding white space is left out, so a token of white space has no characters; those
    that a normalizer composed with the one before, or removed, go with the token before. A character of several
    tokens belongs to each of them. Neither starts nor ends ever decrease.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


class Tokenizer:
    """A `tokenizer.json` file, used without padding and with truncation by argument.

    Holds no mutable state, so several threads may call it with different lengths.

    Attributes:
        before, after: ids of the special tokens around a text, int64.
        special_tokens: how many these are.
        pair: what it puts around the texts of a pair; None where its post-processor does more than that.
        largest_id: the largest token id that an input can get.
    """

    def __init__(self, path: Path) -> None:
        """Read the file at `path`.

        Raises:
            BundleError: the file is missing or not a tokenizer.
        """
        import tokenizers  # here, where onnxruntime works meanwhile

        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(path.read_bytes().decode("utf-8"))
            # The file's padding and truncation are the settings of whoever saved it.
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            text = next(_texts_with_tokens(self._tokenizer), None)
            frame = _find_frame(self._tokenizer, text)
            self.pair = find_pair_frame(self._tokenizer, text)
            self._boundaries = find_boundaries(self._tokenizer)
        except OSError as error:
            if not is_from_reading(error):
                raise
            raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
        except Exception as error:  # the library raises bare Exception for malformed JSON
            if not is_from("tokenizers", error):
                raise
            raise BundleError(f"{path}: not a valid tokenizer.json ({first_line(error)})") from error
        # The frame is all that its post-processor adds, and some also move offsets, not always rightly.
        self._tokenizer.post_processor = None
        self.before, self.after = (np.array(ids, dtype=np.int64) for ids in frame)
        self.special_tokens: int = len(self.before) + len(self.after)
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True).values()
        self.largest_id: int = max(chain(vocabulary, *frame), default=0)

    def __call__(
        self,
        texts: Sequence[str],
        max_length: int,
        keep: Literal["head", "tail"] = "head",
        count_dropped: bool = True,
    ) -> TokenizedTexts:
        """Tokenize, keeping at most `max_length` tokens of each text, special tokens included.

        Args:
            texts: any texts.
            max_length: more than `special_tokens`.
            keep: which end of a longer text to keep.
            count_dropped: count the tokens that were cut off. Without that, a text whose head is kept
                is read only as far as the tokenizer allows; the tokens kept are the same.

        Raises:
            InputError: a text is not valid Unicode, or becomes no token at all.
        """
        _require_unicode(texts)
        room = max_length - self.special_tokens
        read_heads = keep == "head" and not count_dropped
        encodings = self._encode_heads(texts, room, self._encode) if read_heads else self._encode(texts)
        dropped = [max(0, len(encoding) - room) for encoding in encodings]
        input_ids = []
        for index, encoding in enumerate(encodings):
            first = dropped[index] if keep == "tail" else 0
            input_ids.append(self._frame(encoding.ids[first : first + room], index))
        return TokenizedTexts(input_ids, dropped, self._find_cuts(texts, dropped, room, keep))

    def bare(self, texts: Sequence[str], room: int | None = None) -> list[NDArray[np.int64]]:
        """Tokenize without special tokens: int64 (tokens,) a text.

        Of a text of more than `room` tokens at least the first `room` + 1 are given, and perhaps no more.

        Raises:
            InputError: a text is not valid Unicode.
        """
        _require_unicode(texts)
        encodings = self._encode(texts) if room is None else self._encode_heads(texts, room, self._encode)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def cut_after(self, text: str, tokens: int) -> int:
        """Return the character after which the first `tokens` of a text's tokens, special ones left out, end."""
        (encoding,) = self._encode_heads([text], tokens, self._encode_with_offsets)
        return int(_places(text, encoding.offsets[: tokens + 1])[1][tokens - 1]) if tokens else 0

    def count(self, text: str) -> int:
        """Count the tokens of a text, special ones left out."""
        (encoding,) = self._encode([text])
        return len(encoding)

    def pieces(self, text: str, size: int) -> Iterator[str]:
        """Yield a text in consecutive pieces of at least `size` characters, cut where no token crosses.

        The first one's tokens are the first tokens of the whole. Where there is no place to cut, a piece is longer.
        """
        start = 0
        while start < len(text):
            match = self._boundaries.search(text, start + size - 1) if self._boundaries else None
            end = match.end() if match else len(text)
            yield text[start:end]
            start = end

    def split(self, texts: Sequence[str], max_length: int) -> list[list[NDArray[np.int64]]]:
        """Split each text into consecutive windows of at most `max_length` tokens, special tokens around each included.

        Together the windows of a text hold every token once, in order; their sizes differ by at most one.
        An empty text is one window of the special tokens.

        Raises:
            InputError: a text is not valid Unicode, or becomes no token at all.
        """
        _require_unicode(texts)
        room = max_length - self.special_tokens
        windows = []
        for index, encoding in enumerate(self._encode(texts)):
            parts = np.array_split(np.array(encoding.ids, dtype=np.int64), max(1, -(-len(encoding) // room)))
            windows.append([self._frame(part, index) for part in parts])
        return windows

    def with_offsets(self, text: str) -> PlacedTokens:
        """Tokenize the whole text without special tokens, with the characters that each token stands for.

        Raises:
            InputError: the text is not valid Unicode.
        """
        _require_unicode([text])
        encoding = self._encode_with_offsets([text])[0]
        starts, ends = _places(text, encoding.offsets)
        return PlacedTokens(np.array(encoding.ids, dtype=np.int64), starts, ends)

    def _encode(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        return self._checked(self._tokenizer.encode_batch_fast, texts)

    def _encode_with_offsets(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        return self._checked(self._tokenizer.encode_batch, texts)

    def _checked(
        self, encode: Callable[..., list[tokenizers.Encoding]], texts: Sequence[str]
    ) -> list[tokenizers.Encoding]:
        try:
            return encode(list(texts), add_special_tokens=False)
        except Exception as error:  # the library raises bare Exception where the file lacks the token for the unknown
            if not is_from("tokenizers", error):
                raise
            raise BundleError(
                f"tokenizer.json cannot tokenize this text ({first_line(error)}); export the bundle again"
            ) from error

    def _encode_heads(
        self, texts: Sequence[str], room: int, encode: Callable[[Sequence[str]], list[tokenizers.Encoding]]
    ) -> list[tokenizers.Encoding]:
        """Encode as much of each text as gives more than `room` tokens, or all of it.

        One token more than is kept shows that the text is really longer: what follows may become none.
        """
        lengths = [prefix_length(text, CHARACTERS_PER_TOKEN * room, self._boundaries) for text in texts]
        encodings = encode([text[:length] for text, length in zip(texts, lengths, strict=True)])
        too_short = list(range(len(texts)))
        while too_short := [i for i in too_short if len(encodings[i]) <= room and lengths[i] < len(texts[i])]:
            for i in too_short:  # 4, so that all the attempts together cost a third of the last at most
                lengths[i] = prefix_length(texts[i], 4 * lengths[i], self._boundaries)
            for i, encoding in zip(too_short, encode([texts[i][: lengths[i]] for i in too_short]), strict=True):
                encodings[i] = encoding
        return encodings

    def _find_cuts(
        self, texts: Sequence[str], dropped: list[int], room: int, keep: Literal["head", "tail"]
    ) -> list[int | None]:
        # Offsets cost time: only texts that were cut get them, and no more of each than necessary.
        cuts: list[int | None] = [None] * len(texts)
        indices = [index for index, count in enumerate(dropped) if count]
        longer = [texts[index] for index in indices]
        if keep == "head":
            for index, encoding in zip(
                indices, self._encode_heads(longer, room, self._encode_with_offsets), strict=True
            ):
                cuts[index] = int(_places(texts[index], encoding.offsets[: room + 1])[1][room - 1])
        else:
            for index, encoding in zip(indices, self._encode_with_offsets(longer), strict=True):
                cuts[index] = int(_places(texts[index], encoding.offsets[-room:])[0][0])
        return cuts

    def _frame(self, ids: list[int] | NDArray[np.int64], index: int) -> NDArray[np.int64]:
        if len(ids) + self.special_tokens == 0:
            raise InputError(f"text {index} becomes no tokens (this tokenizer adds no special ones); leave it out")
        return np.concatenate((self.before, np.asarray(ids, dtype=np.int64), self.after))


def _find_frame(tokenizer: tokenizers.Tokenizer, text: str | None) -> tuple[list[int], list[int]]:
    """Find the ids that the post-processor puts before and after a text, by the first text that has a token."""
    if text is None:
        return tokenizer.encode("").ids, []
    whole, tokens = tokenizer.encode(text), tokenizer.encode(text, add_special_tokens=False).ids
    content = [i for i, sequence in enumerate(whole.sequence_ids) if sequence is not None]
    before, after = whole.ids[: content[0]], whole.ids[content[-1] + 1 :]
    if before + tokens + after != whole.ids:
        raise ValueError("its post-processor does more than add tokens before and after a text")
    return before, after


def _texts_with_tokens(tokenizer: tokenizers.Tokenizer) -> Iterator[str]:
    def has_tokens(text: str) -> bool:
        return bool(tokenizer.encode(text, add_special_tokens=False).ids)

    if has_tokens("a"):
        yield "a"  # mostly enough; reading the vocabulary takes as long as the rest of loading
    yield from filter(has_tokens, tokenizer.get_vocab())


def _places(text: str, offsets: Sequence[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Turn the library's offsets into starts and ends in characters, int64 (tokens,), by `PlacedTokens`' rules."""
    places = []
    for (start, end), (limit, _) in pairwise([*offsets, (len(text), len(text))]):
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        while end < limit and not text[end].isspace():
            end += 1
        places.append((start, end))
    starts, ends = np.array(places, dtype=np.int64).reshape(-1, 2).T  # (2, tokens)
    # Normalizers may swap marks; the order of tokens counts.
    return np.minimum.accumulate(starts[::-1])[::-1], np.maximum.accumulate(ends)


def _require_unicode(texts: Sequence[str]) -> None:
    # All of every text, though only the head may be tokenized: an error must not depend on the length kept.
    for index, text in enumerate(texts):
        require_unicode(text, f"text {index}")
