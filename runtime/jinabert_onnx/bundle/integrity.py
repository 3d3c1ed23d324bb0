"""Checks that a bundle's files are those that its manifest lists, without reading them at every load.

A check of the SHA-256 is remembered together with the identity of the file, so that the next load need not read it.
Where that cache is absent, damaged or cannot be written, files are checked again. Knows nothing of where files come
from.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from jinabert_onnx.errors import BundleError, InputError
from jinabert_onnx.foreign_errors import is_from_reading

from .file_records import damage_error, find_damage
from .manifest import Bundle

INTEGRITY = ("fast", "full", "off")
CACHE_VARIABLE = "JINABERT_ONNX_CACHE"
CLOCK_TICK = 2_000_000_000  # nanoseconds; the coarsest times that file systems keep, those of FAT


def require_integrity(integrity: str) -> None:
    """Refuse words that are not in `INTEGRITY`.

    Raises:
        InputError: an unknown word.
    """
    if integrity not in INTEGRITY:
        raise InputError(f"integrity {integrity!r} is unknown; use {', '.join(INTEGRITY)}")


def check_files(bundle: Bundle, names: Iterable[str], integrity: str) -> None:
    """Compare the named files with the manifest.

    "full" reads each through and compares its SHA-256, and remembers those that are right; "fast" does so only for
    files that are not remembered as they are now; "off" requires only that they exist.

    Raises:
        BundleError: a file is missing, cut short or altered, or is a link out of the bundle.
        InputError: `integrity` is unknown.
    """
    for name in names:
        damage = inspect_file(bundle, name, integrity)
        if damage is not None:
            raise damage_error(bundle, name, damage)


def inspect_file(bundle: Bundle, name: str, integrity: str) -> str | None:
    """Describe what is wrong with the file `name`; None if nothing is. Raises what `check_files` raises."""
    require_integrity(integrity)
    path, record = bundle.path / name, bundle.record_of(name)
    if integrity == "off":
        return None if path.is_file() else "missing from the bundle"
    require_inside(bundle.path, path)
    identity = _identify(path, record.sha256)
    if integrity == "fast" and identity is not None and _read_entry(path) == identity:
        return None
    damage = find_damage(bundle, name)
    if damage is None and identity is not None and _identify(path, record.sha256) == identity:
        _write_entry(path, identity)
    return damage


def cache_directory() -> Path | None:
    """Return where checks are remembered: `verified` in JINABERT_ONNX_CACHE or the user's cache; None without one."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).absolute() / "verified"
    try:
        return _user_cache() / "jinabert-onnx" / "verified"
    except RuntimeError:  # there is no home directory
        return None


def _user_cache() -> Path:
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if configured.is_absolute():
        return configured
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def require_inside(directory: Path, path: Path) -> None:
    """Refuse links that lead elsewhere than into the bundle or, from a snapshot of the hub's cache, into its blobs.

    Raises:
        BundleError: `path`, in the bundle at `directory`, is such a link.
    """
    inside, target = Path(os.path.realpath(directory)), Path(os.path.realpath(path))
    places = [inside]
    if inside.parent.name == "snapshots":  # CACHE/models--OWNER--NAME/snapshots/COMMIT; blobs of one repository, of all
        places += [place / "blobs" for place in inside.parents[1:3]]
    if not any(target.is_relative_to(place) for place in places):
        raise BundleError(f"{path}: a link out of the bundle, to {target}; put the file itself in its place")


def _identify(path: Path, sha256: str) -> str | None:
    """Return as text what changes when the file does, and the hash it should have; None if it cannot be read."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        if not is_from_reading(error):
            raise
        return None
    facts = {
        "path": str(path.absolute()),
        "bytes": status.st_size,
        "modified": status.st_mtime_ns,
        "changed": status.st_ctime_ns,  # programs can set the time of modification back, but not this one
        "inode": status.st_ino,
        "sha256": sha256,
    }
    return json.dumps(facts)


def _entry_path(path: Path) -> Path | None:
    """Return where the last check of the file at `path` is remembered: one entry a path keeps the cache small."""
    directory = cache_directory()
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
    return None if directory is None else directory / name


def _read_entry(path: Path) -> str | None:
    entry = _entry_path(path)
    try:
        return None if entry is None else entry.read_text("utf-8")
    except (OSError, ValueError) as error:
        if not is_from_reading(error):
            raise
        return None


def _write_entry(path: Path, identity: str) -> None:
    from jinabert_onnx.files.atomic import atomic_file  # here, since most loads find their files remembered

    entry = _entry_path(path)
    if entry is None:
        return
    try:
        if time.time_ns() - path.stat().st_mtime_ns < CLOCK_TICK:
            return  # another change within the tick would not show
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_file(entry, private=True) as stream:
            stream.write(identity.encode("utf-8"))
    except OSError as error:
        if not is_from_reading(error):
            raise
