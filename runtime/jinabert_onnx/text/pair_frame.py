"""What a tokenizer puts around and between the two texts of a pair. Knows nothing of lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tokenizers

Ids = NDArray[np.int64]  # (tokens,)


@dataclass(frozen=True)
class PairFrame:
    """Special tokens around and between two texts, by id and by token type, and the types of the texts' own tokens."""

    before: Ids
    between: Ids
    after: Ids
    types_before: Ids
    types_between: Ids
    types_after: Ids
    types_of_texts: tuple[int, int]

    @property
    def special_tokens(self) -> int:
        """Return how many special tokens a pair has."""
        return len(self.before) + len(self.between) + len(self.after)


def find_pair_frame(tokenizer: tokenizers.Tokenizer, text: str | None) -> PairFrame | None:
    """Find what the post-processor puts around two texts, with a `text` that has a token.

    None where there is no such text, or the post-processor does more than add tokens around and between.
    """
    if text is None:
        return None
    tokens, whole = tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.encode(text, text)
    content = [(i, sequence) for i, sequence in enumerate(whole.sequence_ids) if sequence is not None]
    count = len(tokens)
    if [sequence for _, sequence in content] != [0] * count + [1] * count:
        return None
    first, second = ([i for i, sequence in content if sequence == which] for which in (0, 1))
    if any(whole.ids[places[0] : places[-1] + 1] != tokens for places in (first, second)):
        return None
    before, between, after = slice(first[0]), slice(first[-1] + 1, second[0]), slice(second[-1] + 1, None)
    ids, types = (np.array(values, dtype=np.int64) for values in (whole.ids, whole.type_ids))
    of_texts = int(types[first[0]]), int(types[second[0]])
    return PairFrame(ids[before], ids[between], ids[after], types[before], types[between], types[after], of_texts)
