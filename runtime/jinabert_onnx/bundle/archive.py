"""A bundle as one tar file, for machines without a network: written and read all or nothing.

Nothing in an archive is believed. What may be written is what its manifest lists, once each, in the sizes and with the
hashes it states; only the space that the archive itself takes can be filled. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from jinabert_onnx.errors import BundleError, BundleNotFoundError, InputError, first_line
from jinabert_onnx.files.permissions import give_usual_permissions

from .manifest import MANIFEST, FileRecord, Manifest, open_bundle, parse_manifest

_CHUNK = 1 << 20
_LARGEST_HEADER = 1 << 16  # long names and extended headers are far below
_LARGEST_MANIFEST = 1 << 24
_MOST_MEMBERS = 1000  # directories included; a bundle has some 20 files

_AGAIN = "pack or download the archive again"


def pack(bundle: Path, archive: Path) -> None:
    """Write the files that the manifest of `bundle` lists, and it before them, to the new tar file `archive`.

    The same bundle always gives the same bytes. The archive appears only when every file has been read whole and has
    the manifest's SHA-256.

    Raises:
        InputError: `archive` exists already.
        BundleNotFoundError: there is no bundle at that place.
        BundleError: a file is missing, cut short or altered, or the manifest names one that cannot be archived.
        OSError: a file cannot be read or written.
    """
    manifest = open_bundle(bundle).manifest
    _require_storable(manifest, bundle / MANIFEST)
    content = (bundle / MANIFEST).read_bytes()
    with appearing_file(archive) as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))
        for name, record in sorted(manifest.files.items()):
            _add(tar, bundle / name, name, record)


def unpack(archive: Path, output: Path) -> None:
    """Write the bundle in the tar file `archive` to the new directory `output`.

    The directory appears only when every file has been written whole and has the manifest's SHA-256. Archives that
    others made of a bundle's directory are read too: names may begin with "./" or all lie in one directory.

    Raises:
        InputError: `output` exists already.
        BundleNotFoundError: there is no such file.
        BundleError: not a tar file, cut short, or with anything in it but the files of one bundle.
        OSError: a file cannot be read or written.
    """
    if not archive.is_file():
        raise BundleNotFoundError(f"{archive}: no such file (make one with: jinabert-onnx pack BUNDLE FILE.tar)")
    with archive.open("rb") as stream:
        places = _places(stream, archive)
        content = _manifest_bytes(stream, places[MANIFEST], archive)
        files = _parse(content, f"{archive}: {MANIFEST}").files
        _require_same_files(files, places, archive)
        with _appearing_directory(output) as stage:
            (stage / MANIFEST).write_bytes(content)
            for name, record in files.items():
                _extract(stream, places[name], stage / name, record, f"{archive}: {name}")


@dataclass(frozen=True)
class _Place:
    """Where in the archive a file's content lies, in bytes."""

    offset: int
    size: int


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)  # no time, owner or group, and mode 0o644
    member.size = size
    return member


def _add(tar: tarfile.TarFile, path: Path, name: str, record: FileRecord) -> None:
    if not path.is_file():
        raise BundleError(f"{path}: missing from the bundle; export or download the bundle again")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != record.bytes:
            raise BundleError(f"{path}: {size} bytes where the manifest says {record.bytes}; export the bundle again")
        hashing = _Hashing(file, path)
        tar.addfile(_member(name, size), hashing)  # type: ignore[arg-type]  # all it needs is `read`
    if hashing.digest.hexdigest() != record.sha256:
        raise BundleError(
            f"{path}: altered, its SHA-256 differs from the manifest's; export or download the bundle again"
        )


class _Hashing:
    """A file whose bytes are hashed as they are read, so that what is checked is what is written."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        if len(content) < size:
            raise BundleError(
                f"{self._path}: became shorter while it was being read; pack it again when nothing writes to it"
            )
        self.digest.update(content)
        return content


class _HeadersOnly:
    """A file of which no read is larger than a header, whatever size the headers in it claim."""

    def __init__(self, file: BinaryIO, archive: Path) -> None:
        self._file, self._archive = file, archive
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise BundleError(f"{self._archive}: a header of {size} bytes, which no archive of a bundle has; {_AGAIN}")
        return self._file.read(size)


def _places(stream: BinaryIO, archive: Path) -> dict[str, _Place]:
    """The files in the archive, by their names relative to the manifest's directory."""
    members = _members(stream, archive)
    manifests = [PurePosixPath(name) for name in members if PurePosixPath(name).name == MANIFEST]
    if not manifests:
        raise BundleError(f"{archive}: there is no {MANIFEST} in it, so it is not the archive of a bundle")
    root = min(manifests, key=lambda path: len(path.parts)).parent
    outside = next((name for name in members if not PurePosixPath(name).is_relative_to(root)), None)
    if outside is not None:
        raise BundleError(f"{archive}: {_shown(outside)} lies outside the bundle; do not use this archive")
    return {PurePosixPath(name).relative_to(root).as_posix(): place for name, place in members.items()}


def _members(stream: BinaryIO, archive: Path) -> dict[str, _Place]:
    """The regular files in the archive by name; its directories hold nothing and are passed over."""
    size = os.fstat(stream.fileno()).st_size
    members: dict[str, _Place] = {}
    for member in _headers(stream, archive):
        if member.isdir():
            continue
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            raise BundleError(f"{archive}: {_shown(member.name)} is not a plain file; do not use this archive")
        if not 0 <= member.size <= size - member.offset_data:
            raise BundleError(f"{archive}: cut short, or damaged at {_shown(member.name)}; {_AGAIN}")
        name = member.name.removeprefix("./")
        if not _is_plain(name):
            raise BundleError(f"{archive}: file name {_shown(member.name)} leaves the bundle; do not use this archive")
        if name in members:
            raise BundleError(f"{archive}: {_shown(name)} is in it twice; do not use this archive")
        members[name] = _Place(member.offset_data, member.size)
    return members


def _headers(stream: BinaryIO, archive: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(fileobj=_HeadersOnly(stream, archive), mode="r:") as tar:  # type: ignore[call-overload]
            for count, member in enumerate(tar, start=1):
                if count > _MOST_MEMBERS:
                    raise BundleError(f"{archive}: more than {_MOST_MEMBERS} files, so not the archive of a bundle")
                yield member
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{archive}: not a tar file, or a damaged one ({first_line(error)}); {_AGAIN}") from error


def _is_plain(name: str) -> bool:
    """Whether this is the one way to write the name of a file below a directory, on every system."""
    path = PurePosixPath(name)
    inside = not path.is_absolute() and path.parts != () and ".." not in path.parts
    return inside and path.as_posix() == name and name.isprintable() and "\\" not in name and ":" not in name


def _shown(name: str) -> str:
    """A name of unknown length, for a message."""
    return repr(name if len(name) <= 100 else f"{name[:100]}…")


def _manifest_bytes(stream: BinaryIO, place: _Place, archive: Path) -> bytes:
    if place.size > _LARGEST_MANIFEST:
        raise BundleError(f"{archive}: {MANIFEST} has {place.size} bytes, which no manifest has; {_AGAIN}")
    stream.seek(place.offset)
    return stream.read(place.size)


def _parse(content: bytes, where: str) -> Manifest:
    try:
        return parse_manifest(json.loads(content), where)
    except (ValueError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{where}: not valid JSON ({error}); {_AGAIN}") from error


def _require_same_files(files: Mapping[str, FileRecord], places: Mapping[str, _Place], archive: Path) -> None:
    """Refuse, before anything is written, what is not in the manifest, missing, or of another size."""
    for name in sorted(places.keys() - {MANIFEST}):
        if name not in files:
            raise BundleError(f"{archive}: {_shown(name)} is not in the manifest; do not use this archive")
    folders = {str(parent) for name in places for parent in PurePosixPath(name).parents}
    for name in sorted(folders & places.keys()):
        raise BundleError(f"{archive}: {_shown(name)} is a file and a directory; do not use this archive")
    for name, record in files.items():
        if name == MANIFEST or name not in places:
            raise BundleError(f"{archive}: {_shown(name)} is in the manifest and missing; {_AGAIN}")
        if places[name].size != record.bytes:
            raise BundleError(
                f"{archive}: {name}: {places[name].size} bytes where the manifest says {record.bytes}; {_AGAIN}"
            )


def _require_storable(manifest: Manifest, where: Path) -> None:
    for name in manifest.files:
        if name == MANIFEST or not _is_plain(name):
            raise BundleError(f"{where}: file name {_shown(name)} cannot be archived; export the bundle again")


def _extract(stream: BinaryIO, place: _Place, path: Path, record: FileRecord, where: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), place.size
    stream.seek(place.offset)
    with path.open("xb") as file:
        while chunk := stream.read(min(left, _CHUNK)):
            file.write(chunk)
            digest.update(chunk)
            left -= len(chunk)
    if left or digest.hexdigest() != record.sha256:
        found = "cut short" if left else "altered, its SHA-256 differs from the manifest's"
        raise BundleError(f"{where}: {found}; {_AGAIN}")


@contextmanager
def appearing_file(path: Path) -> Iterator[BinaryIO]:
    """A new file at `path` that appears only once the block has ended without an error."""
    _require_absent(path)
    with _naming(path):
        handle, name = tempfile.mkstemp(prefix=_temporary_prefix(path), dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
            give_usual_permissions(Path(name))
            _require_absent(path)  # again: something may have come meanwhile
            Path(name).rename(path)
        except BaseException:
            os.unlink(name)
            raise


@contextmanager
def _appearing_directory(path: Path) -> Iterator[Path]:
    """A new directory at `path` that appears only once the block has ended without an error."""
    _require_absent(path)
    with _naming(path):
        stage = Path(tempfile.mkdtemp(prefix=_temporary_prefix(path), dir=path.parent))
        try:
            yield stage
            give_usual_permissions(stage)
            _require_absent(path)
            stage.rename(path)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise


def _require_absent(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(f"{path}: exists already; remove it, or give another name")


def _temporary_prefix(path: Path) -> str:
    return f".{path.name}."


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors of writing name `path`: a full disk names no file, and a temporary name tells nothing."""
    try:
        yield
    except OSError as error:
        temporary = str(path.parent / _temporary_prefix(path))
        if error.filename is None or str(error.filename).startswith(temporary):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
