"""The runtime on aarch64: its wheels emulated by qemu on several CPU models, and their vectors against this machine's.

    python benchmarks/aarch64.py BUNDLE WORK_DIRECTORY

Needs Debian with qemu-user. Python's packages of Debian for arm64, and the aarch64 wheels of the releases that are
installed here, are fetched into WORK_DIRECTORY, of which nothing is installed. It tells whether the wheels run and what
they compute, nothing of speed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.bundle.probes import Probes, compare, read_probes
from jinabert_onnx.engine.cpu import available_threads, cpu_features
from timing import finish

PRECISIONS = ("fp32", "int8")
PROGRAMS = ("qemu-aarch64", "apt-get", "dpkg-deb")
PACKAGES = ("numpy", "onnxruntime", "tokenizers")
RUNTIME = Path(__file__).parent.parent / "runtime"
GLIBC_MINORS = range(17, 42)  # releases 2.17 to 2.41, one for each tag that a wheel may carry
BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
# qemu's CPU models: without dot product, with it, and with everything that qemu knows. qemu 7.2 shows the host's
# /proc/cpuinfo, over which onnxruntime's import crashes (SIGSEGV): what such a CPU would show (part number and
# features) goes into the system root, where qemu looks first.
CPU_MODELS = {
    "cortex-a72": ("0xd08", BASE),
    "neoverse-n1": ("0xd0c", f"{BASE} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"),
    "max": ("0xd0c", f"{BASE} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp sve i8mm bf16"),
}
DOT_PRODUCT_BIT = 20  # of the word of hardware capabilities that Linux gives a process on aarch64


def unpack_debian(work: Path) -> Path:
    """Fetch Debian's Python for arm64 with all that it needs, unpack it, and give the system root."""
    root, state = work / "root", work / "apt"
    if (root / "usr/bin/python3").exists():
        return root
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (state / "sources.list").write_text(f"deb [signed-by={key}] http://deb.debian.org/debian {release} main\n")
    (state / "apt.conf").write_text(
        'APT::Architecture "arm64"; APT::Architectures { "arm64"; }; APT::Install-Recommends "false";\n'
        f'Dir::State "{state}"; Dir::State::status "{state}/status"; Dir::Cache "{state}";\n'
        f'Dir::Etc::sourcelist "{state}/sources.list"; Dir::Etc::sourceparts "-"; APT::Sandbox::User "root";\n'
    )
    environment = os.environ | {"APT_CONFIG": str(state / "apt.conf")}
    for command in (["update"], ["--yes", "--download-only", "install", "python3", "libstdc++6"]):
        subprocess.run(["apt-get", "-qq", *command], env=environment, check=True, stdout=sys.stderr)
    for package in sorted((state / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    return root


def unpack_wheels(work: Path, python: str) -> Path:
    """Fetch the aarch64 wheels of the releases installed here, for Python of version `python`, and unpack them."""
    site = work / "site"
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in GLIBC_MINORS] + ["manylinux2014_aarch64"]
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(site), "--upgrade", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    command += [word for name in platforms for word in ("--platform", name)]
    subprocess.run(command + [f"{name}=={version(name)}" for name in PACKAGES], check=True)
    return site


def write_cpuinfo(root: Path, model: str) -> None:
    """What `/proc/cpuinfo` would show of the CPUs of this model."""
    part, features = CPU_MODELS[model]
    lines = f"Features\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\n"
    lines += f"CPU part\t: {part}\nCPU revision\t: 1\n"
    (root / "proc").mkdir(exist_ok=True)
    text = "\n".join(f"processor\t: {index}\n{lines}" for index in range(os.cpu_count() or 1))
    (root / "proc/cpuinfo").write_text(text)


def probe_texts(bundle: Path) -> list[str]:
    """The bundle's probes, and all of them together six times as one text, long enough for attention in windows."""
    texts = read_probes(open_bundle(bundle)).texts
    return [*texts, " ".join(texts * 6)]


def embed(bundle: Path, output: Path) -> None:
    """The child, here or emulated: vectors (precisions, texts, hidden) to `output`, facts to stdout."""
    texts = probe_texts(bundle)
    models = [Embedder.load(bundle, precision=precision, provider="cpu") for precision in PRECISIONS]
    np.save(output, np.stack([model.encode(texts) for model in models]))
    facts = {"features": cpu_features().description, "threads": available_threads().reason}
    if platform.machine() == "aarch64":
        capabilities = ctypes.CDLL(None).getauxval(ctypes.c_ulong(16))  # AT_HWCAP
        facts["dot product"] = "yes" if capabilities >> DOT_PRODUCT_BIT & 1 else "no"
    longest = max(models[0].count_tokens(texts))
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    print(json.dumps(facts | {"tokens of the longest": longest} | versions))


def run_child(interpreter: list[str], bundle: Path, output: Path, path: list[Path]) -> tuple[dict[str, Any], Any]:
    """Facts and vectors of one child process, whose modules are looked for in `path`; no vectors if it failed."""
    command = [*interpreter, __file__, str(bundle), str(output.parent), "--embed", str(output)]
    environment = os.environ | {"PYTHONPATH": ":".join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        return {"failed": f"exit code {answer.returncode}"}, []
    return json.loads(answer.stdout.splitlines()[-1]), np.load(output)


def agreement(expected: Probes, vectors: Any, native: Any) -> dict[str, dict[str, float]]:
    """By precision, how vectors agree with this machine's and, without the long text, with torch's."""
    rows = {}
    for precision, found, ours in zip(PRECISIONS, vectors, native, strict=False):
        here, torch = compare(found, ours), compare(found[:-1], expected.vectors)
        rows[precision] = {
            "min_cosine_to_this_machine": round(here.min_cosine, 9),
            "max_difference_to_this_machine": float(f"{here.max_difference:.2g}"),
            "min_cosine_to_torch": round(torch.min_cosine, 9),
        }
    return rows


def print_row(name: str, row: Mapping[str, Any]) -> None:
    """A CPU model's row of the table."""
    figures = [f"{row[precision][key]:>14}" for precision in PRECISIONS if precision in row for key in row[precision]]
    print(f"{name:<14}{row.get('features', row.get('failed')):<26}" + "".join(figures))


def compare_models(bundle: Path, work: Path, expected: Probes) -> dict[str, Any]:
    """Facts and agreement of this machine and of every CPU model."""
    root = unpack_debian(work)
    python = (root / "usr/bin/python3").resolve()
    site = unpack_wheels(work, python.name.removeprefix("python"))
    facts, native = run_child([sys.executable], bundle, work / "native.npy", [RUNTIME])
    results = {"this machine": facts | agreement(expected, native, native)}
    for model in CPU_MODELS:
        write_cpuinfo(root, model)
        qemu = ["qemu-aarch64", "-cpu", model, "-L", str(root), str(python)]
        facts, vectors = run_child(qemu, bundle, work / f"{model}.npy", [RUNTIME, site])
        results[model] = facts | agreement(expected, vectors, native)
    return results


def main() -> None:
    """Fetch, run on every CPU model, print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--embed", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    bundle, work = arguments.bundle.resolve(), arguments.work.resolve()
    if arguments.embed:
        embed(bundle, arguments.embed)
        return
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise SystemExit(f"needs {' and '.join(missing)}: run it on Debian (apt-get install qemu-user), as root")
    results = compare_models(bundle, work, read_probes(open_bundle(bundle)))
    print(" " * 40 + "".join(f"{precision + ': cosine, difference, cosine to torch':<42}" for precision in PRECISIONS))
    for name, row in results.items():
        print_row(name, row)
    qemu = subprocess.run(["qemu-aarch64", "--version"], check=True, capture_output=True, text=True).stdout
    finish("aarch64", {"qemu": qemu.splitlines()[0]} | results)
    if failed := [name for name, row in results.items() if "failed" in row]:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
