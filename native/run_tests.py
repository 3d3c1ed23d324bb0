"""Build and run the kernels' C++ tests: as released, and with the sanitizers of the machine's own compiler.

python native/run_tests.py FOLDER

Also checks what the objects and the library define. Needs CMake and Ninja, on the PATH or beside this Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from build_wheel import SOURCE, compiler
from elf_symbols import defined_by
from exports import require_exports

LIBRARY = "jinabert_onnx_kernels"
TESTS = ("test_attention", "test_attention_plan", "test_layers", "test_threads")
SYSTEM_TESTS = ("test_arena",)  # of what the system does, and emulators may not
# What is built with which sanitizers: one that looks at threads looks at nothing else, and makes all slow.
SANITIZED = {
    "address,undefined": (*SYSTEM_TESTS, "test_attention", "test_attention_plan", "test_layers"),
    "thread": ("test_threads",),
}
INSTRUCTION_SETS = ("amx", "avx", "neon")  # how the names of the sources begin that are compiled for one


def run(folder: Path) -> None:
    """Build below `folder`, run every test, and check what is defined where.

    Raises:
        CalledProcessError: something does not build, or a test fails.
        ValueError: an object or the library defines what it must not.
    """
    command, name = compiler(folder / "compiler")
    release = folder / "release"
    build(release, command, (*TESTS, *SYSTEM_TESTS, LIBRARY), "-DJINABERT_TESTS=ON")
    require_nothing_shared(release)
    require_exports(release / f"{LIBRARY}.so")
    for test in (*TESTS, *SYSTEM_TESTS):
        subprocess.run([release / test], check=True)
    for sanitizers, tests in SANITIZED.items():
        if "ziglang" in name:
            print(f"{name} has no sanitizers to link: {sanitizers} left out")
            continue
        sanitized = folder / sanitizers.replace(",", "-")
        build(sanitized, command, tests, "-DJINABERT_TESTS=ON", f"-DJINABERT_SANITIZE={sanitizers}")
        for test in tests:
            subprocess.run([sanitized / test], check=True)


def build(folder: Path, command: str, targets: tuple[str, ...], *options: str) -> None:
    """Build `targets` of CMakeLists.txt in `folder`, with the compiler that `command` runs."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"CXX": command, "PATH": tools, "MAKEFLAGS": ""}  # ninja cannot share make's job server
    subprocess.run(["cmake", "-G", "Ninja", "-S", SOURCE, "-B", folder, *options], check=True, env=environment)
    subprocess.run(["cmake", "--build", folder, "--target", *targets], check=True, env=environment)


def require_nothing_shared(folder: Path) -> None:
    """Refuse a definition that an object of one instruction set shares with others.

    The linker keeps one of them, and if that were compiled for AVX-512, every processor would run it.
    """
    objects = [path for path in folder.rglob("*.o") if path.name.startswith(INSTRUCTION_SETS)]
    shared = {f"{path.name}: {symbol.name}" for path in objects for symbol in defined_by(path) if symbol.shared}
    if not objects:
        raise ValueError(f"no object of one instruction set was built in {folder}")
    if shared:
        raise ValueError(f"defined for one instruction set and shared with all: {', '.join(sorted(shared))}")
    print(f"{len(objects)} objects of one instruction set share nothing")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
