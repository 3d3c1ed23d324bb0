"""Pairs become the tokens, types and cuts that the tokenizers library itself makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from jinabert_onnx import BundleError
from jinabert_onnx.text.pair_tokenizer import longest_first, tokenize_pairs
from jinabert_onnx.text.tokenizer import Tokenizer
from support.pair_goldens import CROSS_ENCODERS, NAMES

WORDS = st.lists(st.sampled_from(["the", "of", "and", "Überraschung", "東京", "naïve!", "🙂", "  ", "x"]), max_size=30)
TEXTS = WORDS.map(" ".join) | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize("name", NAMES)
@given(first=TEXTS, second=TEXTS, max_length=st.integers(8, 60))
def test_a_pair_is_what_the_library_makes_of_it(name: str, first: str, second: str, max_length: int) -> None:
    path = CROSS_ENCODERS / name / "tokenizer.json"
    library = tokenizers.Tokenizer.from_file(str(path))
    library.no_padding()
    library.enable_truncation(max_length, strategy="longest_first")
    expected = library.encode(first, second)
    for count_dropped in (False, True):
        (row,) = tokenize_pairs(Tokenizer(path), [(first, second)], max_length, count_dropped)
        assert row.input_ids.tolist() == expected.ids
        assert row.token_type_ids.tolist() == expected.type_ids
    library.no_truncation()
    assert row.dropped == len(library.encode(first, second).ids) - len(expected.ids)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 400))
def test_the_longer_text_loses_tokens_until_both_fit(first: int, second: int, room: int) -> None:
    kept = longest_first(first, second, room)
    assert sum(kept) == min(first + second, room)
    assert kept[0] <= first
    assert kept[1] <= second
    if first + second > room:
        cut = [whole - left for whole, left in zip((first, second), kept, strict=True)]
        shorter = min((0, 1), key=(first, second).__getitem__)
        assert not cut[shorter] or abs(kept[0] - kept[1]) <= 1


@pytest.mark.parametrize("template", [None, "[CLS] $B [SEP] $A [SEP]", "$A [SEP] $B [SEP] $A"])
def test_a_tokenizer_that_joins_texts_otherwise_still_reads_single_ones(template: str | None, tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(CROSS_ENCODERS / "classifier-3-4h" / "tokenizer.json"))
    special = [(token, library.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    library.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", template or "$A $B", special)
    content = json.loads(library.to_str())
    if template is None:  # a file may leave the second text out
        content["post_processor"]["pair"] = content["post_processor"]["single"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    tokenizer = Tokenizer(tmp_path / "tokenizer.json")
    assert tokenizer(["a"], 10).input_ids[0].tolist() == library.encode("a").ids
    assert tokenizer.pair is None
    with pytest.raises(BundleError, match="joins two texts by more than special tokens around them"):
        tokenize_pairs(tokenizer, [("a", "b")], 10)


def test_a_text_that_is_in_many_pairs_is_cut_in_each_by_itself() -> None:
    tokenizer = Tokenizer(CROSS_ENCODERS / "reranker-6h" / "tokenizer.json")
    long, short = "word " * 40, "of"
    rows = tokenize_pairs(tokenizer, [(short, long), (long, long), long], 20)
    assert [len(row.input_ids) for row in rows] == [20, 20, 20]
    assert rows[0].kept[1] > rows[1].kept[1]
    assert rows[2].kept == (18,)
