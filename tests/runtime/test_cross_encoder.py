"""Scores of pairs against those of the original implementation, through the whole runtime."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import (
    BundleError,
    Cancellation,
    CancelledError,
    CrossEncoder,
    DeadlineError,
    Embedder,
    InputError,
    InputTypeError,
    MemoryLimitError,
    SelfTestError,
    StateError,
    TruncationError,
    TruncationWarning,
)
from support.bundles import edit_json, record_again
from support.pair_goldens import NAMES, RERANKERS, PairGolden, read_pair_golden
from support.paths import BUNDLES, RERANKER, TRAINED, TRAINED_RERANKER


@pytest.fixture(scope="module", params=NAMES)
def golden(request: pytest.FixtureRequest) -> PairGolden:
    return read_pair_golden(request.param)


@pytest.fixture(scope="module")
def model() -> CrossEncoder:
    return CrossEncoder.load(TRAINED_RERANKER)


def in_columns(scores: np.ndarray) -> np.ndarray:
    """(pairs,) or (pairs, labels) -> (pairs, labels)."""
    return scores.reshape(len(scores), -1)


def test_logits_are_the_originals_all_at_once_and_one_by_one(golden: PairGolden) -> None:
    model = CrossEncoder.load(golden.bundle)
    together = model.predict(golden.pairs, raw_scores=True)
    np.testing.assert_allclose(in_columns(together), golden.logits, rtol=0, atol=5e-5)
    alone = np.stack([model.predict(pair, raw_scores=True) for pair in golden.pairs])
    np.testing.assert_allclose(in_columns(alone), golden.logits, rtol=0, atol=5e-5)


def test_scores_are_what_the_checkpoints_activation_makes_of_logits(golden: PairGolden) -> None:
    scores = CrossEncoder.load(golden.bundle).predict(golden.pairs)
    assert scores.shape == ((len(golden.pairs),) if golden.logits.shape[1] == 1 else golden.logits.shape)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(in_columns(scores), golden.scores, rtol=0, atol=2e-5)


def test_pairs_are_the_tokens_that_the_original_read(golden: PairGolden) -> None:
    predictions = CrossEncoder.load(golden.bundle).predict_with_report(golden.pairs)
    assert [report.tokens for report in predictions.pairs] == golden.lengths
    assert all(report.dropped == 0 and set(report.cuts) == {None} for report in predictions.pairs)


@pytest.mark.parametrize("name", RERANKERS)
def test_a_pair_that_is_too_long_is_cut_longest_text_first_as_the_original_was(name: str) -> None:
    golden, arrays = read_pair_golden(name), np.load(read_pair_golden(name).path / "golden.npz")
    pairs = [golden.pairs[index] for index in arrays["truncated_index"]]
    length = int(arrays["truncated_length"])
    found = CrossEncoder.load(golden.bundle).predict_with_report(pairs, max_length=length, raw_scores=True)
    np.testing.assert_allclose(in_columns(found.scores), arrays["truncated_logits"], rtol=0, atol=5e-5)
    assert [report.tokens for report in found.pairs] == arrays["truncated_lengths"].tolist()
    assert all(report.dropped > 0 and set(report.cuts) != {None} for report in found.pairs)


@pytest.mark.parametrize(("precision", "bound"), [("fp16", 0.01), ("int8", 0.1)])
def test_other_precisions_give_nearly_the_same_scores(golden: PairGolden, precision: str, bound: float) -> None:
    scores = CrossEncoder.load(golden.bundle, precision=precision).predict(golden.pairs)
    assert np.abs(in_columns(scores) - golden.scores).max() < bound


def test_the_trained_checkpoint_gives_the_scores_of_its_golden_file(model: CrossEncoder) -> None:
    entries = json.loads((RERANKER / "golden.json").read_text("utf-8"))["pairs"]
    pairs = [(entry["query"], entry["document"]) for entry in entries]
    with np.load(RERANKER / "golden.npz") as expected:
        np.testing.assert_allclose(model.predict(pairs, raw_scores=True), expected["logits"], rtol=0, atol=5e-5)
        np.testing.assert_allclose(model.predict(pairs), expected["scores"], rtol=0, atol=5e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_score_does_not_depend_on_the_pairs_beside_it(precision: str) -> None:
    golden = read_pair_golden("classifier-3-4h")
    model = CrossEncoder.load(golden.bundle, precision=precision)
    alone = np.stack([model.predict(pair, raw_scores=True) for pair in golden.pairs])
    for batch_size in (1, 3, 32):
        together = model.predict(golden.pairs[::-1], batch_size, raw_scores=True)[::-1]
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


def test_token_types_count_where_the_tokenizer_class_passes_them() -> None:
    golden = read_pair_golden("classifier-3-4h")
    session = CrossEncoder.load(golden.bundle).loaded.session
    row = next(index for index, pair in enumerate(golden.pairs) if not isinstance(pair, str))
    ids = golden.input_ids[row : row + 1, : golden.lengths[row]]
    types = golden.token_type_ids[row : row + 1, : golden.lengths[row]]
    assert set(types.ravel().tolist()) == {0, 1}
    with_types = session.run(ids, np.ones_like(ids), token_type_ids=types)
    np.testing.assert_allclose(with_types[0], golden.logits[row], rtol=0, atol=5e-5)
    assert np.abs(session.run(ids, np.ones_like(ids)) - with_types).max() > 0.01


def test_results_have_the_shape_of_what_was_given(model: CrossEncoder) -> None:
    three = CrossEncoder.load(BUNDLES / "classifier-3-4h")
    assert model.predict(("a", "b")).shape == ()
    assert model.predict("a").shape == ()
    assert model.predict([("a", "b")]).shape == (1,)
    assert model.predict([["a", "b"], "c"]).shape == (2,)
    assert model.predict([]).shape == (0,)
    assert three.predict(("a", "b")).shape == (3,)
    assert three.predict([]).shape == (0, 3)
    assert three.labels == ("contradiction", "entailment", "neutral")
    assert (three.activation, model.activation) == ("softmax", "sigmoid")


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([("a", 1)], "pair 0 is a tuple of str, int; give two texts"),
        (["a", ("a", "b", "c")], "pair 1 is a tuple of str, str, str; give two texts"),
        (["a", None], "pair 1 is NoneType; give two texts"),
        ([()], "pair 0 is a tuple of nothing"),
        (None, "pairs must be a str or an iterable of str, not NoneType"),
        ({"a": "b"}, "pass one column or field as a list"),
        (3, "not int"),
    ],
)
def test_what_is_no_pair_is_refused_by_its_index(model: CrossEncoder, pairs: object, words: str) -> None:
    with pytest.raises(InputTypeError, match=words):
        model.predict(pairs)


@pytest.mark.parametrize(
    "options", [{"max_length": 4}, {"max_length": 9000}, {"batch_size": 0}, {"truncation": "tail"}]
)
def test_options_out_of_range_are_refused(model: CrossEncoder, options: dict) -> None:
    with pytest.raises(InputError):
        model.predict([("a", "b")], **options)


def test_unknown_options_and_broken_unicode_are_refused(model: CrossEncoder) -> None:
    with pytest.raises(InputTypeError, match="unexpected keyword argument 'maximum'"):
        model.predict(["a"], maximum=3)
    with pytest.raises(InputError, match="pair 1 is not valid Unicode: lone surrogate at character 2"):
        model.predict(["a", ("b", "cd\ud800")])


def test_a_cut_is_told_or_refused_as_asked(model: CrossEncoder) -> None:
    pairs = [("short", "text"), ("some query", "word " * 100)]
    with pytest.warns(TruncationWarning, match=r"1 of 2 pairs were cut to 32 tokens \(the first: pair 1\)") as caught:
        model.predict(pairs, max_length=32)
    assert caught[0].filename == __file__
    with pytest.raises(TruncationError, match=r"pair 1 has \d+ tokens, \d+ more than the limit of 32"):
        model.predict(pairs, max_length=32, truncation="error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = model.predict(pairs, max_length=32, truncation="head")
    report = model.predict_with_report(pairs, max_length=32)
    np.testing.assert_array_equal(report.scores, quiet)
    assert report.pairs[0].cuts == (None, None)
    first, second = report.pairs[1].cuts
    assert first is None
    assert second is not None
    np.testing.assert_allclose(model.predict([("some query", pairs[1][1][:second])]), quiet[1:], rtol=0, atol=1e-6)


def test_a_stream_gives_the_same_in_order_and_takes_no_more_than_it_looks_ahead(model: CrossEncoder) -> None:
    pairs = [("query", "word " * (index % 7)) for index in range(50)]
    taken = []

    def source() -> object:
        for pair in pairs:
            taken.append(pair)
            yield pair

    stream = model.predict_stream(source(), look_ahead=8)
    first = next(stream)
    assert len(taken) == 8
    np.testing.assert_allclose([first, *stream], model.predict(pairs), rtol=0, atol=1e-6)
    assert list(model.predict_stream(("a", "b"))) == [pytest.approx(float(model.predict(("a", "b"))), abs=1e-6)]
    with pytest.raises(InputTypeError, match="pair 2 is int"):
        list(model.predict_stream(["a", "b", 3]))


def test_rows_of_a_table_are_pairs(model: CrossEncoder) -> None:
    pairs = [("a", "b"), ("query", "document")]
    np.testing.assert_array_equal(model.predict(np.array(pairs)), model.predict(pairs))
    np.testing.assert_array_equal(model.predict(np.array(pairs, dtype=object)), model.predict(pairs))


def test_each_class_refuses_the_other_kind_and_names_the_right_one() -> None:
    with pytest.raises(BundleError, match=r"a cross-encoder.*CrossEncoder\.load.*jinabert-onnx rerank"):
        Embedder.load(TRAINED_RERANKER)
    with pytest.raises(BundleError, match=r"an embedding model.*Embedder\.load.*jinabert-onnx embed"):
        CrossEncoder.load(TRAINED)


def test_calls_are_bounded_and_a_closed_model_says_so(model: CrossEncoder) -> None:
    with pytest.raises(DeadlineError):
        model.predict([("a", "b")] * 50, timeout=1e-9)
    ended = Cancellation()
    ended.cancel()
    with pytest.raises(CancelledError):
        model.rank("a", ["b"], cancellation=ended)
    with CrossEncoder.load(TRAINED_RERANKER) as other:
        pass
    with pytest.raises(StateError, match="closed"):
        other.predict(["a"])
    with pytest.raises(InputTypeError, match=r"a CrossEncoder cannot be pickled.*CrossEncoder\.load"):
        pickle.dumps(model)


@pytest.mark.parametrize("call", ["predict", "rank"])
def test_a_running_call_can_be_ended(model: CrossEncoder, call: str) -> None:
    cancellation, documents = Cancellation(), ["word " * 500] * 200
    threading.Timer(0.1, cancellation.cancel).start()
    pairs = [("query", text) for text in documents]
    run = partial(model.predict, pairs) if call == "predict" else partial(model.rank, "query", documents)
    with pytest.raises(CancelledError):
        run(cancellation=cancellation)
    assert model.predict(["a"]).shape == (1,)


def test_memory_is_bounded(model: CrossEncoder) -> None:
    with pytest.raises(MemoryLimitError, match="more than max_memory allows"):
        CrossEncoder.load(TRAINED_RERANKER, max_memory="20MB")
    bounded = CrossEncoder.load(TRAINED_RERANKER, max_memory="500MB")
    pairs = [("query", "word " * length) for length in (1, 200, 30)]
    np.testing.assert_allclose(bounded.predict(pairs), model.predict(pairs), rtol=0, atol=1e-6)
    tight = CrossEncoder.load(TRAINED_RERANKER, max_memory="150MB")
    with pytest.raises(MemoryLimitError, match=r"has 8\d\d\d tokens and takes \d+MB, more than"):
        tight.predict([("query", "word " * 9000)], truncation="head")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_self_test_compares_logits(tmp_path: Path, precision: str) -> None:
    bundle = Path(shutil.copytree(TRAINED_RERANKER, tmp_path / "bundle"))

    def shift(content: dict) -> None:
        content["self_test"]["vectors"][precision][0][0] += 0.5

    edit_json(bundle / "probes.json", shift)
    record_again(bundle, "probes.json")
    with pytest.raises(SelfTestError, match=f"{precision} on cpu computes different scores here than at export"):
        CrossEncoder.load(bundle, precision=precision)
    CrossEncoder.load(bundle, precision=precision, self_test=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: manifest.pop("classifier"), "'classifier' is missing"),
        (lambda manifest: manifest["classifier"].update(labels=[]), "labels are not names"),
        (lambda manifest: manifest["classifier"].update(labels=["a", "b"]), "the graph has 1 labels and the manifest"),
        (lambda manifest: manifest["classifier"].update(activation="relu"), "activation 'relu' is unknown"),
        (lambda manifest: manifest["classifier"].update(token_types=True), "the graph gives logits, and the manifest"),
    ],
)
def test_a_manifest_that_contradicts_the_graph_is_refused(tmp_path: Path, change: object, words: str) -> None:
    bundle = Path(shutil.copytree(TRAINED_RERANKER, tmp_path / "bundle"))
    edit_json(bundle / "manifest.json", change)
    with pytest.raises(BundleError, match=words):
        CrossEncoder.load(bundle)


def test_the_fingerprint_tells_lengths_and_precisions_apart(model: CrossEncoder) -> None:
    fingerprint = model.fingerprint
    assert CrossEncoder.load(TRAINED_RERANKER, precision="int8").fingerprint.space == fingerprint.space
    other = CrossEncoder.load(TRAINED_RERANKER)
    with pytest.raises(InputError, match="max_seq_length is 4; it must be from 5"):
        other.max_seq_length = 4
    other.max_seq_length = 100
    assert other.fingerprint.space != fingerprint.space
    assert model.predict_with_report(["a"]).fingerprint == fingerprint


@pytest.mark.parametrize(("precision", "logit", "places"), [("fp32", 1e-4, 1e-9), ("int8", 0.5, 0.02)])
def test_held_out_candidates_get_the_scores_and_places_of_the_model_card(
    precision: str, logit: float, places: float
) -> None:
    held_out = json.loads((RERANKER / "heldout.json").read_text("utf-8"))
    queries, texts = held_out["queries"][::4], held_out["texts"]
    pairs = [(query["query"], texts[candidate]) for query in queries for candidate in query["candidates"]]
    logits = CrossEncoder.load(TRAINED_RERANKER, precision=precision).predict(pairs, raw_scores=True)
    found, expected = logits.reshape(-1, 20), np.array([query["logits"] for query in queries])  # rounded to 4 digits
    np.testing.assert_allclose(found, expected, rtol=0, atol=logit)
    ours, cards = (
        [reciprocal_rank(row, query["right"]) for row, query in zip(np.round(rows, 4), queries, strict=True)]
        for rows in (found, expected)
    )
    assert np.mean(ours) == pytest.approx(np.mean(cards), abs=places)


def reciprocal_rank(logits: np.ndarray, right: int | None) -> float:
    """1 / the place of the right candidate among the first 10, else 0; ties count against it."""
    if right is None:
        return 0.0
    place = int((logits >= logits[right]).sum())
    return 1 / place if place <= 10 else 0.0
