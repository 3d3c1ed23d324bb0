"""`jinabert-onnx lambda-zip`: a bundle and what runs it as one file that AWS Lambda takes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jinabert_onnx.bundle.locate import open_source, require_files
from jinabert_onnx.bundle.manifest import PRECISIONS
from jinabert_onnx.serverless.lambda_zip import HANDLER, LARGEST, LARGEST_UPLOAD, architecture, write_zip

from .command import Command, add_model_argument


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("output", metavar="FILE.zip", help="the file to write; it must not exist")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="int8", help="precision to include (default: %(default)s)"
    )


def _run(arguments: argparse.Namespace) -> int:
    machine = architecture()
    precision = arguments.precision
    bundle = open_source(arguments.model, arguments.revision, arguments.local_files_only)
    require_files(arguments.model, bundle, precision, "full", arguments.local_files_only)
    package = write_zip(bundle, precision, Path(arguments.output))
    print(f"package    {_mb(package.zipped)}: {arguments.output}")
    print(f"unpacked   {_mb(package.code + package.bundle)} of {_mb(LARGEST)} that Lambda allows:", end=" ")
    print(f"{_mb(package.code)} of code, {_mb(package.bundle)} of the bundle ({precision})")
    print(f"runtime    python{sys.version_info.major}.{sys.version_info.minor}, {machine}")
    print(f"handler    {HANDLER}")
    _tell_of_obstacles(package.zipped)
    return 0


def _tell_of_obstacles(zipped: int) -> None:
    if zipped > LARGEST_UPLOAD:
        print(f"jinabert-onnx: note: Lambda takes zip files above {_mb(LARGEST_UPLOAD)} from S3 only", file=sys.stderr)
    if sys.version_info < (3, 12):
        print(
            "jinabert-onnx: warning: Lambda's Python 3.11 has glibc 2.26, and onnxruntime's wheels need 2.27 or later; "
            "make the package with Python 3.12 or later",
            file=sys.stderr,
        )


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


COMMAND = Command("write a bundle and everything that runs it into a zip file for AWS Lambda", _add_arguments, _run)
