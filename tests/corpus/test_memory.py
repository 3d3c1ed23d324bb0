"""Memory does not grow with the corpus: peaks of child processes on a small and a large input."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import command
from support.python import run_python

TEXT = "Wind und Regen " * 300  # 4.5 kB, of which few tokens are read
LEEWAY = 64 << 20


def write_large(path: Path, rows: int) -> int:
    if path.suffix == ".parquet":  # one row group, as careless writers make
        texts = pa.array([f"{number} {TEXT}" for number in range(rows)])
        pq.write_table(pa.table({"text": texts}), path, row_group_size=rows, compression="none", use_dictionary=False)
    else:
        with path.open("w") as stream:
            stream.writelines(f"{number} {TEXT}\n" for number in range(rows))
    return path.stat().st_size


def peak(arguments: list[str]) -> int:
    """Bytes. By way of a small process: Linux counts what a child shared with its parent before it became a program."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    return int(run_python("-c", code, *arguments).stdout) * 1024


@pytest.mark.parametrize(("ending", "output"), [(".parquet", "out.parquet"), (".txt", "out.npy")])
def test_a_corpus_fifteen_times_as_large_needs_no_more_memory(ending: str, output: str, tmp_path: Path) -> None:
    peaks = []
    for rows in (2_000, 30_000):
        size = write_large(tmp_path / f"texts{ending}", rows)
        options = ("--max-length", 4, "--truncation", "head", "--shard-rows", 1000)
        peaks.append(peak(command(tmp_path / f"texts{ending}", tmp_path / output, *options)))
        (tmp_path / output).unlink()
    assert size > 120 << 20
    assert peaks[1] < peaks[0] + LEEWAY, [count >> 20 for count in peaks]
