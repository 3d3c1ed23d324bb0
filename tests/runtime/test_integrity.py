"""When files are read through, what of it is remembered, and that nothing wrong is ever believed."""

from __future__ import annotations

import os
import shutil
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest
from jinabert_onnx import BundleError, InputError
from jinabert_onnx.bundle.integrity import cache_directory, check_files
from jinabert_onnx.bundle.manifest import Bundle, open_bundle
from support.bundles import flip_a_byte

pytestmark = pytest.mark.standard_library

NAME = "onnx/model.onnx"
READ: deque[str] = deque(maxlen=100)
sys.addaudithook(lambda event, arguments: READ.append(str(arguments[0])) if event == "open" else None)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where checks are remembered; not there yet."""
    monkeypatch.setenv("JINABERT_ONNX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "verified"


@pytest.fixture
def bundle(bundle_copy: Path, cache: Path) -> Bundle:
    return open_bundle(bundle_copy)


def is_read(bundle: Bundle, integrity: str) -> bool:
    """Whether a check, which passes, opens the file."""
    READ.clear()
    check_files(bundle, [NAME], integrity)
    return str(bundle.path / NAME) in READ


@pytest.mark.parametrize("first", ["fast", "full"])
def test_fast_reads_a_file_once_and_full_always(bundle: Bundle, first: str) -> None:
    assert is_read(bundle, first)
    assert [is_read(bundle, "fast") for _ in range(2)] == [False, False]
    assert [is_read(bundle, "full") for _ in range(2)] == [True, True]
    assert not is_read(bundle, "off")


def test_one_bundle_does_not_vouch_for_another(bundle: Bundle, tmp_path: Path) -> None:
    check_files(bundle, [NAME], "fast")
    other = open_bundle(Path(shutil.copytree(bundle.path, tmp_path / "other")))
    assert is_read(other, "fast")


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.utime(path, ns=(0, 0)),
        lambda path: shutil.copy2(path, path.with_suffix(".copy")).replace(path),
    ],
    ids=["time", "inode"],
)
def test_a_file_that_may_have_changed_is_read_again(bundle: Bundle, change: Callable[[Path], object]) -> None:
    check_files(bundle, [NAME], "fast")
    change(bundle.path / NAME)
    assert [is_read(bundle, "fast") for _ in range(2)] == [True, False]


def test_a_file_written_just_now_is_not_remembered_because_a_change_might_not_show(bundle: Bundle) -> None:
    (bundle.path / NAME).touch()
    assert [is_read(bundle, "fast") for _ in range(2)] == [True, True]


@pytest.mark.parametrize("integrity", ["fast", "full"])
def test_an_altered_file_is_refused_though_it_was_checked_before(bundle: Bundle, integrity: str) -> None:
    check_files(bundle, [NAME], integrity)
    flip_a_byte(bundle.path / NAME)
    for _ in range(2):
        with pytest.raises(BundleError, match=r"model\.onnx: altered, its SHA-256 differs from the manifest's"):
            check_files(bundle, [NAME], integrity)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no time of change")
def test_an_altered_file_whose_time_was_set_back_is_refused(bundle: Bundle) -> None:
    check_files(bundle, [NAME], "fast")
    before = (bundle.path / NAME).stat()
    later = bundle.path / "later"
    later.touch()
    while later.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of the file system ticks in milliseconds
        later.touch()
    flip_a_byte(bundle.path / NAME)
    os.utime(bundle.path / NAME, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BundleError, match="altered"):
        check_files(bundle, [NAME], "fast")


def test_the_hash_of_another_manifest_is_not_taken_for_this_ones(bundle: Bundle, edit_manifest: Callable) -> None:
    check_files(bundle, [NAME], "fast")
    path = edit_manifest(lambda manifest: manifest["files"][NAME].update(sha256="0" * 64))
    with pytest.raises(BundleError, match="altered"):
        check_files(open_bundle(path), [NAME], "fast")


def test_nothing_is_remembered_of_a_file_that_is_refused(bundle: Bundle, cache: Path) -> None:
    flip_a_byte(bundle.path / NAME)
    with pytest.raises(BundleError, match="altered"):
        check_files(bundle, [NAME], "fast")
    assert not cache.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"x" * 100_000, None])
def test_a_damaged_memory_is_written_anew(bundle: Bundle, cache: Path, content: bytes | None) -> None:
    check_files(bundle, [NAME], "fast")
    (entry,) = cache.iterdir()
    if content is None:
        entry.unlink()
    else:
        entry.write_bytes(content)
    assert [is_read(bundle, "fast") for _ in range(2)] == [True, False]
    assert [path.name for path in cache.iterdir()] == [entry.name]


@pytest.mark.parametrize("obstacle", ["a file", "a directory"])
def test_where_nothing_can_be_written_files_are_read_each_time(bundle: Bundle, cache: Path, obstacle: str) -> None:
    if obstacle == "a file":
        cache.parent.touch()
    else:
        check_files(bundle, [NAME], "fast")
        (entry,) = cache.iterdir()
        entry.unlink()
        entry.mkdir()
    assert [is_read(bundle, "fast") for _ in range(2)] == [True, True]
    assert [path for path in cache.glob("*") if path.is_file()] == []
    flip_a_byte(bundle.path / NAME)
    with pytest.raises(BundleError, match="altered"):
        check_files(bundle, [NAME], "fast")


def test_off_looks_only_whether_files_are_there(bundle: Bundle) -> None:
    flip_a_byte(bundle.path / NAME)
    check_files(bundle, [NAME], "off")
    (bundle.path / NAME).unlink()
    with pytest.raises(BundleError, match="missing from the bundle"):
        check_files(bundle, [NAME], "off")


@pytest.mark.parametrize("word", ["", "FULL", "none"])
def test_an_unknown_word_is_refused(bundle: Bundle, word: str) -> None:
    with pytest.raises(InputError, match=f"integrity '{word}' is unknown; use fast, full, off"):
        check_files(bundle, [NAME], word)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"JINABERT_ONNX_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b/verified"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/jinabert-onnx/verified"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/jinabert-onnx/verified"),
        ({"HOME": "/h"}, "/h/.cache/jinabert-onnx/verified"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other places")
def test_the_place_of_the_memory(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JINABERT_ONNX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_directory() == Path(expected)


@pytest.mark.parametrize("integrity", ["fast", "full"])
def test_a_link_out_of_the_bundle_to_the_same_bytes_is_refused(bundle: Bundle, tmp_path: Path, integrity: str) -> None:
    (bundle.path / NAME).replace(tmp_path / "elsewhere")
    (bundle.path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"model\.onnx: a link out of the bundle, to .*elsewhere"):
        check_files(bundle, [NAME], integrity)


def test_a_link_to_itself_is_refused(bundle: Bundle) -> None:
    (bundle.path / NAME).unlink()
    (bundle.path / NAME).symlink_to("model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx"):
        check_files(bundle, [NAME], "fast")


@pytest.mark.parametrize("place", ["bundle/kept", "models--o--n/blobs/1234", "blobs/12/1234"])
def test_links_within_the_bundle_and_to_the_hubs_cache_are_followed(bundle: Bundle, tmp_path: Path, place: str) -> None:
    snapshot = tmp_path / "models--o--n" / "snapshots" / "c0ffee"
    content = snapshot / "kept" if place == "bundle/kept" else tmp_path / place
    shutil.copytree(bundle.path, snapshot)
    content.parent.mkdir(parents=True, exist_ok=True)
    (snapshot / NAME).replace(content)
    (snapshot / NAME).symlink_to(content)
    (tmp_path / "a link to the whole").symlink_to(snapshot)
    for path in (snapshot, tmp_path / "a link to the whole"):
        check_files(open_bundle(path), [NAME], "full")
