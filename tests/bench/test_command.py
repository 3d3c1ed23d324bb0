"""`jinabert-onnx bench` as people run it: a process, its files, its errors."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jinabert_onnx.bench import Record, read_record
from jinabert_onnx.bench.summary import rows
from jinabert_onnx.cli import main
from jinabert_onnx.cli.main import _commands, _parse, _parser
from support.paths import TRAINED
from support.python import Ended, run_python

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "guides" / "benchmarking.md"
SHORT = ("--quick", "--seconds", "1", "--rounds", "3", "--length", "8", "--batch-size", "1", "2", "--precision", "int8")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """A run that also tells which modules it had loaded at its end."""
    output = tmp_path_factory.mktemp("run") / "results"
    code = (
        "import sys; from jinabert_onnx.cli import main; code = main(sys.argv[1:]); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    return run_python("-c", code, "bench", TRAINED, *SHORT, "--output", output), output


def test_a_run_writes_table_and_json(done: tuple[Ended, Path]):
    run, output = done
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in output.iterdir()) == ["bench.json"]
    assert [path.name for path in output.parent.iterdir()] == ["results"]
    assert "1 x 8 " in run.stdout
    assert "int8, " in run.stdout
    assert json.loads((output / "bench.json").read_text("utf-8"))["summary"] == rows(read_record(output))


def test_what_happens_is_told_on_stderr(done: tuple[Ended, Path]):
    lines = [line for line in done[0].stderr.splitlines() if line.startswith("jinabert-onnx: ")]
    assert lines[0] == "jinabert-onnx: 2 cells in 3 rounds, about 1 s"
    assert lines[1:4] == ["jinabert-onnx: cold starts", "jinabert-onnx: memory", "jinabert-onnx: timing"]


def test_the_bench_needs_no_torch(done: tuple[Ended, Path]):
    loaded = set(done[0].stderr.splitlines()[-1].split())
    assert {"jinabert_onnx", "onnxruntime"} <= loaded
    assert not loaded & {"torch", "onnx", "onnxscript", "transformers", "mteb"}


def test_rows_of_the_summary_are_the_cells(record: Record):
    found = rows(record)
    assert len(found) == len(record.cells)
    for row, times in zip(found, record.cells, strict=True):
        assert (row["batch_size"], row["length"]) == (times.cell.batch_size, times.cell.length)
        assert row["p50_low_ms"] <= row["p50_ms"] <= row["p50_high_ms"]
        assert row["texts_a_second"] == pytest.approx(times.cell.batch_size / times.median.value, rel=0.01)
        assert (row["p99_ms"] is None) == (times.latency(99) is None)


def test_results_are_not_overwritten_and_nothing_runs_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for output, told in ((tmp_path, "exists already"), (tmp_path / "none" / "results", "none")):
        assert main(["bench", str(TRAINED), *SHORT, "--output", str(output)]) == 1
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["cold starts", "timing"])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, moment: str):
    code = (  # a job in the background inherits SIGINT ignored
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from jinabert_onnx.cli import main; sys.exit(main())"
    )
    long = ("--quick", "--seconds", "600", "--rounds", "1000", "--precision", "int8", "--length", "2048")
    command = [sys.executable, "-c", code, "bench", str(TRAINED), *long, "--output", str(tmp_path / "results")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        assert f"jinabert-onnx: {moment}\n" in iter(process.stderr.readline, "")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read().endswith("jinabert-onnx: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["bench"], 2, "MODEL"),
        (["bench", "compare", "a.json"], 2, "after"),
        (["bench", "compare", "none.json", "none.json"], 1, "none.json"),
        (["bench", "compare", "--max-slowdown", "3", "none.json", "none.json"], 1, "none.json"),
        (["bench", "compare", "a", "b", "--output", "c"], 2, "--output"),
        (["bench", "nowhere"], 1, "nowhere"),
        (["bench", "nowhere", "more"], 2, "more"),
        (["bench", "run", "nowhere", "--max-slowdown", "3"], 2, "--max-slowdown"),
        (["bench", "nowhere", "--threads", "many"], 1, "many"),
        (["bench", "compare", "a", "b", "--max-slowdown", "nan"], 1, "max_slowdown"),
    ],
)
def test_wrong_use_is_told_in_a_line(arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]):
    try:
        found = main(arguments)
    except SystemExit as ended:
        found = ended.code
    assert found == code
    assert told in capsys.readouterr().err


def test_documented_commands_are_understood():
    lines = re.findall(r"^    jinabert-onnx (bench .*?)(?:\s+#.*)?$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert len(lines) == 5
    parser = _parser(_commands())
    for line in lines:
        found = _parse(parser, shlex.split(line))
        assert (found.action == "compare") or found.quick + (found.output is not None) == 1


def test_the_word_run_may_be_left_out():
    words = ["bundle", "--quick", "--length", "8"]
    parser = _parser(_commands())
    assert _parse(parser, ["bench", *words]) == _parse(parser, ["bench", "run", *words])
