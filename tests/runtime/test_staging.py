"""Temporary directories beside an output: whose process has ended go, and nothing else does. With real processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jinabert_onnx.files.staging import REPLACED, staging

pytestmark = pytest.mark.standard_library

WORK = """
import sys
from pathlib import Path
from jinabert_onnx.files.staging import staging
with staging(Path(sys.argv[1]), print) as stage:
    (stage / "half").mkdir()
    print(stage, flush=True)
    sys.stdin.read()
"""


@contextmanager
def worked_on(output: Path) -> Iterator[Path]:
    """The directory of another process that works on `output`; the process is killed afterwards."""
    command = [sys.executable, "-c", WORK, str(output)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Path(process.stdout.readline().strip())
        finally:
            process.kill()


def left(output: Path) -> Path:
    with worked_on(output) as stage:
        pass
    assert (stage / "half").is_dir()
    return stage


def told_by_the_next(output: Path) -> list[str]:
    told: list[str] = []
    with staging(output, told.append):
        pass
    return told


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_killed_processes_left_goes_and_is_told_in_one_line(tmp_path: Path) -> None:
    with worked_on(tmp_path / "out") as one, worked_on(tmp_path / "out") as two:
        assert names(tmp_path) == sorted([one.name, two.name])
    expected = "removed what a killed process had left unfinished: " + ", ".join(sorted([one.name, two.name]))
    assert told_by_the_next(tmp_path / "out") == [expected]
    assert names(tmp_path) == []


def test_what_a_living_process_works_on_stays(tmp_path: Path) -> None:
    with worked_on(tmp_path / "out") as stage:
        assert told_by_the_next(tmp_path / "out") == []
        assert (stage / "half").is_dir()
    assert len(told_by_the_next(tmp_path / "out")) == 1


def test_nothing_is_left_of_a_process_that_ends_by_itself(tmp_path: Path) -> None:
    def interrupted() -> None:
        with staging(tmp_path / "out", print) as stage:
            (stage / "half").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_what_is_left_of_an_output_whose_name_begins_alike_stays(tmp_path: Path) -> None:
    stage = left(tmp_path / "out.old")
    assert told_by_the_next(tmp_path / "out") == []
    assert (stage / "half").is_dir()


def test_what_others_have_under_such_a_name_stays(tmp_path: Path) -> None:
    shutil.move(left(tmp_path / "out"), tmp_path / "elsewhere")
    (tmp_path / ".out.link").symlink_to("elsewhere")
    (tmp_path / ".out.12345678" / "half").mkdir(parents=True)
    (tmp_path / ".out.notes").write_text("dear")
    assert told_by_the_next(tmp_path / "out") == []
    assert names(tmp_path) == [".out.12345678", ".out.link", ".out.notes", "elsewhere"]
    assert (tmp_path / "elsewhere" / "half").is_dir()


def test_a_former_output_stays_as_long_as_it_is_the_only_one(tmp_path: Path) -> None:
    """A kill between two renames leaves it in the temporary directory."""
    stage = left(tmp_path / "out")
    (stage / REPLACED).mkdir()
    assert told_by_the_next(tmp_path / "out") == []
    assert (stage / REPLACED).is_dir()
    (tmp_path / "out").mkdir()
    assert len(told_by_the_next(tmp_path / "out")) == 1
    assert names(tmp_path) == ["out"]
