"""Which of the files that are installed here a function needs: those of this package and of what it requires to run.

What runs is Python's code and shared objects. What nobody imports is left out: tests, tools, the packages that only
tools need. `lambda_zip` proves each time that what is left runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from jinabert_onnx.errors import MissingDependencyError

_THIS = "jinabert-onnx"
_EXTRAS = {"cpu", "serverless"}

# Requirements that no import of ours reaches: of downloads, and of tools.
_UNUSED = {
    "tokenizers": {"huggingface-hub"},
    "onnxruntime": {"coloredlogs", "flatbuffers", "packaging", "protobuf", "sympy"},
}
_OLDEST_NUMPY = (2, 1)  # of those that import what is left out of it here when they are asked for it only
_LEFT_OUT = (
    "*/tests/*",
    "jinabert_onnx/__main__.py",
    "jinabert_onnx/cli/*",
    "jinabert_onnx/server/*",
    "numpy/_core/*_tests.*",
    "numpy/_core/_simd.*",  # of its tests
    "numpy/_pyinstaller/*",
    "numpy/distutils/*",
    "numpy/f2py/*",
    "numpy/fft/*",
    "numpy/polynomial/*",
    "numpy/random/*",
    "numpy/testing/*",
    "onnxruntime/backend/*",
    "onnxruntime/capi/libonnxruntime.so*",  # the same once more, for programs in C
    "onnxruntime/datasets/*",
    "onnxruntime/quantization/*",
    "onnxruntime/tools/*",
    "onnxruntime/transformers/*",
    "pydantic/mypy.py",
    "pydantic/v1/*",
)
_LICENCES = re.compile(r"(licen[cs]e|copying|notice|thirdpartynotices)", re.IGNORECASE)
_METADATA = "METADATA"  # scanners read names and versions there


def files_to_run() -> dict[str, Path]:
    """The files, by their names relative to a directory on Python's path.

    Raises:
        MissingDependencyError: something that is required is not installed, too old, or not installed as wheels are.
    """
    numpy = _distribution("numpy").version
    if tuple(int(part) for part in re.findall(r"\d+", numpy)[:2]) < _OLDEST_NUMPY:
        raise MissingDependencyError(
            f"numpy {numpy} imports all of itself, which is too much for a function: pip install 'numpy>=2.1'"
        )
    found = _own_files()
    for name in sorted(_required(_THIS)):
        found |= {place: path for place, path in _files_of(name) if _is_needed(place)}
    return found


def _own_files() -> dict[str, Path]:
    """Those of this package, from where it is imported: an editable installation lists none."""
    package = Path(__file__).parents[1]
    names = {path.relative_to(package.parent).as_posix(): path for path in package.rglob("*.py")}
    return {name: path for name, path in names.items() if _is_needed(name)}


def _required(name: str) -> set[str]:
    """The normalised names of all that `name` requires, and of what that requires."""
    found: set[str] = set()
    pending = [name]
    while pending:
        name = pending.pop()
        for requirement in _requirements(name) - found:
            found.add(requirement)
            pending.append(requirement)
    return found


def _requirements(name: str) -> set[str]:
    """What the distribution `name` requires here."""
    extras = _EXTRAS if name == _THIS else set()
    found = set()
    for line in _distribution(name).requires or []:
        requirement, _, marker = line.partition(";")
        required = _normalised(re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0])
        of_extras = set(re.findall(r"extra\s*==\s*['\"]([\w.-]+)['\"]", marker))
        if of_extras and not of_extras & extras:
            continue
        # Another marker is of systems and of Python's releases: what it asks for is installed where it is true.
        if required not in _UNUSED.get(name, ()) and (of_extras or not marker or _is_installed(required)):
            found.add(required)
    return found


def _files_of(name: str) -> Iterator[tuple[str, Path]]:
    found = _distribution(name)
    if found.files is None:
        raise MissingDependencyError(f"{name} has no list of its files; install its wheel: pip install {name}")
    for file in found.files:
        yield file.as_posix(), Path(str(found.locate_file(file)))


def _is_needed(name: str) -> bool:
    path = PurePosixPath(name)
    if ".." in path.parts or any(fnmatchcase(name, pattern) for pattern in _LEFT_OUT):
        return False
    if _LICENCES.match(path.name) and path.suffix != ".py":
        return True
    if path.parts[0].endswith(".dist-info"):
        return path.name == _METADATA
    return path.suffix == ".py" or is_shared_object(name)


def is_shared_object(name: str) -> bool:
    """Whether this is the name of a compiled module or of a library."""
    return ".so" in PurePosixPath(name).suffixes


def _distribution(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise MissingDependencyError(
            f"{name} is not installed, and a function needs it: pip install 'jinabert-onnx[cpu,serverless]'"
        ) from error


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
