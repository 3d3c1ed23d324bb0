"""The installed files that a function needs: those of this package and of the packages that it requires to run.

Python code and shared objects run; tests, tools and the packages that only tools need are excluded. `lambda_zip` runs
what remains each time, before it is written. Knows nothing of bundles.
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
_KERNELS = "jinabert-onnx-kernels"  # required by nothing; taken along where it is installed

# Requirements that nothing imports while a function runs: those of downloads and of tools.
_UNUSED = {
    "tokenizers": {"huggingface-hub"},
    "onnxruntime": {"coloredlogs", "flatbuffers", "packaging", "protobuf", "sympy"},
}
_OLDEST_NUMPY = (2, 1)  # earlier ones import at once what is excluded here
_EXCLUDED = (
    "*/tests/*",
    "jinabert_onnx/__main__.py",
    "jinabert_onnx/bench/*",
    "jinabert_onnx/cli/*",
    "jinabert_onnx/corpus/*",
    "jinabert_onnx/integrations/*",
    "jinabert_onnx/server/*",
    "numpy/_core/*_tests.*",
    "numpy/_core/_simd.*",  # of its tests
    "numpy/_pyinstaller/*",
    "numpy/distutils/*",
    "numpy/f2py/*",
    "numpy/fft/*",
    "numpy/lib/recfunctions.py",
    "numpy/polynomial/*",
    "numpy/random/*",
    "numpy/testing/*",
    "onnxruntime/backend/*",
    "onnxruntime/capi/libonnxruntime.so*",  # the same once more, for programs in C
    "onnxruntime/datasets/*",
    "onnxruntime/quantization/*",
    "onnxruntime/tools/*",
    "onnxruntime/transformers/*",
    "pydantic/deprecated/*",
    "pydantic/experimental/*",
    "pydantic/mypy.py",
    "pydantic/v1/*",
    "tokenizers/tools/*",
)
_LICENCES = re.compile(r"(licen[cs]e|copying|notice|thirdpartynotices)", re.IGNORECASE)
_METADATA = "METADATA"  # scanners read names and versions there


def files_to_run() -> dict[str, Path]:
    """Find the files, by their names relative to a directory on Python's path.

    Raises:
        MissingDependencyError: a required package is not installed, too old, or not installed from a wheel.
    """
    numpy = _distribution("numpy").version
    if tuple(int(part) for part in re.findall(r"\d+", numpy)[:2]) < _OLDEST_NUMPY:
        raise MissingDependencyError(
            f"numpy {numpy} imports all of itself, which is too much for a function: pip install 'numpy>=2.1'"
        )
    files = _own_files()
    kernels = {_KERNELS} if _is_installed(_KERNELS) else set()
    for distribution_name in sorted(_all_requirements(_THIS) | kernels):
        files |= {name: path for name, path in _files_of(distribution_name) if _is_needed(name)}
    return files


def _own_files() -> dict[str, Path]:
    """Find the files of this package where it is imported from: an editable installation lists none."""
    package = Path(__file__).parents[1]
    names = {path.relative_to(package.parent).as_posix(): path for path in package.rglob("*.py")}
    return {name: path for name, path in names.items() if _is_needed(name)}


def _all_requirements(name: str) -> set[str]:
    """Return the normalised names of all distributions that `name` requires, directly or not."""
    requirements: set[str] = set()
    pending = [name]
    while pending:
        new = _requirements(pending.pop()) - requirements
        requirements |= new
        pending.extend(new)
    return requirements


def _requirements(name: str) -> set[str]:
    """Return the normalised names of the distributions that `name` requires here."""
    extras = _EXTRAS if name == _THIS else set()
    requirements = set()
    for line in _distribution(name).requires or []:
        requirement, _, marker = line.partition(";")
        named = re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0]
        required = re.sub(r"[-_.]+", "-", named).lower()
        of_extras = set(re.findall(r"extra\s*==\s*['\"]([\w.-]+)['\"]", marker))
        if of_extras and not of_extras & extras:
            continue
        # Other markers are conditions on the system and Python's release: where they hold, the package is installed.
        if required not in _UNUSED.get(name, ()) and (of_extras or not marker or _is_installed(required)):
            requirements.add(required)
    return requirements


def _files_of(name: str) -> Iterator[tuple[str, Path]]:
    installed = _distribution(name)
    if installed.files is None:
        raise MissingDependencyError(f"{name} has no list of its files; install its wheel: pip install {name}")
    for file in installed.files:
        yield file.as_posix(), Path(str(installed.locate_file(file)))


def _is_needed(name: str) -> bool:
    path = PurePosixPath(name)
    if ".." in path.parts or any(fnmatchcase(name, pattern) for pattern in _EXCLUDED):
        return False
    if _LICENCES.match(path.name) and path.suffix != ".py":
        return True
    if path.parts[0].endswith(".dist-info"):
        return path.name == _METADATA
    return path.suffix == ".py" or is_shared_object(name)


def is_shared_object(name: str) -> bool:
    """Return whether this is the name of a compiled module or of a library."""
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
