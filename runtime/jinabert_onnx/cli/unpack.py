"""`jinabert-onnx unpack`: the bundle in a tar file that `pack` or someone else made."""

import argparse
from pathlib import Path

from jinabert_onnx.bundle.archive import unpack

from .command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archive", metavar="FILE.tar", help="an archive written by `jinabert-onnx pack`")
    parser.add_argument("output", metavar="DIR", help="the directory to create; it must not exist")


def _run(arguments: argparse.Namespace) -> int:
    unpack(Path(arguments.archive), Path(arguments.output))
    return 0


COMMAND = Command("unpack a bundle from a tar file, checking every hash", _add_arguments, _run)
