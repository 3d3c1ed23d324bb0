"""How the Embedder reads texts that are too long, what it reports, and the vector space that results lie in."""

from __future__ import annotations

import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx import (
    Embedder,
    Fingerprint,
    InputError,
    MemoryLimitError,
    TextReport,
    TruncationError,
    TruncationWarning,
    compatible,
)
from support.paths import TRAINED

LONG = "Der Zug nach Berlin hat Verspätung. The meeting has been moved to Friday. " * 12
SHORT = "hello world"


def tokens_of(model: Embedder, text: str) -> int:
    return model.count_tokens(text)[0]


@pytest.mark.parametrize("truncation", ["warn", "head", "tail", "mean", "error"])
def test_a_text_that_is_short_enough_is_read_alike_by_every_policy(model: Embedder, truncation: str) -> None:
    found = model.encode_with_report(SHORT, truncation=truncation)
    np.testing.assert_array_equal(found.vectors, model.encode([SHORT]))
    assert found.texts == (TextReport(tokens_of(model, SHORT), 0, None),)


def test_head_and_tail_read_what_the_report_says(model: Embedder) -> None:
    total = tokens_of(model, LONG)
    head = model.encode_with_report(LONG, truncation="head", max_length=20)
    tail = model.encode_with_report(LONG, truncation="tail", max_length=20)
    for found in (head, tail):
        (report,) = found.texts
        assert (report.tokens, report.dropped, report.windows) == (20, total - 20, 1)
    np.testing.assert_allclose(head.vectors[0], model.encode(LONG[: head.texts[0].cut]), rtol=0, atol=1e-5)
    end = LONG[tail.texts[0].cut :]
    assert tokens_of(model, end) == 20
    np.testing.assert_allclose(tail.vectors[0], model.encode(end), rtol=0, atol=1e-5)


def test_warn_reads_the_head_and_says_so_and_head_is_silent(model: Embedder) -> None:
    with pytest.warns(TruncationWarning, match="1 of 1 texts were cut to 20 tokens"):
        warned = model.encode(LONG, max_length=20)
    np.testing.assert_array_equal(warned, model.encode(LONG, max_length=20, truncation="head"))


def test_error_refuses_and_names_the_text_and_its_tokens(model: Embedder) -> None:
    total = tokens_of(model, LONG)
    with pytest.raises(
        ValueError, match=rf"text 1 has {total} tokens, {total - 20} more than the limit of 20"
    ) as caught:
        model.encode([SHORT, LONG], max_length=20, truncation="error")
    assert isinstance(caught.value, TruncationError)


def test_mean_reads_all_of_it_in_windows_weighted_by_their_tokens(model: Embedder) -> None:
    total = tokens_of(model, LONG)
    found = model.encode_with_report([SHORT, LONG, SHORT], truncation="mean", max_length=50)
    windows = -(-(total - 2) // 48)
    assert found.texts[1] == TextReport(total, 0, None, windows)
    np.testing.assert_allclose(found.vectors[0], model.encode(SHORT), rtol=0, atol=1e-5)
    placed = model._model.tokenizer.with_offsets(LONG)
    parts = np.array_split(np.arange(total - 2), windows)
    texts = [LONG[placed.starts[part[0]] : placed.ends[part[-1]]] for part in parts]
    expected = np.average(model.encode(texts), axis=0, weights=[len(part) + 2 for part in parts])
    cosine = expected @ found.vectors[1] / np.linalg.norm(expected) / np.linalg.norm(found.vectors[1])
    assert cosine > 0.999  # white space at the edges of a window is part of its tokens, but not of these texts


def test_a_prompt_counts_as_tokens_but_not_as_characters_of_the_text(model: Embedder) -> None:
    found = model.encode_with_report(LONG, prompt="query: ", max_length=20)
    again = model.encode("query: " + LONG[: found.texts[0].cut])
    np.testing.assert_allclose(found.vectors[0], again, rtol=0, atol=1e-5)
    tiny = model.encode_with_report("x y z", prompt=LONG, max_length=20)
    assert tiny.texts[0].cut == 0


@given(texts=st.lists(st.text(max_size=60), max_size=9), look_ahead=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_a_stream_gives_what_encode_gives_in_order(model: Embedder, texts: list[str], look_ahead: int) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    streamed = list(model.encode_stream(iter(texts), look_ahead=look_ahead))
    assert len(streamed) == len(texts)
    for vector, expected in zip(streamed, model.encode(texts), strict=True):
        np.testing.assert_allclose(vector, expected, rtol=0, atol=1e-5)


def test_a_stream_takes_no_more_texts_than_it_looks_ahead(model: Embedder) -> None:
    taken = 0

    def texts():
        nonlocal taken
        while True:
            taken += 1
            yield f"text {taken}"

    stream = model.encode_stream(texts(), look_ahead=10)
    assert taken == 0
    for expected in [10] * 10 + [20]:
        next(stream)
        assert taken == expected


def test_long_texts_are_taken_fewer_at_a_time(model: Embedder) -> None:
    taken = 0

    def texts():
        nonlocal taken
        for _ in range(10):
            taken += 1
            yield "a " * 1_000_000

    next(model.encode_stream(texts(), max_length=16, truncation="head"))
    assert taken == 2


def test_a_stream_checks_its_arguments_at_once_and_names_what_is_no_text(model: Embedder) -> None:
    with pytest.raises(InputError, match="look_ahead is 0"):
        model.encode_stream(["a"], look_ahead=0)
    for texts in (None, {"a": 1}, b"a"):
        with pytest.raises(TypeError, match="sentences must be a str or an iterable of str"):
            model.encode_stream(texts)
    with pytest.raises(TypeError, match="text 2 is int, not str"):
        list(model.encode_stream(["a", "b", 3]))


def test_a_stream_shows_rate_and_time_left(model: Embedder, capsys: pytest.CaptureFixture) -> None:
    list(model.encode_stream(["a", "b"], show_progress_bar=True))
    assert "2/2 texts, " in capsys.readouterr().err
    list(model.encode_stream(iter(["a", "b"]), show_progress_bar=True))
    assert "\r2 texts, " in capsys.readouterr().err


TEXT = "Der Zug nach Berlin hat Verspätung. Er kommt um acht. The meeting was moved to Friday."


def test_chunks_are_means_of_their_tokens_in_the_whole_text(model: Embedder) -> None:
    found = model.encode_chunks(TEXT)
    assert [TEXT[start:end] for start, end in found.spans] == [sentence + "." for sentence in TEXT[:-1].split(". ")]
    rows = model.encode(TEXT, output_value="token_embeddings")[1:-1]
    placed = model._model.tokenizer.with_offsets(TEXT)
    for vector, (start, end) in zip(found.vectors, found.spans, strict=True):
        inside = (placed.ends > start) & (placed.starts < end)
        np.testing.assert_allclose(vector, rows[inside].mean(axis=0), rtol=0, atol=1e-5)


def test_chunks_know_their_context(model: Embedder) -> None:
    start = TEXT.index("Er kommt")
    span = [(start, start + 16)]
    alone = model.encode("Er kommt um acht")
    other = model.encode_chunks(TEXT.replace("Der Zug nach Berlin", "Mein Freund aus Wien"), span).vectors[0]
    assert abs(model.encode_chunks(TEXT, span).vectors[0] - alone).max() > 1e-3
    assert len(other) == 256


def test_a_text_beyond_the_limit_is_read_in_windows() -> None:
    model = Embedder.load(TRAINED)
    text = LONG * 8
    spans = [(start, start + 60) for start in range(0, len(text) - 60, 500)]
    whole = model.encode_chunks(text, spans)
    model.max_seq_length = 300
    windowed = model.encode_chunks(text, spans, normalize_embeddings=True)
    assert windowed.vectors.shape == whole.vectors.shape
    cosines = (windowed.vectors * whole.vectors).sum(1) / np.linalg.norm(whole.vectors, axis=1)
    assert cosines.min() > 0.9  # less context, not other tokens
    model.max_seq_length = 8192
    np.testing.assert_array_equal(model.encode_chunks(text, lambda text: spans).vectors, whole.vectors)


@pytest.mark.parametrize("dtype", ["float16", "int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dimensions", [None, 64])
def test_output_types_keep_what_is_similar(
    model: Embedder, dtype: str, normalize: bool, dimensions: int | None
) -> None:
    texts = ["How is the weather today?", "Wie ist das Wetter heute?", "My printer does not work.", "a"]
    exact = model.encode(texts, normalize_embeddings=normalize, truncate_dim=dimensions)
    small = model.encode(texts, normalize_embeddings=normalize, truncate_dim=dimensions, output_dtype=dtype)
    packed = dtype.endswith("binary")
    assert small.shape == (4, (dimensions or 256) // (8 if packed else 1))
    found = model.similarity(small, small, dtype)
    np.testing.assert_allclose(found, model.similarity(exact, exact), rtol=0, atol=0.35 if packed else 0.01)
    alone = [model.encode(text, normalize_embeddings=normalize, truncate_dim=dimensions, output_dtype=dtype)
             for text in texts]  # fmt: skip
    steps = np.abs(np.stack(alone).astype(np.float64) - small.astype(np.float64))
    assert packed or steps.max() <= 1  # the range is the bundle's; float rounding may move a value by a step


def test_results_carry_the_fingerprint_of_their_space(variant_bundle: Path) -> None:
    fp32, int8 = (Embedder.load(TRAINED, precision=precision) for precision in ("fp32", "int8"))
    other = Embedder.load(variant_bundle)
    assert compatible(fp32, int8)
    assert compatible(str(fp32.fingerprint), int8.encode_chunks(TEXT))
    assert fp32.fingerprint != int8.fingerprint
    assert not compatible(fp32, other)
    assert fp32.encode_with_report(SHORT).fingerprint == fp32.fingerprint == Fingerprint.parse(str(fp32.fingerprint))
    assert not compatible(fp32.encode_with_report(SHORT, max_length=20), fp32)
    fp32.max_seq_length = 20
    assert not compatible(fp32, int8)


@pytest.mark.parametrize(("precision", "memory"), [("fp32", "180MB"), ("int8", "150MB")])
def test_max_memory_refuses_what_cannot_fit_and_runs_what_can(precision: str, memory: str) -> None:
    with pytest.raises(MemoryError, match="before any work, more than max_memory allows"):
        Embedder.load(TRAINED, precision=precision, max_memory="20MB")
    unlimited = Embedder.load(TRAINED, precision=precision)
    limited = Embedder.load(TRAINED, precision=precision, max_memory=memory)
    text = "Der Zug nach Berlin hat Verspätung. " * 700
    with pytest.raises(
        MemoryLimitError, match=r"text 1 has \d+ tokens and takes \d+MB, more than max_memory allows"
    ) as e:
        limited.encode([SHORT, text])
    fitting = int(str(e.value).split("cut texts to ")[1].split()[0])
    limited.encode(text, max_length=fitting, truncation="head")
    with pytest.raises(MemoryLimitError), warnings.catch_warnings():
        limited.encode(text, max_length=fitting + 1, truncation="head")
    texts = [SHORT, LONG, "a"] * 4
    np.testing.assert_allclose(limited.encode(texts), unlimited.encode(texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("truncation", ["tail", "mean"])
def test_a_prompt_stands_before_whatever_is_read(model: Embedder, truncation: str) -> None:
    plain, prompted = (
        model.encode(LONG, truncation=truncation, max_length=30, prompt=prompt) for prompt in (None, "query: ")
    )
    assert abs(plain - prompted).max() > 1e-3
    report = model.encode_with_report(LONG, truncation=truncation, max_length=30, prompt="query: ").texts[0]
    assert report.tokens == (30 if truncation == "tail" else tokens_of(model, "query: ") + tokens_of(model, LONG) - 2)
    if truncation == "tail":
        again = model.encode("query: " + LONG[report.cut :].lstrip())
        assert again @ prompted / np.linalg.norm(again) / np.linalg.norm(prompted) > 0.99
    with pytest.raises(InputError, match="leave no room for text"):
        model.encode(LONG, truncation=truncation, max_length=30, prompt=LONG)


def test_a_prompt_stands_before_chunks_and_is_in_none(model: Embedder) -> None:
    tokenizer = model._model.tokenizer
    parts = (tokenizer.before, *(tokenizer.with_offsets(text).ids for text in ("query: ", TEXT)), tokenizer.after)
    ids = np.concatenate(parts)[None]
    rows = model._model.session.run(ids, np.ones_like(ids))[0]
    expected = rows[len(parts[0]) + len(parts[1]) : -len(parts[3])].mean(axis=0)
    found = model.encode_chunks(TEXT, [(0, len(TEXT))], prompt="query: ").vectors[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_stream_names_texts_by_their_place_in_it(model: Embedder) -> None:
    texts = ["a"] * 10 + ["ok", LONG, "bad \ud800"]
    with pytest.raises(TruncationError, match="text 11 has"):
        list(model.encode_stream(texts[:-1], look_ahead=5, max_length=20, truncation="error"))
    with pytest.raises(InputError, match="of the 3 texts from text 10 on: text 2 is not valid Unicode"):
        list(model.encode_stream(texts, look_ahead=5, max_length=20, truncation="head"))


def test_progress_counts_texts_not_windows(model: Embedder, capsys: pytest.CaptureFixture) -> None:
    model.encode([LONG] * 3, truncation="mean", max_length=20, show_progress_bar=True)
    assert "3/3 texts" in capsys.readouterr().err


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_a_stderr_there_is_no_progress_and_no_error(
    model: Embedder, stream: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    replacement = None if stream is None else io.StringIO()
    if replacement is not None:
        replacement.close()
    monkeypatch.setattr(sys, "stderr", replacement)
    assert model.encode("a", show_progress_bar=True).shape == (256,)
