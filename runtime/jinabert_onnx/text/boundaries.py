"""The part of a long text that must be read for its first tokens: up to a boundary that no token crosses.

At such a boundary the tokens of text[:boundary] are exactly the first tokens of the whole text. That holds for
the kinds of component listed here, each for a reason; for any other, texts are read whole. Knows nothing of ids.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers

# None of these joins or reorders characters across a boundary below: what follows a boundary is white space
# or a letter that no composition takes, and starts a new sequence in every normal form.
LOCAL_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents"}

# All split between a word and white space. Those that drop white space do not care how much of it follows.
# ByteLevel's expression looks ahead from white space only, and the character before a boundary is none.
LOCAL_PRE_TOKENIZERS = {"BertPreTokenizer", "ByteLevel", "Whitespace", "WhitespaceSplit"}

# These see one piece of the pre-tokenizer at a time.
LOCAL_MODELS = {"BPE", "WordLevel", "WordPiece"}

# A word or ASCII punctuation before white space. Left out are letters that compatibility forms turn into marks,
# or into white space with marks (Greek ypogegrammeni, Arabic presentation forms, halfwidth voiced sound marks):
# StripAccents would lay bare the white space before the boundary.
WORD_ENDS = r"[\w!-/:-@\[-`{-~](?<![\u037a\ufb50-\ufdff\ufe70-\ufeff\uff9e\uff9f])(?=[ \t\n\r\u3000])"

# Chinese and Japanese punctuation before an ideograph or kana: scripts that hold no white space.
STOPS = "、。！，：；？"
STOP_ENDS = f"[{STOPS}](?=[\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fa5])"


def find_boundaries(tokenizer: tokenizers.Tokenizer) -> re.Pattern[str] | None:
    """Return the expression whose matches end at a boundary, or None where this tokenizer guarantees none."""
    normalizers = [part["type"] for part in _parts(tokenizer.normalizer, "normalizers")]
    splitters = _parts(tokenizer.pre_tokenizer, "pretokenizers")
    if not splitters or not _is_local(tokenizer, normalizers, splitters):
        return None
    # Added tokens are found before any splitting, the longest first, and may look at what stands beside them.
    added = _added_texts(tokenizer)
    if any(character.isspace() for character in added):
        return None
    stops = set(STOPS + unicodedata.normalize("NFKC", STOPS))
    if splitters[0]["type"] == "WhitespaceSplit" or stops & set(added):
        return re.compile(WORD_ENDS)
    return re.compile(f"{WORD_ENDS}|{STOP_ENDS}")


def prefix_length(text: str, minimum: int, boundaries: re.Pattern[str] | None) -> int:
    """Count the characters up to the first boundary at or after `minimum`, or all where that would save little."""
    if boundaries is None or 2 * minimum >= len(text):
        return len(text)
    match = boundaries.search(text, minimum - 1)
    return match.end() if match else len(text)


def _is_local(tokenizer: tokenizers.Tokenizer, normalizers: list[str], splitters: list[dict[str, Any]]) -> bool:
    if type(tokenizer.model).__name__ not in LOCAL_MODELS or getattr(tokenizer.model, "dropout", None):
        return False
    if not LOCAL_NORMALIZERS.issuperset(normalizers):
        return False
    if not LOCAL_PRE_TOKENIZERS.issuperset(part["type"] for part in splitters):
        return False
    # The first one must split at boundaries; the others see its pieces one by one. BertNormalizer puts white
    # space around ideographs, from which ByteLevel would look ahead.
    first = splitters[0]
    return first["type"] != "ByteLevel" or (first["use_regex"] and "BertNormalizer" not in normalizers)


def _parts(component: Any, members: str) -> list[dict[str, Any]]:
    """Return the settings of a component, or of each member of a sequence of them."""
    if component is None:
        return []
    return _flatten(json.loads(component.__getstate__()), members)


def _flatten(settings: dict[str, Any], members: str) -> list[dict[str, Any]]:
    if settings["type"] != "Sequence":
        return [settings]
    return [part for member in settings[members] for part in _flatten(member, members)]


def _added_texts(tokenizer: tokenizers.Tokenizer) -> str:
    """Join all added tokens, as they stand and as they are looked for in normalized text."""
    contents = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    if tokenizer.normalizer is None:
        return "".join(contents)
    return "".join(contents + [tokenizer.normalizer.normalize_str(content) for content in contents])
