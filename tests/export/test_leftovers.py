"""What a killed export leaves beside its output, and what the next export to that output does with it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import GOLDENS, Run

SMALL = GOLDENS / "plain-12h-bert-prefix"
TOLD = "removed what a killed process had left unfinished: "


@contextmanager
def stopped_export(output: Path) -> Iterator[subprocess.Popen[str]]:
    """An export that has begun, and stands still; killed afterwards."""
    command = [sys.executable, "-m", "jinabert_onnx", "export", str(SMALL), str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("running torch") for line in process.stderr)
        process.send_signal(signal.SIGSTOP)
        try:
            yield process
        finally:
            process.kill()


def left_by_a_killed_export(output: Path) -> Path:
    before = set(output.parent.iterdir())
    with stopped_export(output):
        pass
    (left,) = set(output.parent.iterdir()) - before
    return left


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def told_by_export(run: Run, output: Path) -> list[str]:
    done = run("export", SMALL, output)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_the_next_export_removes_what_a_killed_one_left_and_says_so(run: Run, tmp_path: Path) -> None:
    left = left_by_a_killed_export(tmp_path / "out")
    assert left.name.startswith(".out.")
    assert [line for line in told_by_export(run, tmp_path / "out") if "removed" in line] == [TOLD + left.name]
    assert names(tmp_path) == ["out"]


def test_what_a_running_export_works_on_is_never_removed(run: Run, tmp_path: Path) -> None:
    with stopped_export(tmp_path / "out") as first:
        (stage,) = tmp_path.iterdir()
        held = sorted(stage.rglob("*"))
        assert TOLD not in "\n".join(told_by_export(run, tmp_path / "out"))
        assert sorted(stage.rglob("*")) == held
        first.send_signal(signal.SIGCONT)
        _, errors = first.communicate(timeout=120)
    assert first.returncode == 1
    assert errors.splitlines()[-1].endswith("out: exists already; give another path, or --force to replace it")
    assert names(tmp_path) == ["out"]
