"""Build and run the kernels' C++ tests: as released, and with the sanitizers of the machine's own compiler.

python native/run_tests.py FOLDER

Needs CMake and Ninja on the PATH or beside the Python that runs this.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from build_wheel import SOURCE, compiler

# What is built, and which of the tests it runs: a thread sanitizer looks at threads alone, and makes all slow.
BUILDS = {
    "": ("test_attention", "test_attention_plan", "test_threads"),
    "address,undefined": ("test_attention", "test_attention_plan"),
    "thread": ("test_threads",),
}


def run(folder: Path) -> None:
    """Build below `folder` and run every test.

    Raises:
        CalledProcessError: something does not build, or a test fails.
    """
    path, name = compiler(folder / "compiler")
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"CXX": path, "PATH": tools, "MAKEFLAGS": ""}  # ninja cannot share make's job server
    for sanitizers, tests in BUILDS.items():
        if sanitizers and "ziglang" in name:
            print(f"{name} has no sanitizers to link: {sanitizers} left out")
            continue
        build = folder / (sanitizers.replace(",", "-") or "release")
        options = ["-DJINABERT_TESTS=ON", f"-DJINABERT_SANITIZE={sanitizers}"]
        subprocess.run(["cmake", "-G", "Ninja", "-S", SOURCE, "-B", build, *options], check=True, env=environment)
        subprocess.run(["cmake", "--build", build, "--target", *tests], check=True, env=environment)
        for test in tests:
            subprocess.run([build / test], check=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
