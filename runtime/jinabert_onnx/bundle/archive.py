"""A bundle as one tar file, for machines without a network: written and read all or nothing.

Nothing in an archive is believed. What may be written is what its manifest lists, once each, in the sizes and with the
hashes it states, and the model card, which has no hash and which nothing here reads; only the space that the archive
itself takes can be filled. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from jinabert_onnx.errors import BundleError, BundleNotFoundError
from jinabert_onnx.files.atomic import atomic_directory, atomic_file
from jinabert_onnx.foreign_errors import is_from_reading

from .archive_members import AGAIN, Member, is_plain_name, read_members, shorten_name
from .file_records import damage_error
from .integrity import require_inside
from .manifest import CARD, MANIFEST, Bundle, FileRecord, Manifest, open_bundle, parse_manifest

_CHUNK = 1 << 20
_LARGEST_MANIFEST = 1 << 24


def pack(bundle: Path, archive: Path) -> None:
    """Write the files that the manifest of `bundle` lists, it before them, and the card to the new tar file `archive`.

    The same bundle always gives the same bytes. The archive appears only when every file has been read whole and has
    the manifest's SHA-256.

    Raises:
        InputError: `archive` exists already.
        BundleNotFoundError: there is no bundle at that place.
        BundleError: a file is missing, cut short or altered, or the manifest names one that cannot be archived.
        OSError: a file cannot be read or written.
    """
    opened = open_bundle(bundle)
    _require_storable(opened.manifest, bundle / MANIFEST)
    content = (bundle / MANIFEST).read_bytes()
    with (
        atomic_file(archive, overwrite=False) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        tar.addfile(_header(MANIFEST, len(content)), io.BytesIO(content))
        for name in sorted({*opened.manifest.files, *_unlisted_card(opened)}):
            _add(tar, opened, name)


def unpack(archive: Path, output: Path) -> None:
    """Write the bundle in the tar file `archive` to the new directory `output`.

    The directory appears only when every file has been written whole and, but for the card, has the manifest's SHA-256.
    Archives that others made of a bundle's directory are read too: names may begin with "./" or lie in one directory.

    Raises:
        InputError: `output` exists already.
        BundleNotFoundError: there is no such file.
        BundleError: not a tar file, cut short, or with anything in it but the files of one bundle.
        OSError: a file cannot be read or written.
    """
    if not archive.is_file():
        raise BundleNotFoundError(f"{archive}: no such file (make one with: jinabert-onnx pack BUNDLE FILE.tar)")
    with archive.open("rb") as stream:
        members = read_members(stream, archive)
        content = _read_manifest(stream, members[MANIFEST], archive)
        records = _parse(content, f"{archive}: {MANIFEST}").files
        _require_same_files(records, members, archive)
        with atomic_directory(output) as directory:
            (directory / MANIFEST).write_bytes(content)
            for name in (*records, *(members.keys() & {CARD} - records.keys())):
                _extract(stream, members[name], directory / name, records.get(name), f"{archive}: {name}")


def _require_storable(manifest: Manifest, where: Path) -> None:
    for name in manifest.files:
        if name == MANIFEST or not is_plain_name(name):
            raise BundleError(f"{where}: file name {shorten_name(name)} cannot be archived; export the bundle again")


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)  # no time, owner or group, and mode 0o644
    header.size = size
    return header


def _unlisted_card(bundle: Bundle) -> set[str]:
    """Return the name of the card if there is one without a record."""
    return {CARD} - bundle.manifest.files.keys() if (bundle.path / CARD).is_file() else set()


def _add(tar: tarfile.TarFile, bundle: Bundle, name: str) -> None:
    if name not in bundle.manifest.files:
        _add_unchecked(tar, bundle, name)
        return
    path, record = bundle.path / name, bundle.record_of(name)
    if not path.is_file():
        raise damage_error(bundle, name, "missing from the bundle")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != record.bytes:
            raise damage_error(bundle, name, f"{size} bytes where the manifest says {record.bytes}")
        hashing = _Hashing(file, path)
        tar.addfile(_header(name, size), hashing)  # type: ignore[arg-type]  # all it needs is `read`
    if hashing.digest.hexdigest() != record.sha256:
        raise damage_error(bundle, name, "altered, its SHA-256 differs from the manifest's")


def _add_unchecked(tar: tarfile.TarFile, bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    require_inside(bundle.path, path)  # no hash shows that it is another file of this machine
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        tar.addfile(_header(name, size), _Hashing(file, path))  # type: ignore[arg-type]  # as above


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


def _read_manifest(stream: BinaryIO, member: Member, archive: Path) -> bytes:
    if member.size > _LARGEST_MANIFEST:
        raise BundleError(f"{archive}: {MANIFEST} has {member.size} bytes, which no manifest has; {AGAIN}")
    stream.seek(member.offset)
    return stream.read(member.size)


def _parse(content: bytes, where: str) -> Manifest:
    try:
        return parse_manifest(json.loads(content), where)
    except (ValueError, RecursionError) as error:
        if isinstance(error, BundleError) or not is_from_reading(error):
            raise
        raise BundleError(f"{where}: not valid JSON ({error}); {AGAIN}") from error


def _require_same_files(records: Mapping[str, FileRecord], members: Mapping[str, Member], archive: Path) -> None:
    """Refuse, before anything is written, files that are not in the manifest, missing, or of another size."""
    for name in sorted(members.keys() - {MANIFEST}):
        if name not in records and name != CARD:
            raise BundleError(f"{archive}: {shorten_name(name)} is not in the manifest; do not use this archive")
    directories = {str(parent) for name in members for parent in PurePosixPath(name).parents}
    for name in sorted(directories & members.keys()):
        raise BundleError(f"{archive}: {shorten_name(name)} is both a file and a directory; do not use this archive")
    for name, record in records.items():
        if name == MANIFEST or name not in members:
            raise BundleError(f"{archive}: {shorten_name(name)} is in the manifest and missing; {AGAIN}")
        size = members[name].size
        if size != record.bytes:
            raise BundleError(f"{archive}: {name}: {size} bytes where the manifest says {record.bytes}; {AGAIN}")


def _extract(stream: BinaryIO, member: Member, path: Path, record: FileRecord | None, where: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, remaining = hashlib.sha256(), member.size
    stream.seek(member.offset)
    with path.open("xb") as file:
        while chunk := stream.read(min(remaining, _CHUNK)):
            file.write(chunk)
            digest.update(chunk)
            remaining -= len(chunk)
    if remaining:
        raise BundleError(f"{where}: cut short; {AGAIN}")
    if record is not None and digest.hexdigest() != record.sha256:
        raise BundleError(f"{where}: altered, its SHA-256 differs from the manifest's; {AGAIN}")
