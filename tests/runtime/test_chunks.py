"""Spans, sentences, windows and sums of late chunking, each against its definition."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx import InputError, InputTypeError
from jinabert_onnx.encoding.spans import Window, add_window, mean_of_spans, plan_windows, resolve_spans, token_ranges
from jinabert_onnx.text.sentences import sentence_spans

PIECES = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [" ", "\n", "\r\n", "\n\n", "\r", "\u3000", ". ", "...", "…", "! ", "?", "。", "！", "”", "« ", ")"]
    ),
    st.sampled_from(["z.B.", "Dr.", "usw.", "3.", "J.", "Mai", "nun", "Nr. 5", "IV.", "今天", "1990.", "_", "😀"]),
)
PROSE = st.lists(PIECES, max_size=30).map("".join)
# (first character, characters after the one before) of tokens of one to three characters
GAPS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=20)


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@given(text=PROSE)
@settings(deadline=None)
def test_sentences_hold_every_visible_character_in_order(text: str) -> None:
    spans = sentence_spans(text)
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    assert edges == sorted(edges)
    for start, end in spans:
        assert text[start:end] == text[start:end].strip() != ""
    outside = [text[end:start] for end, start in zip(edges[::2], edges[1::2], strict=True)]
    assert "".join(outside).strip() == ""


@given(text=PROSE)
@settings(deadline=None)
def test_only_a_text_without_words_has_a_sentence_without(text: str) -> None:
    found = sentences(text)
    assert len(found) <= 1 or all(any(character.isalnum() for character in sentence) for sentence in found)


@pytest.mark.parametrize(
    "expected",
    [
        ["Das ist ein Satz.", "Das auch!", "Und das?", "Ja …", "Nun."],
        ["Er kam z.B. am 3. Mai um 12.30 Uhr zu Dr. Müller.", "Das war d. h. spät."],
        ["Äpfel, Birnen usw. lagen da, Nüsse usw.", "Dann gingen wir."],
        ["J. S. Bach traf Ludwig XIV. nie.", "Siehe Abb. 3 und Nr. 5."],
        ["He said no.", "Then U.S. troops paid 3.14 dollars (see Fig. 3).", "It was 1990.", "So e.g. this, i.e. that."],
        ["»Halt!« rief er.", "“Stop.”", "(Really.)", "Well... no.", "Why?!"],
        ["hello there.", "how are you?", "fine."],
        ["今天天气很好。", "你好吗？", "「是的。」", "好"],
    ],
)
def test_sentences_end_where_a_reader_ends_them(expected: list[str]) -> None:
    separator = "" if "。" in expected[0] else " "
    assert sentences(separator.join(expected)) == expected


def test_a_blank_line_ends_a_sentence_and_a_single_line_end_does_not() -> None:
    assert sentences("A title\n\nof two\r\nlines\r\n \t\r\nand more\rhere\r\rend") == [
        "A title",
        "of two\r\nlines",
        "and more\rhere",
        "end",
    ]


def test_what_holds_no_word_goes_with_a_sentence() -> None:
    assert sentences("* * *\n\nText. --- \n\n!!!") == ["* * *\n\nText. --- \n\n!!!"]
    assert sentences("Yes. ... No. !") == ["Yes.", "... No. !"]
    assert sentences("?! ") == ["?!"]
    assert sentences(" \n ") == []


@pytest.mark.parametrize("spans", [[(0, 3), (2, 5)], ((4, 5), (0, 1)), np.array([[1, 5]]), [[np.int64(0), 5]], []])
def test_spans_may_overlap_in_any_order_and_be_any_integers(spans: object) -> None:
    found = resolve_spans("abcde", spans)
    assert found == [(int(start), int(end)) for start, end in spans]
    assert all(type(edge) is int for span in found for edge in span)


def test_spans_may_be_sentences_or_come_from_a_function() -> None:
    assert resolve_spans("One. Two.", "sentences") == [(0, 4), (5, 9)]
    assert resolve_spans("abcd", lambda text: ((i, i + 2) for i in range(0, len(text), 2))) == [(0, 2), (2, 4)]


@pytest.mark.parametrize(
    ("spans", "error", "message"),
    [
        ([(0, 2), (0, 6)], InputError, "the end of span 1 is 6; it must be from 0 to 5"),
        ([(-1, 2)], InputError, "the start of span 0 is -1; it must be from 0 to 5"),
        ([(0, 1), (2, 2)], InputError, r"span 1 \(2, 2\) is empty"),
        ([(3, 2)], InputError, r"span 0 \(3, 2\) is empty"),
        ([(0, 1.5)], InputTypeError, "the end of span 0 is float, not int"),
        ([(0, 1), 3], InputTypeError, "span 1 is int, not a pair"),
        ([(0, 1), "ab"], InputTypeError, "span 1 is str, not a pair"),
        ([(0, 1, 2)], InputTypeError, "span 0 has 3 elements, not two"),
        (7, InputTypeError, "spans are int, not pairs"),
        (lambda text: None, InputTypeError, "spans are NoneType, not pairs"),
        ("words", InputError, "spans 'words' is unknown; use 'sentences'"),
    ],
)
def test_wrong_spans_are_named(spans: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        resolve_spans("abcde", spans)
    assert type(caught.value) is error


@given(gaps=GAPS, data=st.data())
@settings(deadline=None)
def test_a_span_pools_all_tokens_that_share_a_character(gaps: list[tuple[int, int]], data: st.DataObject) -> None:
    edges = np.cumsum(np.array(gaps).ravel())  # start, end, start, end, ...
    starts, ends = edges[::2], edges[1::2]
    length = int(edges[-1]) + 2
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    shared = [i for i in range(len(starts)) if set(range(starts[i], ends[i])) & set(range(start, end))]
    if shared:
        assert token_ranges([(start, end)], starts, ends).tolist() == [[shared[0], shared[-1] + 1]]
    else:
        with pytest.raises(InputError, match="holds no token"):
            token_ranges([(start, end)], starts, ends)


def test_tokens_without_characters_are_pooled_only_between_others() -> None:
    starts, ends = np.array([0, 2, 2, 3]), np.array([1, 2, 3, 4])  # the second is white space
    assert token_ranges([(0, 1), (0, 3), (2, 3)], starts, ends).tolist() == [[0, 1], [0, 3], [2, 3]]


@pytest.mark.parametrize("tokens", [0, 2])
def test_a_span_without_tokens_is_named(tokens: int) -> None:
    starts, ends = np.array([0, 4][:tokens], dtype=np.int64), np.array([3, 5][:tokens], dtype=np.int64)
    spans = [(0, 2), (3, 4)] if tokens else [(3, 4)]
    with pytest.raises(InputError, match=rf"span {len(spans) - 1} \(3, 4\) holds no token; leave it out"):
        token_ranges(spans, starts, ends)


@given(count=st.integers(0, 300), room=st.integers(1, 60), data=st.data())
@settings(deadline=None)
def test_windows_take_every_token_once_and_are_few_and_even(count: int, room: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, room - 1))
    windows = plan_windows(count, room, overlap)
    assert [token for window in windows for token in range(window.take_start, window.take_end)] == list(range(count))
    assert all(window.start <= window.take_start < window.take_end <= window.end for window in windows)
    assert all(left.end - right.start == overlap for left, right in pairwise(windows))
    fewest = math.ceil((count - overlap) / (room - overlap)) if count > room else min(count, 1)
    assert len(windows) == fewest
    sizes = [window.end - window.start for window in windows]
    assert max(sizes, default=0) <= room
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


@given(count=st.integers(1, 200), room=st.integers(1, 40), data=st.data())
@settings(deadline=None)
def test_a_token_is_taken_where_it_is_farthest_from_a_cut(count: int, room: int, data: st.DataObject) -> None:
    windows = plan_windows(count, room, data.draw(st.integers(0, room - 1)))

    def distance(window: Window, token: int) -> float:
        """Tokens between this one and the nearer cut; the ends of the text are none."""
        left = token - window.start if window.start > 0 else math.inf
        right = window.end - 1 - token if window.end < count else math.inf
        return min(left, right)

    for window in windows:
        for token in range(window.take_start, window.take_end):
            others = [distance(other, token) for other in windows if other.start <= token < other.end]
            assert distance(window, token) >= max(others) - 1  # the middle of an even overlap lies between two


@pytest.mark.parametrize("overlap", [-1, 8, 9])
def test_an_overlap_that_leaves_no_step_is_refused(overlap: int) -> None:
    with pytest.raises(InputError, match=f"overlap is {overlap}; it must be from 0 to 7"):
        plan_windows(100, 8, overlap)


@given(count=st.integers(1, 80), room=st.integers(1, 20), data=st.data())
@settings(deadline=None)
def test_sums_over_windows_are_the_means_of_the_spans(count: int, room: int, data: st.DataObject) -> None:
    windows = plan_windows(count, room, data.draw(st.integers(0, room - 1)))
    firsts = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5))
    ranges = np.array([[first, data.draw(st.integers(first + 1, count))] for first in firsts])
    embeddings = np.random.default_rng(count).standard_normal((count, 3), dtype=np.float32)
    sums, counts = np.zeros((len(ranges), 3)), np.zeros(len(ranges), dtype=np.int64)
    for window in windows:
        add_window(sums, counts, ranges, window, embeddings[window.start : window.end])
    means = mean_of_spans(sums, counts)
    assert counts.tolist() == [last - first for first, last in ranges]
    assert means.dtype == np.float32
    expected = [embeddings[first:last].mean(axis=0, dtype=np.float64) for first, last in ranges]
    np.testing.assert_allclose(means, expected, rtol=1e-6, atol=1e-6)
