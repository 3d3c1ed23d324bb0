"""Ragged token ids against what the tokenizers library itself gives."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx import BundleError
from jinabert_onnx.text.tokenizer import Tokenizer
from support.paths import DATA

# A byte-level BPE of this project's, and the WordPiece of the published English models.
FILES = {
    "byte-level": DATA / "tiny-de-en" / "tokenizer.json",
    "wordpiece": DATA / "reference" / "base-en" / "tokenizer.json",
}
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=5)


@cache
def loaded(name: str) -> tuple[tokenizers.Tokenizer, Tokenizer]:
    library = tokenizers.Tokenizer.from_file(str(FILES[name]))
    library.no_padding()
    return library, Tokenizer(FILES[name])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", ["head", "tail"])
@given(texts=TEXTS, max_length=st.integers(3, 12))
@settings(max_examples=40, deadline=None)
def test_cut_texts_have_the_tokens_of_the_library(name: str, keep: str, texts: list[str], max_length: int) -> None:
    library, tokenizer = loaded(name)
    library.no_truncation()
    whole = library.encode_batch(texts)
    library.enable_truncation(max_length, direction={"head": "right", "tail": "left"}[keep])
    cut = library.encode_batch(texts)
    tokens = tokenizer(texts, max_length, keep=keep)
    assert [ids.tolist() for ids in tokens.input_ids] == [encoding.ids for encoding in cut]
    assert tokens.dropped == [len(long) - len(short) for long, short in zip(whole, cut, strict=True)]


def test_ids_are_int64_and_hold_the_special_tokens() -> None:
    tokens = Tokenizer(FILES["wordpiece"])(["hello world"], 8192)
    assert tokens.input_ids[0].dtype == np.int64
    assert tokens.input_ids[0].tolist() == [101, 7592, 2088, 102]


def test_padding_and_truncation_saved_in_the_file_are_ignored(tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(FILES["wordpiece"]))
    library.enable_truncation(4)
    library.enable_padding(length=50)
    library.save(str(tmp_path / "tokenizer.json"))
    assert len(Tokenizer(tmp_path / "tokenizer.json")(["one two three four five six"], 100).input_ids[0]) == 8


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": "1.0"}', b"\xff\xfe", b'{"model": {"type": "X"}}'])
def test_a_corrupt_file_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json: not a valid tokenizer\.json") as caught:
        Tokenizer(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        Tokenizer(tmp_path / "tokenizer.json")
