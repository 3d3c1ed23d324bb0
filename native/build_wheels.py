"""Build the kernels' source distribution, and from it a wheel for every platform, with a compiler from PyPI.

python native/build_wheels.py OUTPUT [--target NAME ...]

Every build of the same sources gives the same bytes, wherever and whenever it runs: all tools come from PyPI in the
versions that are named here, installed beside the Python that runs this, and no file has a time of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from build_wheel import SOURCE, ZIG, make_wheel, zig
from elf_symbols import required_by
from exports import require_exports

TOOLS = ("build==1.6.1", "cmake==4.4.5", "ninja==1.13.2", "scikit-build-core==1.1.2", "wheel==0.48.0")
TIME = "1577836800"  # of every file in an archive, unless SOURCE_DATE_EPOCH names another
GLIBC = (2, 17)  # the highest version that manylinux2014 has


@dataclass(frozen=True)
class Target:
    """A platform that wheels are built for."""

    triple: str  # as zig names it
    tag: str  # as wheels name it
    system: str  # as CMake names it
    processor: str

    @property
    def variables(self) -> dict[str, str]:
        """What the build's environment says of the platform."""
        return {"CMAKE_ARGS": f"-DCMAKE_SYSTEM_NAME={self.system} -DCMAKE_SYSTEM_PROCESSOR={self.processor}"}


TARGETS = {
    "linux-x86_64": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64.manylinux2014_x86_64", "Linux", "x86_64"),
    "linux-aarch64": Target(
        "aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64.manylinux2014_aarch64", "Linux", "aarch64"
    ),
    "macos-arm64": Target("aarch64-macos.11.0", "macosx_11_0_arm64", "Darwin", "arm64"),
}


def build_all(output: Path, names: list[str]) -> None:
    """Build into `output`, and print a line on each file.

    Raises:
        CalledProcessError: something does not build.
        ValueError: a library needs or exports what it must not.
    """
    os.environ.setdefault("SOURCE_DATE_EPOCH", TIME)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *TOOLS], check=True)
    source = build_source(output)
    print(f"built {source.name}", flush=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            wheel = build_target(source, TARGETS[name], Path(folder))
            found = check(wheel, TARGETS[name])
            shutil.copyfile(wheel, output / wheel.name)
        size = (output / wheel.name).stat().st_size // 1024
        print(f"built {wheel.name} ({size} KB) with {ZIG.replace('==', ' ')}: {found}", flush=True)


def build_source(output: Path) -> Path:
    """Build the source distribution into `output`, and return its path."""
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(output), str(SOURCE)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (source,) = output.glob("jinabert_onnx_kernels-*.tar.gz")
    return source


def build_target(source: Path, target: Target, folder: Path) -> Path:
    """Build the wheel of one platform in `folder`, which is empty, and return its path."""
    command = str(zig(folder / "compiler", "-target", target.triple, "-mcpu=baseline"))
    wheel = make_wheel(source, folder, command, "--no-build-isolation", "--no-cache-dir", variables=target.variables)
    # It has the tag of the machine that builds.
    words = [sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", target.tag, str(wheel)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check(wheel: Path, target: Target) -> str:
    """Return what the library needs.

    Raises:
        ValueError: it exports the wrong functions, or on Linux needs what not every system of its tag has.
    """
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        (name,) = (name for name in archive.namelist() if name.endswith(".so"))
        library = Path(archive.extract(name, folder))
        require_exports(library)
        if target.system != "Linux":
            return "exports checked"
        needs = required_by(library)
    newest = needs.newest("GLIBC")
    told = f"needs glibc {'.'.join(map(str, newest))}"
    if newest > GLIBC or any("c++" in library or "libgcc" in library for library in needs.libraries):
        raise ValueError(f"{wheel.name} {told}, and {', '.join(needs.libraries)}")
    return told


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="the folder for what is built")
    parser.add_argument("--target", action="append", choices=TARGETS, help="one platform; default: all")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    build_all(arguments.output, arguments.target or list(TARGETS))


if __name__ == "__main__":
    main()
