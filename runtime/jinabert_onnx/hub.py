"""A directory or a hub id to a local directory. Imports huggingface_hub only when an id is given.

Which files belong to a bundle or a checkpoint is the caller's to say.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from .errors import BundleNotFoundError, DownloadError, InputError, MissingDependencyError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def is_hub_id(source: str | os.PathLike[str]) -> bool:
    """Whether `source` names no existing path and has the form owner/name."""
    return isinstance(source, str) and not _exists(Path(source)) and _HUB_ID.fullmatch(source) is not None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for the file system
        return False


def resolve(
    source: str | os.PathLike[str], revision: str | None, allow: Sequence[str], ignore: Sequence[str] = ()
) -> Path:
    """The directory at `source`, or the downloaded snapshot of the hub repository `source`.

    `allow` and `ignore` are file name patterns of what to download; `revision` is a branch, tag or
    commit of the hub. HF_ENDPOINT, HF_TOKEN, HF_HUB_CACHE and HF_HUB_OFFLINE are honoured.

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
    return _download(str(source), revision, allow, ignore)


def _download(repository: str, revision: str | None, allow: Sequence[str], ignore: Sequence[str]) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError(f"{repository} is a hub id; to fetch it: pip install huggingface_hub") from error
    try:
        return Path(
            snapshot_download(repository, revision=revision, allow_patterns=list(allow), ignore_patterns=list(ignore))
        )
    except Exception as error:  # its error classes differ between releases and HTTP clients
        at = f" at revision {revision}" if revision else ""
        raise DownloadError(
            f"{repository}{at}: not a local directory, and fetching it from the hub failed: "
            f"{textwrap.shorten(str(error), 300) or type(error).__name__}"
        ) from error
