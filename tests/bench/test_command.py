"""`jinabert-onnx bench` as people run it: a process, its files, its errors."""

from __future__ import annotations

import csv
import io
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jinabert_onnx.bench import Record, plots, read_record
from jinabert_onnx.bench.csv_export import rows, to_csv
from jinabert_onnx.bench.output import require_free
from jinabert_onnx.bench.workloads import WORKLOADS
from jinabert_onnx.cli import bench, main
from jinabert_onnx.cli.main import _commands, _parse, _parser
from jinabert_onnx.errors import InputError

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "guides" / "benchmarking.md"
SHORT = ("--quick", "--seconds", "1", "--rounds", "3", "--length", "8", "--batch-size", "1", "2", "--precision", "int8")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def done(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A run that also tells which modules it had loaded at its end."""
    output = tmp_path_factory.mktemp("run") / "results"
    code = (
        "import sys; from jinabert_onnx.cli import main; code = main(sys.argv[1:]); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "bench", str(trained), *SHORT, "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120), output


def test_a_run_writes_table_json_csv_and_pictures(done: tuple[subprocess.CompletedProcess[str], Path]):
    run, output = done
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in output.iterdir()) == ["bench.csv", "bench.json", "bench.png", "bench.svg"]
    assert [path.name for path in output.parent.iterdir()] == ["results"]
    assert "1 x 8 " in run.stdout
    assert "int8, " in run.stdout
    record = read_record(output)
    assert (output / "bench.csv").read_text("utf-8") == to_csv(record)
    assert (output / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(output / "bench.svg").getroot().tag == f"{SVG}svg"


def test_what_happens_is_told_on_stderr(done: tuple[subprocess.CompletedProcess[str], Path]):
    lines = [line for line in done[0].stderr.splitlines() if line.startswith("jinabert-onnx: ")]
    assert lines[0].startswith("jinabert-onnx: 2 cells in 3 rounds; about ")
    assert lines[1:4] == ["jinabert-onnx: cold starts", "jinabert-onnx: memory", "jinabert-onnx: timing"]


def test_the_bench_needs_no_torch(done: tuple[subprocess.CompletedProcess[str], Path]):
    loaded = set(done[0].stderr.splitlines()[-1].split())
    assert {"jinabert_onnx", "onnxruntime", "matplotlib"} <= loaded
    assert not loaded & {"torch", "onnx", "onnxscript", "transformers", "mteb"}


def test_rows_of_the_sheet_are_the_cells(record: Record):
    read = list(csv.DictReader(io.StringIO(to_csv(record))))
    assert len(read) == len(record.cells) == len(rows(record))
    for row, found in zip(read, record.cells, strict=True):
        assert int(row["batch_size"]) == found.cell.batch_size
        assert float(row["p50_low_ms"]) <= float(row["p50_ms"]) <= float(row["p50_high_ms"])
        assert float(row["texts_a_second"]) == pytest.approx(found.texts / found.pass_time.value, rel=0.01)
        assert (row["p99_ms"] == "") == (found.latency(99) is None)


def test_the_same_record_gives_the_same_picture(record: Record, tmp_path: Path):
    for name in ("one.svg", "two.svg"):
        plots.draw(record, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_pictures_without_matplotlib_are_refused_before_anything_runs(trained: Path, tmp_path: Path):
    code = "import sys; sys.modules['matplotlib'] = None; from jinabert_onnx.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "bench", str(trained), *SHORT, "--output", str(tmp_path / "results")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "pip install 'jinabert-onnx[plots]'" in run.stderr
    assert run.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["cold starts", "timing"])
def test_an_interrupted_run_leaves_nothing(trained: Path, tmp_path: Path, moment: str):
    code = (  # a job in the background inherits SIGINT ignored
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from jinabert_onnx.cli import main; sys.exit(main())"
    )
    long = ("--quick", "--seconds", "600", "--rounds", "1000", "--precision", "int8", "--length", "2048")
    command = [sys.executable, "-c", code, "bench", str(trained), *long, "--output", str(tmp_path / "results")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        assert f"jinabert-onnx: {moment}\n" in iter(process.stderr.readline, "")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read().endswith("jinabert-onnx: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_results_are_not_overwritten(tmp_path: Path):
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(InputError, match="holds the results of a bench already"):
        require_free(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        require_free(tmp_path / "bench.json")
    with pytest.raises(InputError, match="there is no directory"):
        require_free(tmp_path / "none" / "results")


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
    assert len(lines) == 4
    parser = _parser(_commands())
    for line in lines:
        found = _parse(parser, shlex.split(line))
        assert (found.action == "compare") or found.quick + (found.output is not None) == 1


def test_the_word_run_may_be_left_out():
    words = ["bundle", "--quick", "--length", "8"]
    parser = _parser(_commands())
    assert _parse(parser, ["bench", *words]) == _parse(parser, ["bench", "run", *words])


def test_the_command_offers_the_workloads_that_there_are():
    assert tuple(WORKLOADS) == bench._WORKLOADS
