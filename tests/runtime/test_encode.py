"""`encode` and its neighbours: arguments, shapes, order, and independence of neighbours."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx import Embedder, InputError, InputTypeError, SelfTestError, SharedThreads, TruncationWarning
from jinabert_onnx.progress import Progress
from support.paths import TRAINED

TEXTS = ["a", "How is the weather today?", "Der Zug nach Berlin hat Verspätung. " * 20, "", "  \n", "列车 \x00 🚆"]
UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def test_one_text_gives_a_vector_and_many_give_rows(model: Embedder) -> None:
    assert model.encode("hello").shape == (256,)
    assert model.encode(["hello"]).shape == (1, 256)
    assert model.encode(TEXTS).shape == (6, 256)
    assert model.encode(TEXTS).dtype == np.float32


def test_no_texts_give_no_rows(model: Embedder) -> None:
    assert model.encode([]).shape == (0, 256)
    assert model.encode([], truncate_dim=7).shape == (0, 7)
    assert model.encode([], output_value="token_embeddings") == []


@pytest.mark.parametrize("make", [list, tuple, iter, np.array, lambda texts: (text for text in texts)])
def test_any_iterable_of_texts_is_taken(model: Embedder, make: Callable) -> None:
    np.testing.assert_array_equal(model.encode(make(TEXTS)), model.encode(TEXTS))


@given(texts=st.lists(UNICODE | st.sampled_from(TEXTS), min_size=1, max_size=12), batch_size=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_vector_does_not_depend_on_batch_or_neighbours(model: Embedder, texts: list[str], batch_size: int) -> None:
    alone = np.stack([model.encode(text) for text in texts])
    np.testing.assert_allclose(model.encode(texts, batch_size=batch_size), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [2049, 8192])
def test_texts_up_to_the_models_limit_are_embedded_whole(variant_bundle: Path, length: int) -> None:
    model = Embedder.load(variant_bundle)
    text = " ".join(f"t{index % 400 + 5}" for index in range(length))
    tokens = model.encode(text, output_value="token_embeddings")
    assert tokens.shape[0] == length
    assert np.isfinite(tokens).all()
    np.testing.assert_allclose(model.encode(text), tokens.mean(axis=0), rtol=0, atol=1e-5)


def test_empty_text_and_whitespace_have_a_vector_where_the_tokenizer_adds_special_tokens(model: Embedder) -> None:
    assert model.count_tokens(["", "a"])[0] == 2
    assert np.linalg.norm(model.encode(["", "   "]), axis=1).min() > 0


def test_a_text_without_any_token_is_refused_by_index(variant_bundle: Path) -> None:
    with pytest.raises(InputError, match="text 1 becomes no tokens"):
        Embedder.load(variant_bundle).encode(["t7", ""])


@pytest.mark.parametrize(
    ("sentences", "words"),
    [
        (None, "NoneType"),
        (3, "int"),
        (b"bytes", "bytes"),
        ({"a": 1}, "dict"),
        (["a", None], "text 1 is NoneType"),
        (["a", "b", 3.5], "text 2 is float"),
        ([["nested"]], "text 0 is list"),
    ],
)
def test_what_is_not_text_is_refused_by_type_and_index(model: Embedder, sentences: object, words: str) -> None:
    with pytest.raises(TypeError, match=words) as caught:
        model.encode(sentences)
    assert isinstance(caught.value, InputTypeError)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"batch_size": 0}, InputError, "batch_size is 0"),
        ({"batch_size": 1.5}, InputTypeError, "batch_size is float"),
        ({"max_length": "9"}, InputTypeError, "max_length is str"),
        *(({"max_length": n}, InputError, f"max_length is {n}; it must be from 3 to 8192") for n in (0, -1, 8193, 2)),
        ({"truncate_dim": 0}, InputError, "truncate_dim is 0; it must be from 1 to 256"),
        ({"truncate_dim": 257}, InputError, "truncate_dim is 257"),
        ({"output_value": "vectors"}, InputError, "output_value 'vectors'"),
        ({"output_dtype": "int4"}, InputError, "int4"),
        ({"output_dtype": "binary", "truncate_dim": 30}, InputError, "multiple of 8"),
        ({"output_dtype": "int8", "output_value": "token_embeddings"}, InputError, "tokens are float32 or float16"),
        ({"truncation": "mean", "output_value": "token_embeddings"}, InputError, "truncation 'mean' averages windows"),
        (
            {"truncation": "middle"},
            InputError,
            "truncation 'middle' is unknown; use one of warn, error, head, tail, mean",
        ),
        ({"prompt_name": "query"}, InputError, "this bundle's prompts: none"),
        ({"prompt_name": "query", "prompt": "x"}, InputError, "not both"),
    ],
)
def test_arguments_outside_their_range_are_refused(
    model: Embedder, arguments: dict, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        model.encode("hello", **arguments)
    assert issubclass(error, ValueError if error is InputError else TypeError)


def test_cutting_a_text_is_reported_and_keeps_the_first_tokens_and_the_special_ones(model: Embedder) -> None:
    text = "Der Zug nach Berlin hat Verspätung."
    with pytest.warns(TruncationWarning, match="1 of 2 texts were cut to 5 tokens .*text 1, after 12 of 35 characters"):
        vectors = model.encode(["a", text], max_length=5)
    with pytest.warns(TruncationWarning):
        tokens = model.encode(text, max_length=5, output_value="token_embeddings")
    assert tokens.shape == (5, 256)
    np.testing.assert_allclose(vectors[1], tokens.mean(axis=0), rtol=0, atol=1e-5)


def test_a_text_of_exactly_max_length_is_not_cut(model: Embedder) -> None:
    text = "Der Zug nach Berlin hat Verspätung."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode(text, max_length=model.count_tokens(text)[0])


def test_max_seq_length_is_the_default_of_max_length_and_can_be_set() -> None:
    model = Embedder.load(TRAINED)
    assert model.max_seq_length == 8192
    model.max_seq_length = 4
    with pytest.warns(TruncationWarning):
        assert model.encode("one two three four", output_value="token_embeddings").shape[0] == 4
    with pytest.raises(InputError, match="max_seq_length is 9000"):
        model.max_seq_length = 9000


def test_normalised_vectors_have_length_one_and_the_default_ones_do_not(model: Embedder) -> None:
    normalised = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(normalised, axis=1), 1, atol=1e-6)
    plain = model.encode(TEXTS)
    assert np.abs(np.linalg.norm(plain, axis=1) - 1).max() > 0.01
    np.testing.assert_allclose(normalised, plain / np.linalg.norm(plain, axis=1, keepdims=True), rtol=0, atol=1e-6)


def test_shorter_vectors_are_the_first_channels_normalised_afterwards(model: Embedder) -> None:
    full = model.encode(TEXTS)
    np.testing.assert_array_equal(model.encode(TEXTS, truncate_dim=32), full[:, :32])
    short = model.encode(TEXTS, truncate_dim=32, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)


def test_token_embeddings_average_to_the_vector(model: Embedder) -> None:
    rows = model.encode(TEXTS, output_value="token_embeddings")
    assert [len(row) for row in rows] == model.count_tokens(TEXTS)
    means = np.stack([row.mean(axis=0) for row in rows])
    np.testing.assert_allclose(means, model.encode(TEXTS), rtol=0, atol=1e-5)


def test_similarity_is_the_cosine_of_every_pair(model: Embedder) -> None:
    vectors = model.encode(["How is the weather today?", "Wie ist das Wetter heute?", "My printer does not work."])
    cosines = model.similarity(vectors[:1], vectors)
    assert cosines.shape == (1, 3)
    assert cosines[0, 0] == pytest.approx(1)
    assert cosines[0, 1] == pytest.approx(0.929, abs=0.001)  # the model card's figure
    assert cosines[0, 2] < 0.3


def test_a_bundles_prompts_go_before_queries_and_documents(edit_manifest: Callable) -> None:
    prompts = {"query": "t9 ", "passage": "t10 t11 "}
    model = Embedder.load(edit_manifest(lambda manifest: manifest.update(prompts=prompts)))
    np.testing.assert_array_equal(model.encode_query(["t7 t8"]), model.encode(["t9 t7 t8"]))
    np.testing.assert_array_equal(model.encode_document("t7"), model.encode("t10 t11 t7"))
    np.testing.assert_array_equal(model.encode("t7", prompt_name="query"), model.encode("t7", prompt="t9 "))


def test_a_default_prompt_goes_before_every_text(edit_manifest: Callable) -> None:
    plain = Embedder.load(edit_manifest(lambda manifest: None)).encode("t9 t7")
    edit_manifest(lambda manifest: manifest.update(prompts={"default": "t9 "}, default_prompt="default"))
    model = Embedder.load(edit_manifest(lambda manifest: None))
    np.testing.assert_array_equal(model.encode("t7"), plain)


def test_without_prompts_queries_and_documents_are_plain_texts(model: Embedder) -> None:
    np.testing.assert_array_equal(model.encode_query(TEXTS), model.encode(TEXTS))
    np.testing.assert_array_equal(model.encode_document(TEXTS), model.encode(TEXTS))


@pytest.mark.parametrize("mode", ["cls", "max"])
def test_other_pooling_of_a_bundle_is_honoured(edit_manifest: Callable, mode: str) -> None:
    model = Embedder.load(edit_manifest(lambda manifest: manifest["pooling"].update(mode=mode)))
    texts = ["t7 t8 t9", "t10"]
    rows = model.encode(texts, output_value="token_embeddings")
    expected = [row[0] if mode == "cls" else row.max(axis=0) for row in rows]
    np.testing.assert_allclose(model.encode(texts), np.stack(expected), rtol=0, atol=1e-5)


def test_a_bundle_that_normalises_gives_vectors_of_length_one_by_default(edit_manifest: Callable) -> None:
    bundle = edit_manifest(lambda manifest: manifest["pooling"].update(normalize=True))
    with pytest.raises(SelfTestError):  # made without it
        Embedder.load(bundle)
    model = Embedder.load(bundle, self_test=False)
    np.testing.assert_allclose(np.linalg.norm(model.encode(["t7 t8 t9", "t10"]), axis=1), 1, atol=1e-6)


def test_a_progress_bar_counts_texts_on_stderr_when_asked(model: Embedder, capsys: pytest.CaptureFixture) -> None:
    model.encode(TEXTS, batch_size=2, show_progress_bar=True)
    captured = capsys.readouterr()
    assert "6/6 texts" in captured.err
    assert captured.out == ""
    model.encode(TEXTS)
    assert capsys.readouterr().err == ""


def test_progress_says_rate_and_time_left() -> None:
    stream = io.StringIO()
    with Progress(1000, "texts", enabled=True, stream=stream) as progress:
        progress.advance(250)
    assert stream.getvalue().startswith("\r[######..................] 250/1000 texts, ")
    assert "/s, " in stream.getvalue()
    assert " left" in stream.getvalue()


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_denormals_are_set_in_onnxruntime(threads: int) -> None:
    model = Embedder.load(TRAINED, threads=threads)
    assert model.threads == threads
    options = model._model.session._session.get_session_options()
    assert options.intra_op_num_threads == threads
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("threads", "error", "words"),
    [
        (0, InputError, "threads is 0"),
        ("all", InputError, "'all' is unknown"),
        (100_000, InputError, "from 1 to 1024"),
        ("2", InputError, "threads '2' is unknown; give a number or 'auto'"),
        (1.5, InputTypeError, "threads is float"),
    ],
)
def test_impossible_threads_are_refused(threads: object, error: type, words: str, shared: bool) -> None:
    with pytest.raises(error, match=words):
        SharedThreads(threads) if shared else Embedder.load(TRAINED, threads=threads)


def test_half_precision_vectors_can_be_compared(model: Embedder) -> None:
    rows = np.full((2, 8), 300, dtype=np.float16)
    np.testing.assert_allclose(model.similarity(rows, rows), 1, atol=1e-6)


def test_the_model_tells_its_size_precision_and_provider() -> None:
    model = Embedder.load(TRAINED, precision="int8", provider="cpu")
    assert model.get_sentence_embedding_dimension() == 256
    assert (model.precision, model.provider) == ("int8", "cpu")
    assert model.bundle.manifest.model.max_tokens == 8192
