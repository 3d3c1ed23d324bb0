"""Files and directories that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest
from jinabert_onnx.errors import DeadlineError, InputError
from jinabert_onnx.files.atomic import atomic_directory, atomic_file


def write_and_fail(path: Path, error: type[BaseException]) -> None:
    with atomic_file(path) as stream:
        stream.write(b"new")
        raise error


def fill_and_fail(path: Path, error: type[BaseException]) -> None:
    with atomic_directory(path) as directory:
        (directory / "inside").touch()
        raise error


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_appears_when_the_block_has_ended(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    with atomic_file(path, overwrite=False, durable=durable) as stream:
        stream.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_former_file_stands_until_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"former")
    with atomic_file(path) as stream:
        stream.write(b"new")
        assert path.read_bytes() == b"former"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing_and_the_former_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"former")
    with pytest.raises(error):
        write_and_fail(path, error)
    with pytest.raises(error):
        fill_and_fail(tmp_path / "directory", error)
    assert path.read_bytes() == b"former"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_there_is_not_overwritten_unless_that_is_allowed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists already"), atomic_file(link, overwrite=False):
        pytest.fail("began to write")
    with pytest.raises(InputError, match="exists already"), atomic_directory(link):
        pytest.fail("began to write")
    assert list(tmp_path.iterdir()) == [link]


def test_what_appears_while_the_block_runs_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"), atomic_file(tmp_path / "file", overwrite=False):
        (tmp_path / "file").write_bytes(b"of another process")
    with pytest.raises(InputError, match="exists already"), atomic_directory(tmp_path / "directory"):
        (tmp_path / "directory").mkdir()
    assert (tmp_path / "file").read_bytes() == b"of another process"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_permissions_are_those_of_new_files_unless_private(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "usual"), atomic_file(tmp_path / "private", private=True):
            pass
        with atomic_directory(tmp_path / "directory"):
            pass
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"usual": 0o640, "private": 0o600, "directory": 0o750}


def test_an_error_of_the_system_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(OSError, match="No space left") as full, atomic_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError) as missing, atomic_file(tmp_path / "missing" / "file"):
        pytest.fail("began to write")
    with pytest.raises(FileNotFoundError) as inside, atomic_directory(path) as directory:
        (directory / "missing" / "file").touch()
    assert [error.value.filename for error in (full, missing, inside)] == [
        str(path),
        str(tmp_path / "missing" / "file"),
        str(path),
    ]


def test_errors_of_others_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(DeadlineError, match="too late"), atomic_file(tmp_path / "file"):
        raise DeadlineError("too late")
    with pytest.raises(FileNotFoundError) as other, atomic_file(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert other.value.filename == str(tmp_path / "other")
