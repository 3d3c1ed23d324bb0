"""Size and SHA-256 of a bundle's files, and whether they are those of the manifest.

Every file is read through; `integrity` remembers what was read. Knows nothing of what is in the files.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from jinabert_onnx.errors import BundleError
from jinabert_onnx.foreign_errors import is_from_reading

from .manifest import Bundle, FileRecord


def find_damage(bundle: Bundle, name: str) -> str | None:
    """Describe what is wrong with the file `name` by its size and SHA-256; None if it is whole.

    Raises:
        BundleError: the manifest has no entry for it.
    """
    path, record = bundle.path / name, bundle.record_of(name)
    if not path.is_file():
        return "missing from the bundle"
    try:
        size = path.stat().st_size
        if size != record.bytes:
            return f"{size} bytes where the manifest says {record.bytes}"
        altered = record_file(path).sha256 != record.sha256
    except OSError as error:
        if not is_from_reading(error):
            raise
        return f"cannot be read ({error.strerror})"
    return "altered, its SHA-256 differs from the manifest's" if altered else None


def damage_error(bundle: Bundle, name: str, damage: str) -> BundleError:
    """Return the error for a file that cannot be repaired here; `damage` is what `find_damage` returns."""
    return BundleError(f"{bundle.path / name}: {damage}; export or download the bundle again")


def record_file(path: Path) -> FileRecord:
    """Compute size and SHA-256 of the file at `path`."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileRecord(path.stat().st_size, digest)
