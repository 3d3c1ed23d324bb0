"""What builds the kernels, and what the built files may define: with the compiler that built them."""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import jinabert_onnx_kernels
import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "native"))
import build_wheel
import build_wheels
import elf_symbols
import exports
import run_tests
import run_under_qemu

SHARED = "inline int shared() { return 1; } int own() { return shared(); }"
ALONE = "static int alone() { return 1; } int own() { return alone(); }"


def compile_object(compiler: list[str], output: Path, source: str, *flags: str) -> Path:
    """Compile C++ as it is written: an inline function stays a function."""
    output.parent.mkdir(exist_ok=True)
    command = [*compiler, "-x", "c++", "-", "-c", "-O0", "-fPIC", *flags, "-o", output]
    subprocess.run(command, input=source, text=True, check=True)
    return output


def write_compiler(folder: Path, compiler: list[str], name: str, *words: str) -> None:
    """Write a program that runs the machine's compiler with `words` before its own."""
    program = folder / name
    path = shutil.which(compiler[0])  # another than `program`
    assert path
    program.write_text(f'#!/bin/sh\nexec {shlex.join([path, *compiler[1:], *words])} "$@"\n')
    program.chmod(0o755)


def test_what_the_linker_may_exchange_is_refused_in_objects_of_one_instruction_set(
    compiler: list[str], tmp_path: Path
) -> None:
    compile_object(compiler, tmp_path / "good" / "avx512.cc.o", ALONE)
    compile_object(compiler, tmp_path / "good" / "operator.cc.o", SHARED)
    run_tests.require_nothing_shared(tmp_path / "good")
    compile_object(compiler, tmp_path / "bad" / "avx512.cc.o", SHARED)
    with pytest.raises(ValueError, match=r"avx512\.cc\.o: _Z6sharedv"):
        run_tests.require_nothing_shared(tmp_path / "bad")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no object"):
        run_tests.require_nothing_shared(tmp_path / "empty")


def test_the_installed_library_exports_onnxruntimes_entry_point_and_its_own_functions() -> None:
    exports.require_exports(jinabert_onnx_kernels.library_path())
    names = {symbol.name for symbol in elf_symbols.exported_by(jinabert_onnx_kernels.library_path())}
    source = (ROOT / "native" / "source" / "registration.cc").read_text("utf-8")
    assert all(name in source for name in names)


def test_a_library_that_exports_more_is_refused(compiler: list[str], tmp_path: Path) -> None:
    names = ("RegisterCustomOps", "jinabert_more", "more")
    source = " ".join(f'extern "C" int {name}() {{ return 0; }}' for name in names)
    library = compile_object(compiler, tmp_path / "more.o", source)
    subprocess.run([*compiler, "-shared", library, "-o", tmp_path / "more.so"], check=True)
    with pytest.raises(ValueError, match=r"more\.so exports RegisterCustomOps, jinabert_more, more"):
        exports.require_exports(tmp_path / "more.so")


def test_what_a_library_needs_of_its_system_is_read(compiler: list[str], tmp_path: Path) -> None:
    source = '#include <math.h>\nextern "C" double own(double a) { return exp(a); }'
    compiled = compile_object(compiler, tmp_path / "own.o", source)
    library = tmp_path / "own.so"
    subprocess.run([*compiler, "-shared", compiled, "-lm", "-o", library], check=True)
    needs = elf_symbols.required_by(library)
    assert "libm.so.6" in needs.libraries
    assert (2, 2) < needs.newest("GLIBC") < (3,)
    assert needs.newest("GLIBCXX") == ()
    versions = ["GLIBC_2.4", "GLIBC_2.17", "GLIBCXX_3.4.30"]
    assert elf_symbols.Requirements([], versions).newest("GLIBC") == (2, 17)


def test_the_installed_library_needs_no_library_of_the_compilers() -> None:
    needed = elf_symbols.required_by(jinabert_onnx_kernels.library_path()).libraries
    assert not [name for name in needed if "c++" in name or "libgcc" in name]


def wheel_of(folder: Path, library: Path, tag: str) -> Path:
    wheel = folder / f"jinabert_onnx_kernels-0-py3-none-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(library, f"jinabert_onnx_kernels/{library.name}")
    return wheel


def test_a_wheel_for_older_systems_than_its_library_runs_on_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = build_wheels.TARGETS["linux-x86_64"]
    wheel = wheel_of(tmp_path, jinabert_onnx_kernels.library_path(), target.tag)
    monkeypatch.setattr(build_wheels, "GLIBC", (3, 0))
    assert build_wheels.check(wheel, target).startswith("needs glibc 2.")
    monkeypatch.setattr(build_wheels, "GLIBC", (2, 1))
    with pytest.raises(ValueError, match="needs glibc 2"):
        build_wheels.check(wheel, target)


def test_another_folder_and_another_time_give_the_same_wheel(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "native", tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "import sys; from pathlib import Path; from build_wheel import compiler, make_wheel; "
        "source, output = map(Path, sys.argv[1:]); "
        "print(make_wheel(source, output, compiler(output / 'compiler')[0]))"
    )
    built = subprocess.run(
        [ROOT / "build" / "tools" / "bin" / "python", "-c", program, tmp_path / "copy", tmp_path / "wheel"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "native")},
        capture_output=True,
        text=True,
        check=True,
    )
    again = Path(built.stdout.strip())
    (first,) = (ROOT / "build" / "kernels").glob("*.whl")
    assert again.name == first.name
    assert again.read_bytes() == first.read_bytes()


def test_a_compiler_that_is_too_old_is_passed_over(
    compiler: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_compiler(tmp_path, compiler, "c++", "-D__builtin_shufflevector=which_gcc_11_does_not_know")
    write_compiler(tmp_path, compiler, "g++")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert build_wheel.compiler(tmp_path / "tools")[0] == "g++"
    monkeypatch.setenv("CXX", "c++")  # what is asked for is taken
    assert build_wheel.compiler(tmp_path / "tools")[0] == "c++"


def test_a_missing_emulator_is_one_clear_error(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, run_under_qemu.__file__, tmp_path / "folder"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == (
        "error: qemu-x86_64 is not found; install Debian's package qemu-user, on Debian, then run this again\n"
    )
    assert not (tmp_path / "folder").exists()


def test_exports_of_a_mach_o_library_are_those_defined_for_all(tmp_path: Path) -> None:
    names = {
        "_RegisterCustomOps": 0x0F,
        "_jinabert_runs": 0x0F,
        "_hidden": 0x1F,
        "_needed": 0x01,
        "_own": 0x0E,
        "__Znwm": 0x0F,
    }
    texts, entries = b"\0", b""
    for name, flags in names.items():
        entries += struct.pack("<IBBHQ", len(texts), flags, 1, 0, 0)
        texts += name.encode() + b"\0"
    symbols = 32 + 24  # behind the header and one command
    header = struct.pack("<4s7I", b"\xcf\xfa\xed\xfe", 0, 0, 6, 1, 24, 0, 0)
    command = struct.pack("<6I", 2, 24, symbols, len(names), symbols + len(entries), len(texts))
    library = tmp_path / "library.so"
    library.write_bytes(header + command + entries + texts)
    assert exports.exported_names(library) == {"RegisterCustomOps", "jinabert_runs"}
