"""What is compared with the card, by which figures, and what is told of the rest."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from jinabert_onnx_eval.mteb import report
from jinabert_onnx_eval.mteb.card import MEASURES, CardRow, read_card
from jinabert_onnx_eval.mteb.compare import (
    AGREES,
    DIFFERS,
    NOT_COMPARABLE,
    NOT_RUN,
    TOLERANCES,
    Pin,
    Result,
    compare,
    why_not_comparable,
)
from jinabert_onnx_eval.mteb.tasks import pins_of

ROWS = {row.name: row for row in read_card()}
PIN = Pin("abc", ("test",), ("default",))
ROW = CardRow("STS", "T", "default", "test", "abc", {"cos_sim_spearman": 80.0, "cos_sim_pearson": 70.0})


def result(metric: str, score: object, revision: str = "abc", **more: object) -> Result:
    return Result("T", revision, "2", {"test": {"default": {metric: score, **more}}})


@pytest.fixture(scope="module")
def pins() -> dict[str, Pin]:
    return pins_of(ROWS.values())


def test_the_card_has_88_rows_of_eight_types_each_with_the_metric_it_is_judged_by():
    assert len(read_card()) == len(ROWS) == 88
    assert {row.type for row in ROWS.values()} == set(MEASURES) == set(TOLERANCES)
    assert all(row.measure.card in row.metrics for row in ROWS.values())


def test_29_rows_have_data_and_protocol_of_the_installed_mteb(pins):
    comparable = [row for row in ROWS.values() if not why_not_comparable(row, pins.get(row.task))]
    assert len(comparable) == 29
    assert {row.type for row in comparable} == set(MEASURES) - {"BitextMining", "Reranking", "Retrieval"}


def test_tasks_under_other_names_are_found(pins):
    assert {ROWS["MIRACL"].task, ROWS["PawsX"].task} <= set(pins)
    assert "WikiCLIR" not in pins
    assert compare(ROWS["WikiCLIR"], None, None).reason == "no such task in mteb"
    for name in ("MIRACL", "PawsX", "XMarket", "BUCC (de-en)", "STS22 (de-en)", "MTOPIntentClassification (de)"):
        assert ROWS[name].subset in pins[ROWS[name].task].subsets, name


def test_a_score_within_the_tolerance_agrees_and_one_beyond_differs():
    for score, verdict in ((0.8019, AGREES), (0.7981, AGREES), (0.8021, DIFFERS), (0.7, DIFFERS)):
        found = compare(ROW, PIN, result("cosine_spearman", score, cosine_pearson=0.71))
        assert found.verdict == verdict
        assert found.difference == pytest.approx(100 * score - 80)
        assert found.others == {"cos_sim_pearson": (70.0, pytest.approx(71.0))}


def test_what_is_no_number_differs():
    found = compare(ROW, PIN, result("cosine_spearman", float("nan")))
    assert (found.verdict, found.ours) == (DIFFERS, None)


def test_what_was_not_run_is_told_so():
    assert compare(ROW, PIN, None).verdict == NOT_RUN
    other = Result("T", "abc", "2", {"validation": {"default": {"cosine_spearman": 0.8}}})
    assert compare(ROW, PIN, other).verdict == NOT_RUN


@pytest.mark.parametrize(
    ("row", "pin", "reason"),
    [
        (ROW, replace(PIN, revision="def"), "other revision (card abc, mteb def)"),
        (replace(ROW, revision=None), PIN, "card names no revision (mteb abc)"),
        (ROW, replace(PIN, splits=("dev",)), "other split (card test, mteb dev)"),
        (replace(ROW, config="de"), PIN, "no subset de in mteb"),
        (replace(ROW, type="Reranking", metrics={"map": 80.0}), PIN, "other protocol"),
    ],
)
def test_other_data_or_another_protocol_is_not_compared(row, pin, reason):
    found = compare(row, pin, None)
    assert found.verdict == NOT_COMPARABLE
    assert reason in found.reason


def test_a_score_that_cannot_be_compared_is_told_all_the_same():
    found = compare(ROW, PIN, result("cosine_spearman", 0.8, revision="def"))
    assert (found.verdict, found.ours, found.tolerance) == (NOT_COMPARABLE, 80.0, None)


def test_the_data_that_was_read_counts_not_what_mteb_would_read_now():
    assert compare(ROW, replace(PIN, revision="def"), result("cosine_spearman", 0.8)).verdict == AGREES


def test_repetitions_that_scatter_widen_the_tolerance():
    row = replace(ROW, type="Classification", metrics={"accuracy": 80.0})
    steady = [{"accuracy": 0.78}] * 10
    scattered = [{"accuracy": 0.70}, {"accuracy": 0.86}] * 5
    assert compare(row, PIN, result("accuracy", 0.78, scores_per_experiment=steady)).verdict == DIFFERS
    found = compare(row, PIN, result("accuracy", 0.78, scores_per_experiment=scattered))
    assert found.verdict == AGREES
    assert found.tolerance == pytest.approx(2 * (2 * 64 / 0.9 / 10) ** 0.5)


def test_the_report_has_each_row_in_each_form(pins):
    results = {
        "BIOSSES": Result("BIOSSES", ROWS["BIOSSES"].revision, "2", {"test": {"default": {"cosine_spearman": 0.769}}})
    }
    found = [compare(row, pins.get(row.task), results.get(row.task)) for row in ROWS.values()]
    (line,) = [line for line in report.lines_of(found, [], True) if line.startswith("BIOSSES")]
    assert line.split() == ["BIOSSES", "cos_sim_spearman", "76.91", "76.90", "-0.01", "0.20", "agrees"]
    assert report.summary(found).startswith("29 of 88 rows of the card can be compared: 1 agree, 0 differ, 28 not run.")
    rows = list(csv.DictReader(io.StringIO(report.csv_of(found))))
    assert len(rows) == len(report.data_of(found, [])["rows"]) == 88
    (row,) = [row for row in rows if row["verdict"] == "agrees"]
    assert float(row["difference"]) == pytest.approx(-0.006, abs=1e-3)
    assert "| BIOSSES | cos_sim_spearman | 76.91 | 76.90 |" in report.markdown_of("title", found, [], True)
    assert report.not_on_card(ROWS.values(), results) == []
    json.dumps(report.data_of(found, []), allow_nan=False)
