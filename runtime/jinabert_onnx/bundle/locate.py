"""A directory or hub id to a bundle whose files are present, whole and safe to load.

Composes `hub`, `manifest`, `integrity` and `onnx_check`. Knows nothing of what the files mean.
"""

from __future__ import annotations

import logging
import os
from pathlib import PurePosixPath

from jinabert_onnx.errors import BundleError, BundleNotFoundError, DownloadError
from jinabert_onnx.text.inputs import require_unicode_name

from .file_records import damage_error
from .hub import fetch_again, is_hub_id, resolve
from .integrity import inspect_file, require_integrity
from .manifest import MANIFEST, METADATA_FILES, PROBES, TOKENIZER, Bundle, open_bundle
from .onnx_check import check_onnx_file

logger = logging.getLogger("jinabert_onnx")

Source = str | os.PathLike[str]


def open_source(source: Source, revision: str | None = None, local_files_only: bool = False) -> Bundle:
    """Open the bundle at the directory or hub id `source`; of a hub id, all but the weights is downloaded.

    A manifest in the hub's cache that cannot be read is downloaded again, once.

    Raises:
        BundleError: not a bundle, or its manifest is damaged or of another schema.
        DownloadError: the hub id cannot be fetched, or is not cached and the network is not to be used.
        InputError: `revision` given for a directory.
    """
    path = resolve(source, revision, METADATA_FILES, local_files_only=local_files_only)
    try:
        return open_bundle(path)
    except BundleNotFoundError:
        raise
    except BundleError as error:
        if not is_hub_id(source) or local_files_only:
            raise
        try:
            fetch_again(str(source), path.name, MANIFEST)
        except DownloadError:
            raise error from None
        return open_bundle(path)


def require_files(
    source: Source, bundle: Bundle, precision: str, integrity: str = "fast", local_files_only: bool = False
) -> tuple[str, ...]:
    """Make sure that what loading one precision of `bundle` reads is there and whole; return its ONNX and weight files.

    Of a hub id, only this precision's weights are downloaded, of the very commit that the manifest is from, and a file
    that is damaged is downloaded again, once. Tokenizer, probes, ONNX file and weight files are checked: `integrity` is
    "fast" (SHA-256 of files that were not checked as they are now), "full" (SHA-256 of all) or "off" (they only have to
    be there); unless it is "off", what the ONNX file claims of its tensors is checked as well.

    Returns:
        The names of the files, the ONNX file first.

    Raises:
        BundleError: the bundle is without this precision; a file is missing, cut short, altered or a link out of the
            bundle; the ONNX file refers to anything but its weight files, or to more than they hold.
        DownloadError: the hub id cannot be fetched, or is not cached and the network is not to be used.
        InputError: `integrity` is unknown, or the bundle's path is not UTF-8.
    """
    require_integrity(integrity)
    require_unicode_name(bundle.path, "onnxruntime")
    files = bundle.files_of(precision)
    weights = (*files, *(record.file for record in bundle.manifest.dense))
    if is_hub_id(source) and not all((bundle.path / name).is_file() for name in weights):
        resolve(source, bundle.path.name, weights, local_files_only=local_files_only)
    for name in (TOKENIZER, PROBES, *weights):
        _make_whole(source, bundle, name, integrity, local_files_only)
    if integrity != "off":
        check_onnx_file(bundle.path / files[0], _weights_beside(bundle, files))
    return files


def _make_whole(source: Source, bundle: Bundle, name: str, integrity: str, local_files_only: bool) -> None:
    damage = inspect_file(bundle, name, integrity)
    if damage is None:
        return
    if not is_hub_id(source):
        raise damage_error(bundle, name, damage)
    where = f"{bundle.path / name}: {damage}"
    if local_files_only:
        raise BundleError(f"{where}; load it once without local_files_only, which downloads it again")
    logger.warning("%s; downloading it again", where)
    try:
        fetch_again(str(source), bundle.path.name, name)
    except DownloadError as error:
        raise BundleError(f"{where}; load it again when the hub can be reached ({error})") from error
    damage = inspect_file(bundle, name, integrity)
    if damage is not None:
        raise BundleError(
            f"{bundle.path / name}: {damage}, after downloading it again too; the files of {source} do not belong "
            "together, export the bundle again"
        )


def _weights_beside(bundle: Bundle, files: tuple[str, ...]) -> dict[str, int]:
    """Return the size in bytes of each weight file, by its name as the ONNX file gives it."""
    directory = PurePosixPath(files[0]).parent
    names = [name for name in files[1:] if PurePosixPath(name).is_relative_to(directory)]
    return {PurePosixPath(name).relative_to(directory).as_posix(): bundle.manifest.files[name].bytes for name in names}
