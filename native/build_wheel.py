"""Build the wheel of the native kernels, with a compiler from PyPI where the machine has none.

python native/build_wheel.py OUTPUT

Takes the compiler that the variable CXX names, else the machine's own, else `ziglang`, which is installed beside the
Python that runs this. Tells in one line what was built, and with what.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
COMPILERS = ("c++", "g++", "clang++")
ZIG = "ziglang==0.14.1"


def compiler(tools: Path) -> tuple[str, str]:
    """Return the C++ compiler's path and what it is; where there is none, ziglang's is made available below `tools`."""
    named = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if named:
        return named, _first_line([*named.split(), "--version"])
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", ZIG], check=True)
    tools.mkdir(parents=True, exist_ok=True)
    wrapper = tools / "zig-c++"
    # zig compiles for the very processor that it runs on unless it is told otherwise: only the kernels' own flags may.
    command = f'exec "{sys.executable}" -m ziglang c++ -mcpu=baseline "$@"'
    wrapper.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return str(wrapper), f"{ZIG.replace('==', ' ')} from PyPI"


def build(output: Path) -> str:
    """Build the wheel into `output`, and say in one line what was built."""
    path, name = compiler(output / "compiler")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", output, SOURCE],
        check=True,
        env=os.environ | {"CXX": path, "MAKEFLAGS": ""},  # ninja cannot share make's job server
    )
    (wheel,) = output.glob("jinabert_onnx_kernels-*.whl")
    return f"built {wheel.name} ({wheel.stat().st_size // 1024} KB) with {name}"


def _first_line(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
