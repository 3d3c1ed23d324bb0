"""Build the wheel of the native kernels, with a compiler from PyPI where the machine has none that can.

python native/build_wheel.py OUTPUT

Takes the compiler that the variable CXX names, else the first of the machine's own that compiles what the kernels need,
else `ziglang`, which is installed beside the Python that runs this. Tells in one line what was built, and with what.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
COMPILERS = ("c++", "g++", "clang++")
ZIG = "ziglang==0.17.1"  # 0.14 compiles nothing for AVX-512 beside its baseline processor
# What GCC before 12 and Clang before 15 lack, and the standard library, which a compiler may come without.
PROBE = """
#include <atomic>
typedef float Floats __attribute__((vector_size(16)));
std::atomic<int> count{0};
Floats probe(Floats a, Floats b) { return count++ ? __builtin_shufflevector(a, b, 0, 4, 1, 5) : a; }
"""
PROBE_FLAGS = {"x86_64": ["-mavx512bf16", "-mamx-bf16"]}


def compiler(tools: Path) -> tuple[str, str]:
    """Return the C++ compiler's command and what it is; where there is none, ziglang's is made, in `tools`."""
    tools.mkdir(parents=True, exist_ok=True)
    own = (name for name in COMPILERS if shutil.which(name) and can_build(name, tools))
    command = os.environ.get("CXX") or next(own, None)
    if command:
        return command, _first_line([*shlex.split(command), "--version"])
    # zig compiles for the very processor that it runs on unless it is told otherwise: only the kernels' own flags may.
    return str(zig(tools, "-mcpu=baseline")), f"{ZIG.replace('==', ' ')} from PyPI"


def can_build(command: str, tools: Path) -> bool:
    """Return whether a compiler makes a library of what the kernels need; it is written into `tools`."""
    flags = ["-std=gnu++17", "-fPIC", "-shared", *PROBE_FLAGS.get(platform.machine(), [])]
    words = [command, *flags, "-x", "c++", "-", "-o", str(tools / "probe.so")]
    return subprocess.run(words, input=PROBE, text=True, capture_output=True, check=False).returncode == 0


def zig(tools: Path, *flags: str) -> Path:
    """Install ziglang beside this Python; return a program in `tools` that runs its C++ compiler with `flags`."""
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", ZIG], check=True)
    tools.mkdir(parents=True, exist_ok=True)
    program = tools.resolve() / "zig-c++"  # CMake looks for it from another folder
    # By its path: in pip's own environment for building, this Python finds no packages of its own.
    package = "import os, ziglang; print(os.path.dirname(ziglang.__file__), end='')"
    folder = subprocess.run([sys.executable, "-c", package], check=True, capture_output=True, text=True).stdout
    command = shlex.join([str(Path(folder) / "zig"), "c++", *flags])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def build(output: Path) -> str:
    """Build the wheel into `output`, and say in one line what was built."""
    command, name = compiler(output / "compiler")
    wheel = make_wheel(SOURCE, output, command)
    return f"built {wheel.name} ({wheel.stat().st_size // 1024} KB) with {name}"


def make_wheel(source: Path, output: Path, command: str, *options: str, variables: Mapping[str, str] = {}) -> Path:
    """Build the wheel of a folder or an archive with the compiler that `command` runs; return its path in `output`.

    pip gets the `options`, and the environment the `variables`.
    """
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", *options, "--wheel-dir", output, source],
        check=True,
        env=os.environ | {"CXX": command, "MAKEFLAGS": "", **variables},  # ninja cannot share make's job server
    )
    (wheel,) = output.glob("jinabert_onnx_kernels-*.whl")
    return wheel


def _first_line(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
