"""Threads follow the limits of the container, not the machine around it; CPUs are known by what they list."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinabert_onnx import InputError
from jinabert_onnx.engine.cpu import CpuFeatures, ThreadCount, available_threads, cpu_features

pytestmark = pytest.mark.standard_library

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
V2_MOUNT = "30 23 0:26 {mounted} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "32 31 0:29 {mounted} /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
FILES = (
    "proc/self/cgroup",
    "proc/self/mountinfo",
    "proc/cpuinfo",
    "sys/fs/cgroup/cpu.max",
    "sys/fs/cgroup/a/cpu.max",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us",
)


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def version_2(path: str, quotas: dict[str, str], mounted: str = "/") -> dict[str, str | bytes]:
    """Files of a machine with cgroups of version 2, this process in `path`; `quotas` by folder under the mount."""
    files: dict[str, str | bytes] = {"proc/self/cgroup": f"0::{path}\n"}
    files["proc/self/mountinfo"] = V2_MOUNT.format(mounted=mounted)
    return files | {f"sys/fs/cgroup/{folder}/cpu.max": f"{quota}\n" for folder, quota in quotas.items()}


def version_1(path: str, quotas: dict[str, str], mounted: str = "/") -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {"proc/self/cgroup": f"4:memory:/other\n3:cpu,cpuacct:{path}\n1:name=systemd:/x\n"}
    files["proc/self/mountinfo"] = V1_MOUNT.format(mounted=mounted)
    for folder, quota in quotas.items():
        files[f"sys/fs/cgroup/cpu,cpuacct/{folder}/cpu.cfs_quota_us"] = f"{quota}\n"
        files[f"sys/fs/cgroup/cpu,cpuacct/{folder}/cpu.cfs_period_us"] = "100000\n"
    return files


UNLIMITED = ThreadCount(CPUS, f"CPU affinity of {CPUS}")
HALF = ThreadCount(1, "cgroup quota of 0.5 CPUs")
LIMITED = {
    "half a core": version_2("/", {"": "50000 100000"}),
    "nested": version_2("/a/b", {"a": "max 100000", "a/b": "10000 20000"}),
    "the parent is tighter": version_2("/a/b/c", {"a": "50000 100000", "a/b/c": "900000 100000"}),
    "the mount shows a part": version_2("/docker/1/in", {"in": "max 100000", "": "50000 100000"}, mounted="/docker/1"),
    "the path is the host's": version_2("/kubepods/pod1/1", {"": "50000 100000"}),
    "the path is outside the namespace": version_2("/../../other", {"": "50000 100000"}),
    "version 1": version_1("/docker/1", {"docker/1": "50000", "": "-1"}),
    "version 1, the parent is tighter": version_1("/a/b", {"a/b": "-1", "a": "50000"}),
    "version 1 in a container": version_1("/docker/1", {"": "50000"}, mounted="/docker/1"),
    "hybrid": version_1("/a", {"a": "50000"})
    | {
        "proc/self/cgroup": "3:cpu,cpuacct:/a\n0::/b\n",
        "proc/self/mountinfo": V1_MOUNT.format(mounted="/")
        + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    },
}


@pytest.mark.skipif(CPUS < 2, reason="with one CPU the affinity is as tight as the quota")
@pytest.mark.parametrize("files", LIMITED.values(), ids=LIMITED.keys())
def test_a_quota_of_half_a_core_is_one_thread(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert available_threads({}, write(tmp_path, files)) == HALF


@pytest.mark.parametrize(
    ("quota", "threads"),
    [("1000", 1), ("100000", 1), ("149999", 1), ("150000", 2), ("249000", 2), ("250000", 3), ("9" * 18, CPUS)],
)
def test_quotas_are_rounded_to_the_nearest_and_never_below_one(tmp_path: Path, quota: str, threads: int) -> None:
    root = write(tmp_path, version_2("/", {"": f"{quota} 100000"}))
    assert available_threads({}, root).threads == min(threads, CPUS)


@pytest.mark.skipif(CPUS < 2, reason="with one CPU the affinity is as tight as the quota")
def test_a_quota_of_one_cpu_is_told_in_the_singular(tmp_path: Path) -> None:
    root = write(tmp_path, version_2("/", {"": "100000 100000"}))
    assert available_threads({}, root) == ThreadCount(1, "cgroup quota of 1 CPU")


UNLIMITING: dict[str, dict[str, str | bytes]] = {
    "no files": {},
    "no limit": version_2("/a", {"a": "max 100000", "": "max 100000"}),
    "no limit in version 1": version_1("/", {"": "-1"}),
    "no period": version_2("/", {"": "50000"}),
    "a period of zero": version_2("/", {"": "50000 0"}),
    "a quota of zero": version_2("/", {"": "0 100000"}),
    "words": version_2("/", {"": "half core"}),
    "more digits than int() takes": version_2("/", {"": "9" * 5000 + " 1"}),
    "a quota elsewhere": version_2("/a", {"b": "50000 100000"}),
    "another controller": version_1("/", {"": "50000"})
    | {"proc/self/mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpuset\n"},
    "bytes": dict.fromkeys(FILES, b"\xff\x00\n:::\n - \n"),
    "zero byte in the path": version_2("/a\0b", {"a": "50000 100000"}),
    "a folder where a file should be": {"proc/self/cgroup/x": "", "proc/self/mountinfo/x": "", "proc/cpuinfo/x": ""},
}


@pytest.mark.parametrize("files", UNLIMITING.values(), ids=UNLIMITING.keys())
def test_files_without_a_quota_limit_nothing(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert available_threads({}, write(tmp_path, files)) == UNLIMITED


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"JINABERT_ONNX_THREADS": "3"}, ThreadCount(3, "JINABERT_ONNX_THREADS")),
        ({"JINABERT_ONNX_THREADS": " 1024 ", "OMP_NUM_THREADS": "1"}, ThreadCount(1024, "JINABERT_ONNX_THREADS")),
        ({"JINABERT_ONNX_THREADS": ""}, HALF),
        ({"OMP_NUM_THREADS": "999"}, HALF),
    ],
)
def test_our_variable_wins_over_every_limit(tmp_path: Path, environment: dict, expected: ThreadCount) -> None:
    root = write(tmp_path, version_2("/", {"": "50000 100000"}))
    assert available_threads(environment, root).threads == expected.threads
    assert CPUS < 2 or available_threads(environment, root) == expected


@pytest.mark.parametrize("value", ["0", "-1", "1025", "two", "1.5", "1_0", "4,2", "9" * 5000])
def test_a_malformed_value_of_our_variable_is_refused_by_name(tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError, match=r"^JINABERT_ONNX_THREADS is '.*'; set it to a whole number from 1 to 1024"):
        available_threads({"JINABERT_ONNX_THREADS": value}, tmp_path)


@pytest.mark.skipif(CPUS < 2, reason="with one CPU the affinity is as tight as the variable")
@pytest.mark.parametrize("value", ["1", "1,4", " 1 , 2"])
def test_openmp_threads_count_and_of_a_list_the_first(tmp_path: Path, value: str) -> None:
    assert available_threads({"OMP_NUM_THREADS": value}, tmp_path) == ThreadCount(1, "OMP_NUM_THREADS")


@pytest.mark.parametrize("value", ["", "0", "-2", "many", ",4", "9" * 5000])
def test_malformed_openmp_threads_are_ignored(tmp_path: Path, value: str) -> None:
    assert available_threads({"OMP_NUM_THREADS": value}, tmp_path) == UNLIMITED


def test_this_machine_gives_a_thread_and_no_more_than_its_cpus() -> None:
    assert 1 <= available_threads({}).threads <= CPUS


def cpuinfo(*processors: str) -> str:
    return "\n".join(f"processor\t: {index}\n{lines}\n" for index, lines in enumerate(processors))


@pytest.mark.parametrize(
    ("machine", "flags", "int8"),
    [
        ("x86_64", "fpu avx2 avx512f avx512_vnni amx_int8", "amx_int8"),
        ("x86_64", "fpu avx2 avx512f avx512_vnni", "avx512_vnni"),
        ("x86_64", "fpu avx2 avx_vnni", "avx_vnni"),
        ("AMD64", "fpu avx avx2", "avx2"),
        ("aarch64", "fp asimd asimddp i8mm", "i8mm"),
        ("aarch64", "fp asimd asimddp", "asimddp"),
    ],
)
def test_the_best_instruction_set_for_int8_is_found(tmp_path: Path, machine: str, flags: str, int8: str) -> None:
    key = "Features" if machine == "aarch64" else "flags"
    root = write(tmp_path, {"proc/cpuinfo": cpuinfo(*[f"model name\t: avx2 i8mm\n{key}\t\t: {flags}"] * 2)})
    architecture = machine if machine == "aarch64" else "x86_64"
    expected = CpuFeatures(architecture, int8, f"{architecture} with {int8}")
    assert cpu_features(root, "linux", machine) == expected


@pytest.mark.parametrize(
    ("machine", "line", "description"),
    [
        ("x86_64", "flags : fpu sse4_2 avx", "x86_64 without avx2"),
        ("aarch64", "Features : fp asimd", "aarch64 without asimddp"),
        ("riscv64", "isa : rv64imafdc", "riscv64 with unknown instruction sets"),
    ],
)
def test_a_cpu_without_fast_int8_is_told(tmp_path: Path, machine: str, line: str, description: str) -> None:
    root = write(tmp_path, {"proc/cpuinfo": cpuinfo(line)})
    assert cpu_features(root, "linux", machine) == CpuFeatures(machine, None, description)


def test_of_unlike_cores_what_all_have_counts(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/cpuinfo": cpuinfo("Features : asimd asimddp i8mm", "Features : asimd asimddp")})
    assert cpu_features(root, "linux", "aarch64").int8 == "asimddp"


def test_other_systems_are_known_by_name_or_not_at_all(tmp_path: Path) -> None:
    assert cpu_features(tmp_path, "darwin", "arm64") == CpuFeatures("aarch64", "asimddp", "aarch64 with asimddp")
    for system, machine in [("darwin", "x86_64"), ("win32", "AMD64")]:
        expected = CpuFeatures("x86_64", None, "x86_64 with unknown instruction sets")
        assert cpu_features(tmp_path, system, machine) == expected


def test_this_machine_is_described() -> None:
    features = cpu_features()
    assert features.architecture in features.description


LINES = st.sampled_from(
    ["0::/a", "0:://a", "3:cpu:/a/../b", V2_MOUNT.format(mounted="//"), V1_MOUNT.format(mounted="/a"), "50000 100000"]
)
CONTENT = st.binary(max_size=80) | st.lists(LINES | st.text(max_size=12), max_size=4).map(
    lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
)


COUNTER = itertools.count()  # a folder for each example


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(CONTENT, min_size=len(FILES), max_size=len(FILES)), data=st.data())
def test_whatever_the_files_hold_nothing_raises(tmp_path: Path, contents: list[bytes], data: st.DataObject) -> None:
    variable = data.draw(st.text(max_size=8))
    root = write(tmp_path / str(next(COUNTER)), dict(zip(FILES, contents, strict=True)))
    assert 1 <= available_threads({"OMP_NUM_THREADS": variable}, root).threads <= CPUS
    for machine in ("x86_64", "aarch64"):
        assert cpu_features(root, "linux", machine).architecture == machine
