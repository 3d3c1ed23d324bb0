"""`jinabert-onnx pack` and `unpack`: a bundle as one file, to carry to machines without a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from jinabert_onnx.bundle.archive import pack, unpack
from jinabert_onnx.bundle.hub import resolve
from jinabert_onnx.bundle.manifest import ALL_FILES

from .command import Command, add_model_argument


def _add_pack_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("archive", metavar="FILE.tar", help="the file to write; it must not exist")


def _pack(arguments: argparse.Namespace) -> int:
    path = resolve(arguments.model, arguments.revision, ALL_FILES, local_files_only=arguments.local_files_only)
    pack(path, Path(arguments.archive))
    return 0


def _add_unpack_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", metavar="FILE.tar", help="an archive written by `jinabert-onnx pack`")
    parser.add_argument("output", metavar="DIR", help="the directory to create; it must not exist")


def _unpack(arguments: argparse.Namespace) -> int:
    unpack(Path(arguments.archive), Path(arguments.output))
    return 0


PACK = Command("pack a bundle into one tar file, checking every hash", _add_pack_arguments, _pack)
UNPACK = Command("unpack a bundle from a tar file, checking every hash", _add_unpack_arguments, _unpack)
