"""The files in a bundle's tar archive and where their contents lie, read without believing the archive.

No header makes anything larger than itself be read, and only plain names of plain files inside the bundle are let
through. Knows nothing of manifests beyond their name; extracts nothing.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from jinabert_onnx.errors import BundleError, first_line
from jinabert_onnx.foreign_errors import is_from_reading

from .manifest import MANIFEST

AGAIN = "pack or download the archive again"

_LARGEST_HEADER = 1 << 16  # long names and extended headers are far below
_MOST_MEMBERS = 1000  # directories included; a bundle has some 20 files


@dataclass(frozen=True)
class Member:
    """The place of a file's content in the archive, in bytes."""

    offset: int
    size: int


def read_members(stream: BinaryIO, archive: Path) -> dict[str, Member]:
    """Find the files in the archive, by their names relative to the manifest's directory, the manifest among them.

    Raises:
        BundleError: not a tar file, cut short, without a manifest, or with anything in it but plain files.
    """
    members = _read_plain_files(stream, archive)
    manifests = [PurePosixPath(name) for name in members if PurePosixPath(name).name == MANIFEST]
    if not manifests:
        raise BundleError(f"{archive}: there is no {MANIFEST} in it, so it is not the archive of a bundle")
    root = min(manifests, key=lambda path: len(path.parts)).parent
    outside = next((name for name in members if not PurePosixPath(name).is_relative_to(root)), None)
    if outside is not None:
        raise BundleError(f"{archive}: {shorten_name(outside)} lies outside the bundle; do not use this archive")
    return {PurePosixPath(name).relative_to(root).as_posix(): member for name, member in members.items()}


def is_plain_name(name: str) -> bool:
    """Return whether this is the one way to write the name of a file below a directory, on every system."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and path.parts != () and ".." not in path.parts
    return inside and path.as_posix() == name and name.isprintable() and "\\" not in name and ":" not in name


def shorten_name(name: str) -> str:
    """Quote a name of unknown length for a message."""
    return repr(name if len(name) <= 100 else f"{name[:100]}…")


def _read_plain_files(stream: BinaryIO, archive: Path) -> dict[str, Member]:
    """Find the regular files in the archive by name; its directories hold nothing and are passed over."""
    archive_size = os.fstat(stream.fileno()).st_size
    members: dict[str, Member] = {}
    for header in _read_headers(stream, archive):
        if header.isdir():
            continue
        _require_plain_file(header, archive, archive_size)
        name = header.name.removeprefix("./")
        if not is_plain_name(name):
            raise BundleError(
                f"{archive}: file name {shorten_name(header.name)} leaves the bundle; do not use this archive"
            )
        if name in members:
            raise BundleError(f"{archive}: {shorten_name(name)} is in it twice; do not use this archive")
        members[name] = Member(header.offset_data, header.size)
    return members


def _require_plain_file(header: tarfile.TarInfo, archive: Path, archive_size: int) -> None:
    if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or header.issparse():
        raise BundleError(f"{archive}: {shorten_name(header.name)} is not a plain file; do not use this archive")
    if not 0 <= header.size <= archive_size - header.offset_data:
        raise BundleError(f"{archive}: cut short, or damaged at {shorten_name(header.name)}; {AGAIN}")


def _read_headers(stream: BinaryIO, archive: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=_HeadersOnly(stream, archive), mode="r:") as tar:  # type: ignore[call-overload]
            for count, header in enumerate(tar, start=1):
                if count > _MOST_MEMBERS:
                    raise BundleError(f"{archive}: more than {_MOST_MEMBERS} files, so not the archive of a bundle")
                yield header
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, BundleError) or not is_from_reading(error):
            raise
        raise BundleError(f"{archive}: not a tar file, or a damaged one ({first_line(error)}); {AGAIN}") from error


class _HeadersOnly:
    """A file of which no read is larger than a header, whatever size the headers in it claim."""

    def __init__(self, file: BinaryIO, archive: Path) -> None:
        self._file, self._archive = file, archive
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise BundleError(f"{self._archive}: a header of {size} bytes, which no archive of a bundle has; {AGAIN}")
        return self._file.read(size)
