"""A deployment package for AWS Lambda: the handler, installed packages that it needs, and a bundle of one precision.

It is staged in a temporary directory, run from there without anything else that is installed, and only then written.
Python code is in it as bytecode alone: Lambda's disk is read-only, and compiling takes longer than loading the model.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from jinabert_onnx.bundle.file_records import damage_error, find_damage
from jinabert_onnx.bundle.manifest import MANIFEST, Bundle, Manifest
from jinabert_onnx.errors import BundleError, InputError, MissingDependencyError, RunError
from jinabert_onnx.files.atomic import atomic_file

from .installed import files_to_run, is_shared_object

HANDLER = "jinabert_onnx.serverless.aws_lambda.handler"
LARGEST = 262_144_000  # bytes of a package, unpacked
LARGEST_UPLOAD = 52_428_800  # bytes of a zip file that need not go through S3

_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}  # Lambda's word for each
_BUNDLE = "bundle"  # where the handler looks for it

_COMPILE = """
import compileall, py_compile, sys
unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH  # no times, neither here nor there
done = compileall.compile_dir(
    sys.argv[1], quiet=1, legacy=True, stripdir=sys.argv[1], prependdir="/var/task", invalidation_mode=unchecked
)
sys.exit(not done)
"""
_RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
class Context:
    def get_remaining_time_in_millis(self):
        return 60_000
from jinabert_onnx.serverless.aws_lambda import handler
answer = handler(json.loads(sys.argv[2]), Context())
sys.exit(answer["error"]["message"] if "error" in answer else None)
"""
_REQUEST, _RERANK_REQUEST = '{"input": "a"}', '{"query": "a", "documents": ["a"]}'


@dataclass(frozen=True)
class Package:
    """Sizes in bytes: of the packages' files and the bundle's, both unpacked, and of the zip file."""

    code: int
    bundle: int
    zipped: int


def architecture() -> str:
    """Return the architecture that the function must be configured for.

    Raises:
        InputError: Lambda has no machines like this one.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _ARCHITECTURES:
        raise InputError(
            f"a package for Lambda is made of what is installed here, and Lambda runs Linux on x86_64 or arm64, not "
            f"{sys.platform} on {machine}; make it there, or in a container"
        )
    return _ARCHITECTURES[machine]


def write_zip(bundle: Bundle, precision: str, output: Path) -> Package:
    """Write the new zip file `output`, which appears only when the package has been run.

    The same installation and bundle always give the same bytes.

    Raises:
        InputError: `output` exists already, this machine is unlike Lambda, or the package is larger than Lambda allows.
        MissingDependencyError: something that a function needs is not installed.
        BundleError: the bundle does not hold the precision, or is damaged.
        RunError: the package does not run.
        OSError: a file cannot be read or written.
    """
    architecture()
    manifest = select_precision(bundle, precision)
    size = sum(record.bytes for record in manifest.files.values()) + len(manifest.to_json().encode())
    with (
        atomic_file(output, overwrite=False) as stream,
        tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as directory,
    ):
        stage = Path(directory)
        _stage_code(stage)
        code = _size(stage)
        _require_room(code, size)
        _stage_bundle(bundle, manifest, stage / _BUNDLE)
        # With the package and Python's own library in reach, and nothing else.
        request = _REQUEST if manifest.classifier is None else _RERANK_REQUEST
        _run_python(_RUN, stage, "what was put together does not run", request)
        _write(stage, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED))
    return Package(code, size, output.stat().st_size)


def select_precision(bundle: Bundle, precision: str) -> Manifest:
    """Return the manifest of the same bundle without the other precisions.

    Raises:
        BundleError: the bundle does not hold `precision`.
    """
    manifest, kept = bundle.manifest, bundle.files_of(precision)
    others = {name for names in manifest.precisions.values() for name in names} - set(kept)
    return replace(
        manifest,
        precisions={precision: kept},
        files={name: record for name, record in manifest.files.items() if name not in others},
        verification={
            name: measured
            for name, measured in manifest.verification.items()
            if name == precision or name not in manifest.precisions
        },
    )


def _stage_code(stage: Path) -> None:
    for name, path in files_to_run().items():
        if not path.is_file():
            raise MissingDependencyError(f"{path}: is gone from what is installed; install its package again")
        place = stage / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        if place.name == "METADATA":  # its description, mostly a README, is after the first empty line
            place.write_bytes(place.read_bytes().partition(b"\n\n")[0] + b"\n")
    # In a process of its own, so that the same code gives the same bytes.
    _run_python(_COMPILE, stage, "Python's code cannot be compiled")
    for place in stage.rglob("*.py"):
        place.unlink()


def _require_room(code: int, size: int) -> None:
    if code + size > LARGEST:
        raise InputError(
            f"the package would have {code + size} bytes unpacked ({code} of code, {size} of the bundle), and Lambda "
            f"allows {LARGEST}; use a precision or model that is smaller, or a container (deploy/Dockerfile.lambda), "
            "which may have 10 GB"
        )


def _stage_bundle(bundle: Bundle, manifest: Manifest, stage: Path) -> None:
    staged = Bundle(stage, manifest)
    for name in manifest.files:
        if not (bundle.path / name).is_file():
            raise damage_error(bundle, name, "missing from the bundle")
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / name, stage / name)
        damage = find_damage(staged, name)
        if damage is not None:
            raise damage_error(bundle, name, damage)
    if (stage / MANIFEST).exists():
        raise BundleError(f"{bundle.path / MANIFEST}: lists itself; export the bundle again")
    (stage / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def _run_python(code: str, stage: Path, failure: str, *arguments: str) -> None:
    command = [sys.executable, "-I", "-S", "-B", "-c", code, str(stage), *arguments]
    process = subprocess.run(
        command, env={"LAMBDA_TASK_ROOT": str(stage)}, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if process.returncode:
        lines = (process.stderr or process.stdout).decode("utf-8", "replace").splitlines()
        messages = [line for line in lines if line.strip() and not line[0].isspace()]
        raise RunError(f"{failure} ({messages[-1] if messages else process.returncode}); nothing was written")


def _write(stage: Path, archive: zipfile.ZipFile) -> None:
    """Write the files in the order of their names, without times or owners of this machine."""
    with archive:
        for name, path in sorted((path.relative_to(stage).as_posix(), path) for path in _files(stage)):
            member = zipfile.ZipInfo(name)  # of 1980
            member.create_system = 3  # Unix, whose permissions follow
            member.external_attr = (0o100755 if is_shared_object(name) else 0o100644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as target, path.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)


def _size(stage: Path) -> int:
    return sum(path.stat().st_size for path in _files(stage))


def _files(stage: Path) -> list[Path]:
    return [Path(directory) / name for directory, _, names in os.walk(stage) for name in names]
