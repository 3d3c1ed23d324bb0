"""What is kept of a long text, where it was cut, and that reading only its beginning changes nothing."""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jinabert_onnx import BundleError, InputError
from jinabert_onnx.text.boundaries import WORD_ENDS, find_boundaries, prefix_length
from jinabert_onnx.text.tokenizer import Tokenizer
from support.paths import DATA
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers

SENTENCES = [
    "The quick brown fox doesn't jump over the lazy dog; they've 12 of them, he'll say.",
    "Über den Wolken muß die Freiheit wohl grenzenlos sein: Straße, Öl, naïve Café-Gäste!",
    "私は学生です。今日は天気がいい！東京、大阪：京都。",
    "今天天气很好，我们去公园散步吧。你好吗？很好；谢谢。",
]
SPECIAL = ["<s>", "</s>", "<unk>", "[UNK]"]
FRAME = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
# As RoBERTa has it: takes the white space before it.
MASK = AddedToken("<mask>", lstrip=True, normalized=False, special=True)
GREEDY = [
    MASK,
    AddedToken("<r>", rstrip=True, normalized=False, special=True),
    AddedToken("ent", single_word=True, normalized=True),
    AddedToken("Öl", lstrip=True, rstrip=True, normalized=True),
    AddedToken("abab", normalized=True),
    AddedToken("か", normalized=True),
]


bytes_bpe = models.BPE
bpe = partial(models.BPE, unk_token="<unk>")
dropout = partial(bpe, dropout=0.5)
word_piece = partial(models.WordPiece, unk_token="[UNK]", max_input_chars_per_word=20)


def train(
    model: Callable[[], models.Model], normalizer: object, pre_tokenizer: object, added: list[AddedToken]
) -> tokenizers.Tokenizer:
    """A small tokenizer of these parts."""
    tokenizer = tokenizers.Tokenizer(model())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    kind = trainers.WordPieceTrainer if model is word_piece else trainers.BpeTrainer
    trainer = kind(vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_tokens(added)
    tokenizer.post_processor = FRAME
    return tokenizer


def sequence(*parts: object) -> object:
    kind = normalizers if isinstance(parts[0], normalizers.Normalizer) else pre_tokenizers
    return kind.Sequence(list(parts))


NORMAL, SPLIT = normalizers, pre_tokenizers
BUILT: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "bytes": lambda: train(bytes_bpe, None, SPLIT.ByteLevel(add_prefix_space=False), [MASK]),
    "bytes, NFKC": lambda: train(bytes_bpe, NORMAL.NFKC(), SPLIT.ByteLevel(), GREEDY),
    "bytes, NFKD, no accents": lambda: train(
        bytes_bpe, sequence(NORMAL.NFKD(), NORMAL.StripAccents(), NORMAL.Lowercase()), SPLIT.ByteLevel(), GREEDY
    ),
    "characters, like base-de": lambda: train(bpe, None, SPLIT.Whitespace(), [MASK]),
    "characters, like base-zh": lambda: train(bpe, NORMAL.Lowercase(), SPLIT.Whitespace(), GREEDY),
    "characters, NFD": lambda: train(bpe, NORMAL.NFD(), sequence(SPLIT.Whitespace(), SPLIT.BertPreTokenizer()), []),
    "words": lambda: train(word_piece, NORMAL.BertNormalizer(), SPLIT.BertPreTokenizer(), GREEDY),
    "words, cased": lambda: train(
        word_piece, NORMAL.BertNormalizer(lowercase=False, clean_text=False), SPLIT.WhitespaceSplit(), GREEDY
    ),
    "words, NFKC": lambda: train(word_piece, NORMAL.NFKC(), SPLIT.BertPreTokenizer(), GREEDY),
    "words of bytes": lambda: train(
        bytes_bpe, NORMAL.NFC(), sequence(SPLIT.WhitespaceSplit(), SPLIT.ByteLevel(use_regex=False)), GREEDY
    ),
    "a token with a stop": lambda: train(
        bpe, NORMAL.NFKC(), SPLIT.Whitespace(), [AddedToken("好!", single_word=True, normalized=True)]
    ),
}
FILES = {
    "tiny-de-en": DATA / "tiny-de-en" / "tokenizer.json",
    "base-en": DATA / "reference" / "base-en" / "tokenizer.json",
    "golden": DATA / "goldens" / "plain-4h" / "tokenizer.json",
}
NOT_LOCAL: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "no pre-tokenizer": lambda: train(bpe, None, None, []),
    "bytes unsplit": lambda: train(bytes_bpe, None, SPLIT.ByteLevel(use_regex=False), []),
    "another pre-tokenizer": lambda: train(bpe, None, SPLIT.Metaspace(), []),
    "another within a sequence": lambda: train(bpe, None, sequence(SPLIT.Whitespace(), SPLIT.Digits()), []),
    "another normalizer": lambda: train(bpe, NORMAL.Strip(), SPLIT.Whitespace(), []),
    "another within a sequence of normalizers": lambda: train(
        bpe, sequence(NORMAL.NFC(), NORMAL.Replace("a  b", "c")), SPLIT.Whitespace(), []
    ),
    "white space around ideographs, seen by bytes": lambda: train(
        bytes_bpe, NORMAL.BertNormalizer(), SPLIT.ByteLevel(), []
    ),
    "dropout": lambda: train(dropout, None, SPLIT.Whitespace(), []),
    "an added token with white space": lambda: train(bpe, None, SPLIT.Whitespace(), [AddedToken("new york")]),
    "an added token that gets white space": lambda: train(
        word_piece, NORMAL.BertNormalizer(), SPLIT.BertPreTokenizer(), [AddedToken("a中b", normalized=True)]
    ),
}

PIECES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from([" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "\u200b", "\x1c"]),
    st.sampled_from(["<mask>", "<r>", "ent", "Öl", "abab", "ab", "<s>", "</s>", "[UNK]", "<unk>", "好!", "[MASK]"]),
    st.sampled_from(["\u0301", "\u0308", "\u0327", "\u3099", "\u064b", "\u037a", "\ufe70", "¨", "İ", "Σ", "ﬁ", "ﾞ"]),
    st.sampled_from(["中", "好", "か", "カ", "。", "，", "！", "、", "：", ".", "!", "'", "'s", "'re", "’"]),
    st.sampled_from(["😀", "🏳️\u200d🌈", "한", "\u1100\u1161", "12", "½", "①", "_", "-", "(", "e\u0301"]),
    st.sampled_from(SENTENCES),
    st.builds(operator.mul, st.sampled_from(["a", "ab", "word ", " ", "\n", "中", "e\u0301"]), st.integers(1, 60)),
)
WORDS = st.text("abcdefghijklmnopqrstuvwxyzäöüÜ.,'", min_size=1)
TEXTS = st.lists(PIECES, max_size=40).map("".join)


def saved(library: tokenizers.Tokenizer, folder: Path) -> Tokenizer:
    library.save(str(folder / "tokenizer.json"))
    return Tokenizer(folder / "tokenizer.json")


@cache
def loaded(name: str) -> Tokenizer:
    return Tokenizer(FILES[name])


@pytest.fixture(scope="module", params=[*FILES, *BUILT])
def built(request: pytest.FixtureRequest) -> tokenizers.Tokenizer:
    """The library's own tokenizer of each kind."""
    name = request.param
    return tokenizers.Tokenizer.from_file(str(FILES[name])) if name in FILES else BUILT[name]()


@pytest.fixture(scope="module")
def tokenizer(built: tokenizers.Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return saved(built, tmp_path_factory.mktemp("tokenizer"))


@given(texts=st.lists(TEXTS.map("x".__add__), min_size=1, max_size=3), room=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_reading_only_the_beginning_keeps_the_same_tokens(tokenizer: Tokenizer, texts: list[str], room: int) -> None:
    whole = tokenizer(texts, room + tokenizer.special_tokens)
    cheap = tokenizer(texts, room + tokenizer.special_tokens, count_dropped=False)
    assert [ids.tolist() for ids in cheap.input_ids] == [ids.tolist() for ids in whole.input_ids]
    assert cheap.cuts == whole.cuts
    for read, counted in zip(cheap.dropped, whole.dropped, strict=True):
        assert read <= counted
        assert (read > 0) == (counted > 0)


@given(text=TEXTS)
@settings(max_examples=40, deadline=None)
def test_no_token_reaches_across_a_boundary(built: tokenizers.Tokenizer, text: str) -> None:
    boundaries = find_boundaries(built)
    assert boundaries is not None
    whole = built.encode(text, add_special_tokens=False).ids
    for match in list(boundaries.finditer(text))[:8]:
        part = built.encode(text[: match.end()], add_special_tokens=False).ids
        assert whole[: len(part)] == part


@pytest.mark.parametrize("name", NOT_LOCAL)
def test_a_tokenizer_that_warrants_no_boundary_reads_all(name: str, tmp_path: Path) -> None:
    library = NOT_LOCAL[name]()
    assert find_boundaries(library) is None
    tokenizer = saved(library, tmp_path)
    text = SENTENCES[0] * 50
    if name != "dropout":
        assert tokenizer([text], 6, count_dropped=False).dropped == tokenizer([text], 6).dropped


@pytest.mark.parametrize(
    "text", [SENTENCES[0] * 500, "word\n" * 9000, "a　" * 9000], ids=["prose", "lines", "wide space"]
)
def test_a_long_text_is_not_read_whole(tokenizer: Tokenizer, text: str) -> None:
    assert 0 < tokenizer([text], 12, count_dropped=False).dropped[0] < tokenizer([text], 12).dropped[0] / 10


@pytest.mark.parametrize("name", ["characters, like base-zh", "words", "bytes, NFKC"])
def test_a_long_text_without_white_space_is_not_read_whole(name: str, tmp_path: Path) -> None:
    tokenizer = saved(BUILT[name](), tmp_path)
    text = SENTENCES[3] * 500
    assert 0 < tokenizer([text], 12, count_dropped=False).dropped[0] < tokenizer([text], 12).dropped[0] / 10


def test_more_is_read_where_the_beginning_has_few_tokens() -> None:
    tokenizer = Tokenizer(FILES["base-en"])
    text = " " * 3000 + "x" * 3000 + " and so on" * 3000
    ids = tokenizer([text], 7, count_dropped=False).input_ids[0].tolist()
    assert ids == tokenizer([text], 7).input_ids[0].tolist()
    assert len(ids) == 7


def test_a_boundary_is_looked_for_only_where_it_saves_something() -> None:
    boundaries = find_boundaries(tokenizers.Tokenizer.from_file(str(FILES["base-en"])))
    assert prefix_length("some words and more", 4, boundaries) == 4
    assert prefix_length("some words and more", 5, boundaries) == 10
    assert prefix_length("some words and more", 10, boundaries) == 19
    assert prefix_length("somewordsandmore", 4, boundaries) == 16
    assert prefix_length("some words and more", 4, None) == 19


def test_what_stands_before_a_boundary_never_becomes_white_space() -> None:
    word_end = re.compile(WORD_ENDS)
    accepted = [character for character in map(chr, range(0x30000)) if word_end.match(character + " ")]
    assert len(accepted) > 90_000
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        for character in accepted:
            bare = [part for part in unicodedata.normalize(form, character) if unicodedata.category(part) != "Mn"]
            assert bare, character
            assert not bare[-1].isspace(), character


@pytest.mark.parametrize("count_dropped", [True, False])
def test_a_lone_surrogate_is_refused_though_it_lies_beyond_the_cut(count_dropped: bool) -> None:
    texts = ["fine", "word " * 9000 + "\ud800", "\udfff"]
    with pytest.raises(InputError, match="text 1 is not valid Unicode: lone surrogate at character 45000;"):
        Tokenizer(FILES["tiny-de-en"])(texts, 8, count_dropped=count_dropped)


@given(texts=st.lists(TEXTS.map("x".__add__), min_size=1, max_size=3), room=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_the_tail_is_the_end_of_the_tokens(tokenizer: Tokenizer, texts: list[str], room: int) -> None:
    head, tail = (tokenizer(texts, room + tokenizer.special_tokens, keep=keep) for keep in ("head", "tail"))
    assert tail.dropped == head.dropped
    for text, ids, dropped, *cuts in zip(texts, tail.input_ids, tail.dropped, head.cuts, tail.cuts, strict=True):
        tokens = tokenizer.with_offsets(text)
        kept = tokens.ids[dropped:]
        assert ids.tolist() == [*tokenizer.before, *kept, *tokenizer.after]
        assert cuts == ([tokens.ends[room - 1], tokens.starts[dropped]] if dropped else [None, None])


@pytest.mark.parametrize("name", FILES)
@given(text=st.lists(WORDS, min_size=7, max_size=20).map(" ".join), room=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_the_text_before_the_cut_is_what_was_read(name: str, text: str, room: int) -> None:
    tokenizer = loaded(name)
    tokens = tokenizer([text], room + tokenizer.special_tokens)
    cut = tokens.cuts[0]
    assert cut is not None
    assume(tokenizer.with_offsets(text).starts[room] >= cut)  # not within a character
    again = tokenizer([text[:cut]], 1000)
    assert again.input_ids[0].tolist() == tokens.input_ids[0].tolist()
    assert again.dropped == [0]


def test_a_cut_within_a_character_counts_it_as_read() -> None:
    tokenizer = loaded("tiny-de-en")
    tokens = tokenizer.with_offsets("so 😀")  # its four bytes are four tokens
    assert (tokens.starts[-4:].tolist(), tokens.ends[-4:].tolist()) == ([3] * 4, [4] * 4)
    room = len(tokens.ids) - 2
    assert tokenizer(["so 😀"], room + 2).cuts == [4]
    assert tokenizer(["so 😀"], 2 + 2, keep="tail").cuts == [3]


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("base-en", "Hello  wörld, 中文!", ["Hello", "wörld", ",", "中", "文", "!"]),
        ("base-en", "\u200bcafe\u0301 e\u0301 b", ["cafe\u0301", "e\u0301", "b"]),
        ("base-en", "playing [MASK]now", ["playing", "[MASK]", "now"]),
        ("tiny-de-en", " so  e\u0301 <mask>so", ["so", "", "", "e\u0301", "", "<mask>", "so"]),
        ("golden", "t1  t2\u00a0[SEP]", ["t1", "t2", "[SEP]"]),
    ],
)
def test_tokens_know_their_characters(name: str, text: str, parts: list[str]) -> None:
    tokens = loaded(name).with_offsets(text)
    assert [text[start:end] for start, end in zip(tokens.starts, tokens.ends, strict=True)] == parts
    assert tokens.ids.dtype == tokens.starts.dtype == tokens.ends.dtype == np.int64


@given(text=TEXTS)
@settings(max_examples=40, deadline=None)
def test_offsets_lie_in_the_text_and_never_decrease(tokenizer: Tokenizer, text: str) -> None:
    tokens = tokenizer.with_offsets(text)
    assert len(tokens.ids) == len(tokens.starts) == len(tokens.ends)
    assert (np.diff(tokens.starts, prepend=0, append=len(text)) >= 0).all()
    assert (np.diff(tokens.ends, prepend=0, append=len(text)) >= 0).all()
    assert (tokens.starts <= tokens.ends).all()


@given(text=TEXTS)
@settings(max_examples=60, deadline=None)
def test_tokens_of_bytes_cover_every_visible_character(text: str) -> None:
    tokens = loaded("tiny-de-en").with_offsets(text)
    covered = np.zeros(len(text), dtype=bool)
    for start, end in zip(tokens.starts, tokens.ends, strict=True):
        covered[start:end] = True
    assert "".join(character for character, seen in zip(text, covered, strict=True) if not seen).strip() == ""


@given(texts=st.lists(TEXTS.map("x".__add__), min_size=1, max_size=3), room=st.integers(1, 12))
@settings(max_examples=20, deadline=None)
def test_windows_hold_every_token_once(tokenizer: Tokenizer, texts: list[str], room: int) -> None:
    before, after = tokenizer.before.tolist(), tokenizer.after.tolist()
    for text, windows in zip(texts, tokenizer.split(texts, room + tokenizer.special_tokens), strict=True):
        contents = []
        for window in windows:
            assert window.dtype == np.int64
            assert window[: len(before)].tolist() == before
            assert window[len(window) - len(after) :].tolist() == after
            contents.append(window[len(before) : len(window) - len(after)].tolist())
        ids = tokenizer.with_offsets(text).ids.tolist()
        assert [token for content in contents for token in content] == ids
        sizes = [len(content) for content in contents]
        assert len(sizes) == max(1, -(-len(ids) // room))
        assert max(sizes) <= room
        assert max(sizes) - min(sizes) <= 1


def test_an_empty_text_is_one_window_of_the_special_tokens() -> None:
    assert [window.tolist() for window in loaded("base-en").split([""], 8)[0]] == [[101, 102]]


def test_an_empty_text_without_special_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="text 1 becomes no tokens"):
        loaded("golden").split(["t1", " "], 8)


@pytest.mark.parametrize(
    ("processor", "before", "after"),
    [
        (None, [], []),
        (processors.RobertaProcessing(("</s>", 1), ("<s>", 0)), [0], [1]),
        (processors.BertProcessing(("</s>", 1), ("<s>", 0)), [0], [1]),
        (processors.ByteLevel(), [], []),
        (processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)]), [], [1]),
        (processors.TemplateProcessing(single="<s> <s> $A", special_tokens=[("<s>", 0)]), [0, 0], []),
        (processors.Sequence([processors.ByteLevel(), FRAME]), [0], [1]),
    ],
)
def test_special_tokens_are_found_from_the_post_processor(
    tmp_path: Path, processor: object, before: list[int], after: list[int]
) -> None:
    library = train(bytes_bpe, None, SPLIT.ByteLevel(), [])
    library.post_processor = processor
    tokenizer = saved(library, tmp_path)
    assert (tokenizer.before.tolist(), tokenizer.after.tolist()) == (before, after)
    assert tokenizer.special_tokens == len(before) + len(after)
    assert tokenizer(["the fox"], 100).input_ids[0].tolist() == library.encode("the fox").ids


def test_a_post_processor_that_repeats_the_text_is_refused(tmp_path: Path) -> None:
    library = train(bytes_bpe, None, SPLIT.ByteLevel(), [])
    library.post_processor = processors.TemplateProcessing(single="$A </s> $A", special_tokens=[("</s>", 1)])
    with pytest.raises(BundleError, match="its post-processor does more than put tokens around a text"):
        saved(library, tmp_path)
