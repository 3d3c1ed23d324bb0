"""Bundles that were exported beforehand, the command line as a process, and corpora in every format."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from jinabert_onnx import Embedder
from support.paths import TRAINED
from support.python import Ended, run_python

PATIENCE = 120.0  # seconds that nothing here should take
ROWS = 1200  # of a corpus that takes a while
TEXTS = [f"Satz {number}: „Wetter“, {'Wind und Regen, ' * (number % 13)}\nend" for number in range(150)] + [""]


@pytest.fixture(scope="session", params=["fp32", "int8"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def model() -> Embedder:
    return Embedder.load(TRAINED)


def command(source: Path, output: Path, *options: object) -> list[str]:
    return [
        *(sys.executable, "-m", "jinabert_onnx", "embed", str(TRAINED)),
        *("--input", str(source), "--output", str(output), "--no-self-test", "--threads", "1", *map(str, options)),
    ]


def embed(source: Path, output: Path, *options: object) -> Ended:
    return run_python(*command(source, output, *options)[1:], timeout=PATIENCE)


def refused(source: Path, output: Path, *options: object) -> str:
    """Return the one line of a command that fails and leaves nothing but what there was."""
    before = sorted(source.parent.iterdir())
    result = embed(source, output, *options)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert sorted(source.parent.iterdir()) == before
    return result.stderr


def start(source: Path, output: Path, shards: int, *options: object) -> subprocess.Popen[str]:
    """Return the process of a command once it has done as many shards, of 50 rows each."""
    line = command(source, output, "--shard-rows", 50, *options)
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    directory, deadline = output.with_name(f"{output.name}.parts"), time.monotonic() + PATIENCE
    while len(list(directory.glob("shard-*.json"))) < shards and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


def killed(source: Path, output: Path, shards: int) -> Path:
    """Kill a command once it has done as many shards; return the directory of what is done."""
    process = start(source, output, shards)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    return output.with_name(f"{output.name}.parts")


def corpus(path: Path) -> Path:
    """Write a file that takes a while."""
    return write(path, [TEXTS[number % len(TEXTS)] + str(number) for number in range(ROWS)])


def write(path: Path, texts: Sequence[str]) -> Path:
    """A file of the format that the ending names, with columns `id` and `text`."""
    table = pa.table({"id": list(range(len(texts))), "text": list(texts)})
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path, row_group_size=37)
        case ".feather":
            pyarrow.feather.write_feather(table, path, chunksize=37)
        case ".arrow":
            with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_stream(stream, table.schema) as writer:
                writer.write_table(table, max_chunksize=37)
        case ".jsonl":
            lines = [json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts)]
            path.write_text("".join(lines), encoding="utf-8")
        case ".csv" | ".tsv":
            with path.open("w", encoding="utf-8-sig", newline="") as stream:
                rows = csv.writer(stream, delimiter="," if path.suffix == ".csv" else "\t")
                rows.writerow(["id", "text"])
                rows.writerows(enumerate(texts))
    return path


def rejected(output: Path) -> dict[int, str]:
    path = output.with_name(f"{output.name}.rejected.jsonl")
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {record["row"]: record["reason"] for record in records}
