"""A directory or a hub id to a local directory. Imports huggingface_hub only when an id is given.

Knows nothing of bundles or checkpoints: callers name the files.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinabert_onnx.errors import BundleNotFoundError, DownloadError, InputError, MissingDependencyError
from jinabert_onnx.foreign_errors import is_from, is_from_reading

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

# Whose exceptions a download raises: huggingface_hub's, and those of the HTTP clients of its releases.
_LIBRARIES = (
    "huggingface_hub",
    "hf_xet",
    "filelock",
    "requests",
    "urllib3",
    "httpx",
    "httpcore",
    "httpx2",
    "httpcore2",
)


def is_hub_id(source: str | os.PathLike[str]) -> bool:
    """Return whether `source` names no existing path and has the form owner/name."""
    return isinstance(source, str) and not _exists(Path(source)) and _HUB_ID.fullmatch(source) is not None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a name too long for the file system
        if not is_from_reading(error):
            raise
        return False


def resolve(
    source: str | os.PathLike[str],
    revision: str | None,
    allow: Sequence[str],
    ignore: Sequence[str] = (),
    local_files_only: bool = False,
) -> Path:
    """Return the directory at `source`, or the downloaded snapshot of the hub repository `source`.

    `allow` and `ignore` are file name patterns of what to download; `revision` is a branch, tag or
    commit of the hub; with `local_files_only` the network is not used, as with HF_HUB_OFFLINE.
    HF_ENDPOINT, HF_TOKEN, HF_HUB_CACHE and HF_HUB_OFFLINE are honoured.

    Raises:
        BundleNotFoundError: neither a directory nor of the form of a hub id.
        DownloadError: the hub has no such repository or revision, cannot be reached, or is not cached.
        InputError: `revision` given for a directory.
        MissingDependencyError: huggingface_hub is not installed.
    """
    if not is_hub_id(source):
        path = Path(source)
        if revision is not None:
            raise InputError(f"revision {revision!r} is for hub ids, and {path} is a local path")
        if not _exists(path) or not path.is_dir():
            kind = "is a file, not a directory" if _exists(path) else "no such directory"
            raise BundleNotFoundError(f"{path}: {kind} (give a directory, or a hub id such as owner/name)")
        return path
    repository, hub = str(source), _import_hub(source)
    try:
        snapshot = hub.snapshot_download(
            repository,
            revision=revision,
            allow_patterns=list(allow),
            ignore_patterns=list(ignore),
            local_files_only=local_files_only,
        )
    except Exception as error:  # its error classes differ between releases and HTTP clients
        if not _is_from_download(error):
            raise
        action = "finding it in the hub's cache" if local_files_only else "fetching it from the hub"
        raise _download_error(repository, revision, f"not a local directory, and {action}", error) from error
    return Path(snapshot)


def fetch_again(repository: str, commit: str, name: str) -> None:
    """Download the file `name` of `repository` at `commit` in place of the one in the cache.

    Raises:
        DownloadError: the hub cannot be reached or does not have it, or HF_HUB_OFFLINE is set.
        MissingDependencyError: huggingface_hub is not installed.
    """
    hub = _import_hub(repository)
    try:
        hub.hf_hub_download(repository, name, revision=commit, force_download=True)
    except Exception as error:  # as above
        if not _is_from_download(error):
            raise
        raise _download_error(repository, commit, f"fetching {name} again", error) from error


def _import_hub(source: str | os.PathLike[str]) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingDependencyError(f"{source} is a hub id; to fetch it: pip install huggingface_hub") from error
    return huggingface_hub


def _is_from_download(error: Exception) -> bool:
    return is_from_reading(error) or any(is_from(library, error) for library in _LIBRARIES)


def _download_error(repository: str, revision: str | None, action: str, error: Exception) -> DownloadError:
    at = f" at revision {revision}" if revision else ""
    return DownloadError(
        f"{repository}{at}: {action} failed: {textwrap.shorten(str(error), 300) or type(error).__name__}"
    )
