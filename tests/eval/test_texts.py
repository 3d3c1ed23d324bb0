"""The user's file of texts: read in each form, refused with the place and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from jinabert_onnx.errors import InputError
from jinabert_onnx_eval.texts.cloze import EVERY, make_corpus, take_out
from jinabert_onnx_eval.texts.groups import group_by_length
from jinabert_onnx_eval.texts.read import EvalTexts, Pair, read_texts

Write = Callable[[object], Path]


def words_of(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def test_texts_stand_alone_or_under_a_key(write_json: Write):
    path = write_json({"sentences": ["a", {"text": "b", "source": "c"}], "pairs": [{"en": "x", "de": "y"}]})
    found = read_texts(path)
    assert found.sentences == ("a", "b")
    assert found.pairs == (Pair("x", "y"),)
    assert found.long == ()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([], "not a JSON object"),
        ({}, "holds no texts"),
        ({"pairs": {}}, "'pairs' is not a list"),
        ({"pairs": [{"en": "a"}]}, r"pairs\[0\]: no 'de'"),
        ({"pairs": [{"en": "a", "de": " "}]}, r"pairs\[0\].de"),
        ({"sentences": ["a", 3]}, r"sentences\[1\]"),
        ({"sentences": ["a", "b\ud800"]}, r"sentences\[1\]: lone surrogate at character 1"),
        ({"long": [{"txt": "a"}]}, r"long\[0\]: no 'text'"),
        ({"long": ["a"], "questions": [{"question": "q", "document": 1, "answer": "a"}]}, r"questions\[0\]"),
        ({"long": ["a"], "questions": [{"question": "q", "document": 0, "answer": "b"}]}, "word for word"),
    ],
)
def test_a_wrong_entry_is_named(write_json: Write, content: object, named: str):
    with pytest.raises(InputError, match=named):
        read_texts(write_json(content))


@pytest.mark.parametrize(("raw", "named"), [(b"{", "not valid JSON"), (b"\xff", "not UTF-8"), (None, "no such file")])
def test_an_unreadable_file_is_named(tmp_path: Path, raw: bytes | None, named: str):
    path = tmp_path / "texts.json"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(InputError, match=named):
        read_texts(path)


def test_a_directory_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        read_texts(tmp_path)


def test_joined_pairs_stay_translations_of_each_other():
    pairs = tuple(Pair(f"e{number} " * 30, f"d{number} " * 40) for number in range(18))
    texts = EvalTexts("t", "", pairs)
    groups = {group.name: group for group in group_by_length(texts, words_of, 128)}
    assert set(groups) == {"sentences", "64 tokens"}  # 6 texts of 128 tokens are too few to compare
    assert [len(pair.english.split()) for pair in groups["64 tokens"].pairs] == [90] * 6
    for pair in groups["64 tokens"].pairs:
        assert pair.english.replace("e", "").split()[::30] == pair.german.replace("d", "").split()[::40]


def test_too_few_texts_are_refused():
    with pytest.raises(InputError, match="add some"):
        group_by_length(EvalTexts("t", "", sentences=("a",) * 10), words_of, 128)


def test_a_sentence_that_is_taken_out_is_gone_and_its_place_is_known():
    sentences = [
        f"Sentence number {number} has got quite enough words to be part {number} of it." for number in range(EVERY)
    ]
    sentences[2] = "This one is much longer than all of the others, and so it is the one that is asked for."
    rest, queries = take_out(" ".join(sentences), 7)
    assert [query.text for query in queries] == [sentences[2]]
    assert rest == " ".join([*sentences[:2], "", *sentences[3:]])
    assert rest[: queries[0].start].rstrip().endswith("part 1 of it.")
    assert queries[0].document == 7


def test_a_sentence_that_stands_twice_is_not_taken_out():
    sentence = "This one is much longer than all of the others, and so it is the one that is asked for."
    text = " ".join(["One.", "Two.", sentence, "Four.", "Five.", "Six.", sentence])
    assert take_out(text, 0) == (text, [])


def test_questions_are_taken_as_they_are(write_json: Write):
    long = ["Berlin has 3.8 million people. It is old.", "Paris is in France."]
    path = write_json({"long": long, "questions": [{"question": "How many?", "document": 0, "answer": "3.8 million"}]})
    corpus = make_corpus(read_texts(path))
    assert corpus.kind == "questions"
    assert corpus.documents == tuple(long)
    (query,) = corpus.queries
    assert long[query.document][query.start : query.end] == "3.8 million"


def test_long_texts_without_sentences_are_refused(write_json: Write):
    with pytest.raises(InputError, match="add questions"):
        make_corpus(read_texts(write_json({"long": ["one", "two"]})))
