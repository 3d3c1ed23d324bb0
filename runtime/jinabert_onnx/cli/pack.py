"""`jinabert-onnx pack`: a bundle as one file, to carry to machines without a network."""

import argparse
from pathlib import Path

from jinabert_onnx.bundle.archive import pack
from jinabert_onnx.bundle.hub import resolve
from jinabert_onnx.bundle.manifest import ALL_FILES

from .command import Command, add_model_argument


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("archive", metavar="FILE.tar", help="the file to write; it must not exist")


def _run(arguments: argparse.Namespace) -> int:
    path = resolve(arguments.model, arguments.revision, ALL_FILES, local_files_only=arguments.local_files_only)
    pack(path, Path(arguments.archive))
    return 0


COMMAND = Command("pack a bundle into one tar file, checking every hash", _add_arguments, _run)
