"""Sentence ends in German, English, Chinese and Japanese text, by punctuation alone.

Rules and short lists, not a model: good enough to cut a document into pieces, and now and then wrong. Knows nothing
of tokens.
"""

from __future__ import annotations

import re

# A run of stops is looked at once, and gives nothing back: the time is linear in the text. Quotes and brackets
# that close after it belong to the sentence.
_ENDS = re.compile(
    r"""(?<![.!?…])(?P<stop>[.!?…]++)["'”’“‘»«›‹)\]]*+(?=\s)"""
    r"""|(?<![。！？])[。！？]++["'”’」』）]*+"""
    r"""|(?:\r\n|\r(?!\n)|\n)[^\S\r\n]*+(?=[\r\n])"""
)
_WORD = re.compile(r"[^\W_]")
_VISIBLE = re.compile(r"\S")
_SPELLED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # z.B, e.g, U.S.A

# Abbreviations without their last full stop: before a name or the rest of a phrase, ...
_LEADING = re.compile(
    r"al|approx|bes|betr|bspw|bzgl|bzw|ca|capt|cf|col|dipl|dr|eg|evtl|fr|geb|ggf|hl|hr|hrsg|ie|ing|inkl|lt|mr|mrs|ms|mt"
    r"|pres|prof|resp|rev|sgt|sog|st|tel|usf|vgl|vs|z\.zt",
    re.IGNORECASE,
)
# ... before a number, ...
_NUMBERED = re.compile(
    r"abb|abs|apr|art|aufl|aug|bd|bsp|chap|dec|dez|feb|figs?|jan|jul|jun|kap|mar|nos?|nov|nr|oct|okt|op|pp|sec|sept?"
    r"|tab|vol",
    re.IGNORECASE,
)
# ... and those that may as well close a sentence.
_CLOSING = re.compile(
    r"a\.m|co|corp|dgl|etc|inc|jh|jr|ltd|mio|mrd|o\.ä|p\.m|sr|std|tsd|u\.a|u\.ä|u\.s|usw|uvm|v\.chr", re.IGNORECASE
)


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Split `text` into sentences, each (start, end) in characters: in order, disjoint, with all but white space.

    A sentence ends after . ! ? … and closing quotes where white space follows, after 。！？ directly, and at a
    blank line; not after an abbreviation, an initial or a number of one or two digits ("am 3. Mai"). A piece
    without letters and digits is no sentence of its own: it goes with the next, or at the end with the last.
    """
    spans: list[tuple[int, int]] = []
    start = unread = 0
    for match in _ENDS.finditer(text):
        if match["stop"] and not _closes(text, match["stop"], match):
            continue
        if _WORD.search(text, unread, match.end()):  # there is none between `start` and `unread`
            spans.append(_trim(text, start, match.end()))
            start = match.end()
        unread = match.end()
    if _WORD.search(text, unread) or not spans:
        spans.append(_trim(text, start, len(text)))
    else:
        spans[-1] = _trim(text, spans[-1][0], len(text))
    return [(first, last) for first, last in spans if first < last]


def _closes(text: str, stop: str, match: re.Match[str]) -> bool:
    """Return whether these stops end a sentence, by the word before and the character after them."""
    visible = _VISIBLE.search(text, match.end())
    following = visible[0] if visible else ""
    if following.islower() and match.end() > match.end("stop"):
        return False  # a quotation within the sentence
    if stop != ".":
        return "!" in stop or "?" in stop or not following.islower()
    # Twenty characters hold any abbreviation, and keep the work small where words have no end.
    word = re.split(r"[^\w.]", text[max(0, match.start() - 20) : match.start()])[-1]
    if _CLOSING.fullmatch(word):
        return not following.islower()
    if _NUMBERED.fullmatch(word):
        return not following.isdecimal()
    return not (_LEADING.fullmatch(word) or _SPELLED.fullmatch(word) or _is_initial_or_ordinal(word))


def _is_initial_or_ordinal(word: str) -> bool:
    if word.isdecimal():
        return len(word) <= 2
    return word != "" and (len(word) == 1 or set(word) <= set("IVX"))


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
