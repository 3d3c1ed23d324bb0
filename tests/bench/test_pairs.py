"""Rerankers and classifiers: pairs of exact lengths, the same sweep over them, and a record that says what it is of."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx import CrossEncoder, InputError, TruncationError
from jinabert_onnx.bench import Record, Wanted, compare, read_record, run_bench
from jinabert_onnx.bench.kinds import CROSS_ENCODER
from jinabert_onnx.bench.plan import Configuration
from jinabert_onnx.bench.processes import Place, run_child
from jinabert_onnx.bench.summary import rows
from jinabert_onnx.bench.table import lines_of
from jinabert_onnx.bench.texts import QUERY_TOKENS, PairMaker
from jinabert_onnx.cli import main
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.scoring.options import MAX_LENGTH
from jinabert_onnx.text.pair_tokenizer import tokenize_pairs
from jinabert_onnx.text.tokenizer import Tokenizer
from support.paths import BUNDLES

NAMES = ("reranker-6h", "classifier-3-4h")  # the second has token types, and three scores a pair
MAKERS = {name: PairMaker(BUNDLES / name) for name in (*NAMES, "reranker-12h")}
WANTED = Wanted(("int8",), threads=(1,), batch_sizes=(1, 3), lengths=(16, 60), quick=True, seconds=1, rounds=3)
ONE = Configuration("int8", "cpu", 1)


@pytest.fixture(scope="module", params=NAMES)
def pairs(request: pytest.FixtureRequest) -> Record:
    return run_bench(str(BUNDLES / request.param), WANTED)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=25, deadline=None)
@given(length=st.integers(8, 3000), seed=st.integers(0, 1 << 32))
def test_a_pair_has_exactly_the_tokens_asked_for(name: str, length: int, seed: int):
    pair = MAKERS[name].make(length, np.random.default_rng(seed))
    (row,) = tokenize_pairs(Tokenizer(BUNDLES / name / "tokenizer.json"), [pair], 1 << 40, count_dropped=True)
    assert len(row.input_ids) == length
    query, document = row.kept
    assert 1 <= query <= document
    assert query == QUERY_TOKENS or query in (document, document - 1)


@pytest.mark.parametrize("name", MAKERS)
def test_a_pair_shorter_than_two_words_is_refused(name: str):
    maker = MAKERS[name]
    assert all(maker.make(maker.shortest, np.random.default_rng(0)))
    with pytest.raises(InputError, match=f"shortest pair has {maker.shortest} tokens"):
        maker.make(maker.shortest - 1, np.random.default_rng(0))


def test_every_combination_is_measured(pairs: Record):
    cells = [(found.cell.batch_size, found.cell.length) for found in pairs.cells]
    assert cells == list(product(WANTED.batch_sizes, WANTED.lengths))
    assert all(len(cell.rounds) == WANTED.rounds for cell in pairs.cells)
    assert [row.length for row in pairs.memory] == list(WANTED.lengths)
    assert [start.precision for start in pairs.cold_starts] == ["int8"]
    assert pairs.skipped == ()


def test_the_table_speaks_of_pairs_and_scores(pairs: Record):
    text = "\n".join(lines_of(pairs))
    told = ("JinaBERT cross-encoder", "pairs x tokens", "pairs/s", "cold start to the first score of 16 tokens")
    for words in (*told, "process that scores one pair", "one call of `predict`, pairs to scores"):
        assert words in text
    assert "text" not in text
    assert "vector" not in text


def test_rows_count_pairs(pairs: Record):
    for row, times in zip(rows(pairs), pairs.cells, strict=True):
        assert row["pairs_a_second"] == pytest.approx(times.cell.batch_size / times.median.value, rel=0.01)
        assert "texts_a_second" not in row


def test_the_record_says_what_it_is_of(pairs: Record, record: Record, tmp_path: Path):
    assert (pairs.model.kind, record.model.kind) == ("cross-encoder", "embedding model")
    (tmp_path / "bench.json").write_text(pairs.to_json(rows(pairs)), "utf-8")
    assert read_record(tmp_path) == pairs
    assert compare(pairs, read_record(tmp_path)).differences


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_process_computes_the_scores_that_the_cross_encoder_does(name: str):
    pair = MAKERS[name].make(60, np.random.default_rng(0))
    answer = run_child(Place(str(BUNDLES / name), None), ONE, pair)
    with CrossEncoder.load(BUNDLES / name, precision="int8", threads=1) as model:
        np.testing.assert_allclose(answer["result"], np.atleast_1d(model.predict(pair)), rtol=1e-6)


def test_nothing_of_a_pair_is_cut():
    longer = MAKERS["reranker-6h"].make(8193, np.random.default_rng(0))
    with CrossEncoder.load(BUNDLES / "reranker-6h", precision="int8", threads=1) as model:
        model.max_seq_length = 32
        CROSS_ENCODER.run(model, [MAKERS["reranker-6h"].make(64, np.random.default_rng(0))], 1, Cancellation())
        with pytest.raises(TruncationError, match="8193 tokens"):
            CROSS_ENCODER.run(model, [longer], 1, Cancellation())


def test_a_plain_sweep_reads_windows_of_rank_and_the_longest_pair():
    assert {MAX_LENGTH, 8192} <= set(CROSS_ENCODER.lengths)
    assert MAX_LENGTH in CROSS_ENCODER.quick_lengths


def test_texts_are_not_compared_with_pairs(
    pairs: Record, record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    files = [tmp_path / "texts.json", tmp_path / "pairs.json"]
    for file, one in zip(files, (record, pairs), strict=True):
        file.write_text(one.to_json(), "utf-8")
    assert main(["bench", "compare", *map(str, files)]) == 1
    told = capsys.readouterr()
    assert "embedding model before and cross-encoder after" in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_a_record_without_a_kind_is_of_texts(record: Record, tmp_path: Path):
    content = json.loads(record.to_json())
    del content["model"]["kind"]
    (tmp_path / "bench.json").write_text(json.dumps(content), "utf-8")
    assert read_record(tmp_path) == record


def test_a_record_of_an_unknown_kind_is_refused(record: Record, tmp_path: Path):
    content = json.loads(record.to_json())
    content["model"]["kind"] = "translator"
    (tmp_path / "bench.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(InputError, match="translator"):
        read_record(tmp_path)


def test_the_command_takes_a_reranker(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    short = ["--quick", "--seconds", "1", "--rounds", "2", "--length", "64", "--batch-size", "2", "--precision", "int8"]
    assert main(["bench", str(BUNDLES / "reranker-6h"), *short, "--output", str(tmp_path / "results")]) == 0
    assert "pairs/s" in capsys.readouterr().out
    assert read_record(tmp_path / "results").kind is CROSS_ENCODER
