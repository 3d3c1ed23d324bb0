"""Run the kernels' tests as a Haswell (AVX2, no AVX-512) and as aarch64 (NEON), under qemu-user.

python native/run_under_qemu.py FOLDER

In C++ and in real bundles, for which aarch64 gets a Python of its own from Debian's arm64 packages, unpacked in FOLDER.
Needs Debian on x86-64 with its package qemu-user, and the environment and bundles that `make test-qemu` makes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from build_wheel import SOURCE, compiler, zig
from run_tests import LIBRARY, TESTS, build

ROOT = SOURCE.parent
HASWELL = ("qemu-x86_64", "-cpu", "Haswell")
NEOVERSE = ("qemu-aarch64", "-cpu", "neoverse-n1")  # of many servers
CPUINFO = """\
processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""
LONGEST = "1000"  # tokens of a text in C++: emulated, longer ones take too long
CROSS = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64")


def run(folder: Path) -> None:
    """Build below `folder`, and run everything on both processors.

    Raises:
        CalledProcessError: something does not build, or a test fails.
    """
    references = make_references(folder / "references")
    command, _ = compiler(folder / "compiler")
    run_programs({"avx2"}, HASWELL, folder / "haswell", command)
    run_bundles(HASWELL, ROOT / ".venv" / "bin" / "python", references, [])
    # A static program needs no library of that system.
    command = str(zig(folder / "aarch64-musl-compiler", "-target", "aarch64-linux-musl", "-static"))
    run_programs({"neon", "neon_dot"}, NEOVERSE, folder / "aarch64-musl", command, *CROSS)
    root = describe_processor(unpack_python(folder / "debian"))
    emulator = (*NEOVERSE, "-L", str(root))
    python = root / "usr" / "bin" / "python3"
    run_bundles(emulator, python, references, [ROOT / "runtime", *make_packages(folder, emulator, python)])


def require_programs() -> None:
    """Refuse to begin where a program is missing."""
    for program in ("qemu-x86_64", "qemu-aarch64", "apt-get", "dpkg"):
        if not shutil.which(program):
            sys.exit(
                f"error: {program} is not found; install Debian's package qemu-user, on Debian, then run this again"
            )


def run_programs(kernels: set[str], emulator: tuple[str, ...], folder: Path, command: str, *options: str) -> None:
    """Build the C++ tests in `folder`, run them, and see that they tested `kernels` and no others."""
    build(folder, command, TESTS, "-DJINABERT_TESTS=ON", *options)
    outputs = []
    for test in TESTS:
        result = subprocess.run([*emulator, folder / test, LONGEST], check=True, stdout=subprocess.PIPE, text=True)
        print(result.stdout, end="", flush=True)
        outputs.append(result.stdout)
    lines = "".join(outputs).splitlines()
    tested = {line.split(",")[0] for line in lines if ", heads of" in line or ", layers" in line}
    if tested != kernels:
        sys.exit(f"error: {' '.join(emulator)} tests {tested}, and not {kernels}")


def make_references(folder: Path) -> Path:
    """Let torch compute, on this machine's own processor, what bundles are to give on others."""
    shutil.rmtree(folder, ignore_errors=True)
    tests = ROOT / "tests"
    environment = os.environ | {"PYTHONPATH": str(tests)}
    program = tests / "kernels" / "make_references.py"
    subprocess.run([ROOT / ".venv" / "bin" / "python", program, folder], check=True, env=environment)
    return folder


def run_bundles(emulator: tuple[str, ...], python: Path, references: Path, packages: list[Path]) -> None:
    """Run the tests of bundles with the emulator's Python, which finds `packages` beside its own."""
    path = os.pathsep.join(map(str, packages))
    environment = os.environ | {"REFERENCES": str(references.resolve()), "PYTHONPATH": path}
    command = [*emulator, str(python), "-m", "pytest", "-p", "no:cacheprovider", "tests/emulated"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


def unpack_python(folder: Path) -> Path:
    """Unpack Debian's Python for arm64 and all that it and onnxruntime need; return the root of that system."""
    root = folder / "root"
    if (root / "usr" / "bin" / "python3").exists():
        return root
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()  # of what is installed there: nothing
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State": folder,
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
    }
    apt = ["apt-get", "-q", "-y", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    subprocess.run([*apt, "update"], check=True)
    wanted = ["python3", "libstdc++6"]
    subprocess.run([*apt, "install", "--download-only", "--no-install-recommends", *wanted], check=True)
    for package in sorted((folder / "archives").glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, root], check=True)
    return root


def describe_processor(root: Path) -> Path:
    """Write below `root` what an aarch64 Linux tells of its processor, and return `root`.

    onnxruntime crashes on what is told of the machine that emulates.
    """
    files = {"proc/cpuinfo": CPUINFO, "sys/devices/system/cpu/possible": "0\n", "sys/devices/system/cpu/present": "0\n"}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    return root


def make_packages(folder: Path, emulator: tuple[str, ...], python: Path) -> list[Path]:
    """Return folders of what an aarch64 Python imports: packages from PyPI, and the kernels, cross-compiled."""
    packages, kernels = folder / "packages", folder / "kernels"
    install_packages(packages, emulator, python)
    # As old a glibc as that of the wheels of onnxruntime.
    command = str(zig(folder / "aarch64-gnu-compiler", "-target", "aarch64-linux-gnu.2.28"))
    build(folder / "aarch64-gnu", command, (LIBRARY,), *CROSS)
    shutil.copytree(SOURCE / LIBRARY, kernels / LIBRARY, dirs_exist_ok=True)
    shutil.copy(folder / "aarch64-gnu" / f"{LIBRARY}.so", kernels / LIBRARY)
    return [packages, kernels]


def install_packages(target: Path, emulator: tuple[str, ...], python: Path) -> None:
    """Install what the runtime depends on, and pytest, for the emulator's Python."""
    program = "import sys; print('{}.{}'.format(*sys.version_info))"
    told = subprocess.run([*emulator, python, "-c", program], check=True, capture_output=True, text=True)
    wheels = ["--only-binary", ":all:", "--python-platform", "aarch64-manylinux_2_28"]
    wanted = ["--extra", "cpu", "-r", str(ROOT / "pyproject.toml"), "pytest"]
    releases = ["-c", str(ROOT / "requirements" / "wheel.txt"), "--python-version", told.stdout.strip()]
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "install", "-q", *wheels, *releases, "--target", target, *wanted], check=True)


if __name__ == "__main__":
    require_programs()
    run(Path(sys.argv[1]).resolve())
