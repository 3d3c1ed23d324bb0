"""What two runs differ by, told from noise: a real record, and copies of it whose samples are drawn anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import InputError
from jinabert_onnx.bench import Record, compare, read_record
from jinabert_onnx.bench.verdicts import lines_of
from jinabert_onnx.cli import main
from support.paths import ROOT

Redraw = Callable[..., Record]


@pytest.fixture(scope="session")
def redraw(record: Record) -> Redraw:
    """The record as a machine gives it whose rounds vary by `noise`, `factor` times as slow where `int8` runs."""

    def one(seed: int, factor: float = 1.0, noise: float = 0.005, machine: float = 1.0) -> Record:
        generator = np.random.default_rng(seed)
        cells = []
        for found in record.cells:
            slow = factor if found.cell.configuration.precision == "int8" else 1.0
            levels = slow * np.exp(noise * generator.standard_normal(10))
            cells.append(replace(found, rounds=tuple((0.01 * found.cell.batch_size * level,) for level in levels)))
        ceilings = tuple(
            replace(
                found,
                rounds=tuple(replace(rates, fp32=3e11 * machine, int8=1e12 * machine) for rates in found.rounds),
            )
            for found in record.ceilings
        )
        return replace(record, cells=tuple(cells), cold_starts=(), ceilings=ceilings)

    return one


def verdicts(before: Record, after: Record, precision: str) -> set[str]:
    found = compare(before, after).differences
    return {item.verdict for item in found if item.kind == "time" and item.name.startswith(precision)}


def test_a_slower_precision_is_found_and_the_other_is_the_same(redraw: Redraw):
    before, after = redraw(1), redraw(2, factor=1.2)
    assert verdicts(before, after, "int8") == {"slower"}
    assert verdicts(before, after, "fp32") == {"same"}
    assert verdicts(after, before, "int8") == {"faster"}


def test_noise_is_not_a_difference(redraw: Redraw):
    for seed in range(5):
        found = compare(redraw(seed, noise=0.05), redraw(100 + seed, noise=0.05))
        assert {item.verdict for item in found.differences if item.kind == "time"} <= {"unclear", "same"}


@pytest.mark.parametrize(("factor", "noise", "verdict"), [(1.1, 0.2, "unclear"), (1.02, 0.001, "same")])
def test_a_difference_within_noise_or_a_small_one_is_none(redraw: Redraw, factor: float, noise: float, verdict: str):
    assert verdicts(redraw(1, noise=noise), redraw(2, factor=factor, noise=noise), "int8") == {verdict}


def test_what_the_machine_itself_lost_is_not_the_programs(redraw: Redraw):
    before, after = redraw(1), redraw(2, factor=1.2, machine=0.75)
    assert "slower" not in verdicts(before, after, "int8")
    assert max(compare(before, after).margins.values()) == pytest.approx(0.28)


def test_slower_than_counts_what_is_surely_beyond(redraw: Redraw):
    found = compare(redraw(1), redraw(2, factor=1.2))
    slower = found.slower_than(0.1)
    assert slower
    assert {item.name.partition(",")[0] for item in slower} == {"int8"}
    assert found.slower_than(0.25) == ()


def test_memory_differs_from_five_percent_on(redraw: Redraw, record: Record):
    more = replace(record, memory=tuple(replace(row, peak=round(row.peak * 1.2)) for row in record.memory))
    for after, expected in ((more, "more"), (record, "same")):
        found = compare(record, after)
        assert {item.verdict for item in found.differences if item.kind == "memory"} == {expected}


def test_only_the_same_work_is_compared(redraw: Redraw):
    before, after = redraw(1), redraw(2)
    fewer = replace(after, cells=tuple(found for found in after.cells if found.cell.length == 8))
    found = compare(before, fewer)
    assert {item.name.rpartition(" ")[2] for item in found.differences if item.kind == "time"} == {"8"}
    assert len(found.only_before) == len(before.cells) - len(fewer.cells)
    assert found.only_after == ()


def test_runs_with_nothing_in_common_are_refused(redraw: Redraw):
    before, after = redraw(1), redraw(2)
    one, other = (
        replace(record, cells=tuple(found for found in record.cells if found.cell.length == length))
        for record, length in ((before, 8), (after, 40))
    )
    with pytest.raises(InputError, match="no timing in common"):
        compare(one, other)


def test_other_releases_and_processors_are_told(redraw: Redraw):
    before, after = redraw(1), redraw(2)
    after = replace(
        after,
        machine=replace(after.machine, cpu="Another CPU"),
        versions={**after.versions, "onnxruntime": "9.9"},
        attention={"int8": "of another kind"},
        layers={"int8": "of a third kind"},
    )
    text = "\n".join(lines_of(compare(before, after)))
    assert "Another CPU after" in text
    assert "9.9 after" in text
    assert "of another kind after" in text
    assert f"layers of int8: {before.layers['int8']} before, of a third kind after" in text


def test_the_command_judges_with_its_exit_code(redraw: Redraw, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    files = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    for file, record in zip(files, (redraw(1), redraw(2, factor=1.2)), strict=True):
        Path(file).write_text(record.to_json(), "utf-8")
    assert main(["bench", "compare", *files]) == 0
    table = capsys.readouterr().out
    assert "4 slower" in table
    assert "+20" in table
    assert main(["bench", "compare", *files, "--max-slowdown", "10"]) == 1
    assert "more than 10 % slower" in capsys.readouterr().err
    assert main(["bench", "compare", *files, "--max-slowdown", "40"]) == 0
    assert main(["bench", "compare", *reversed(files), "--max-slowdown", "0"]) == 0


def test_a_record_comes_back_from_its_file(record: Record, tmp_path: Path):
    (tmp_path / "bench.json").write_text(record.to_json(), "utf-8")
    assert read_record(tmp_path) == record


def test_the_committed_record_is_read():
    record = read_record(ROOT / "benchmarks" / "results" / "bench")
    assert {found.cell.length for found in record.cells} == {16, 128, 512}
    assert {item.verdict for item in compare(record, record).differences} == {"same", "unclear"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[: len(text) // 2], "damaged record"),
        (lambda text: "[]", "damaged record"),
        (lambda text: text.replace('"schema": 1', '"schema": 2', 1), "schema 2"),
        (lambda text: text.replace('"created"', '"begun"', 1), "created"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(
    record: Record, change: Callable[[str], str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(record.to_json(), "utf-8")
    bad.write_text(change(record.to_json()), "utf-8")
    assert main(["bench", "compare", str(good), str(bad)]) == 1
    error = capsys.readouterr().err
    assert "bad.json" in error
    assert told in error
    assert error.count("\n") == 1
