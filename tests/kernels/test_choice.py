"""Which kernels run and why not others: with the library as installed, and with real ones that do not fit.

Each case is a process of its own, for a library that was loaded stays loaded.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinabert_onnx_kernels
import pytest
from support.bundles import edit_json, record_again
from support.paths import BUNDLES, DATA, TRAINED
from support.python import run_command, run_python

PROGRAM = """
import json, logging, sys
logging.basicConfig(format="%(levelname)s %(message)s", level="WARNING")
import jinabert_onnx
from jinabert_onnx import Embedder
try:
    model = Embedder.load(sys.argv[1], **json.loads(sys.argv[2]))
except jinabert_onnx.JinaBertError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
else:
    report = model.encode_with_report(["Ein Satz."])
    kernels = model.kernels
    fields = ("attention", "reason", "layers", "layers_reason")
    told = {name: getattr(kernels, name) for name in fields}
    print(json.dumps(told | {"reported": report.attention, "reported_layers": report.layers}))
"""

# Prints what is chosen for each request (head size, hidden size, version, precision) of argv[1]; argv[2] is the root of
# the files that tell of the processor.
CHOOSING = """
import dataclasses, json, sys
from functools import partial
from pathlib import Path
from jinabert_onnx.engine import cpu, kernels
kernels.cpu_features = partial(cpu.cpu_features, root=Path(sys.argv[2]), system="linux", machine="x86_64")
for asked, head_size, hidden_size, version, precision in json.loads(sys.argv[1]):
    request = kernels.KernelRequest(asked, head_size, hidden_size, version)
    chosen = kernels.choose_kernels(request, "cpu", precision)
    print(json.dumps(dataclasses.asdict(chosen) | {"native": chosen.native}, default=str))
"""

EARLIER = DATA / "earlier-bundle"
IMPORTED = b"jinabert\x10%c"  # an import of the operators, as protobuf writes it, with its version
RELEASE = f"jinabert-onnx-kernels {jinabert_onnx_kernels.__version__}"


@dataclass(frozen=True)
class Answer:
    """What a process printed, and the warnings it logged."""

    content: dict[str, str]
    warnings: list[str]

    @property
    def attention(self) -> str:
        return self.content["attention"]

    @property
    def reason(self) -> str:
        return self.content["reason"]

    @property
    def layers(self) -> str:
        return self.content["layers"]

    @property
    def layers_reason(self) -> str:
        return self.content["layers_reason"]


def load(
    bundle: Path, package: Path | None = None, environment: dict[str, str] | None = None, **options: object
) -> Answer:
    """Load a bundle in a process where `package`, a folder, is found before what is installed."""
    path = {"PYTHONPATH": str(package)} if package else {}
    surroundings = os.environ | path | (environment or {})
    result = run_python("-c", PROGRAM, bundle, json.dumps(options), env=surroundings)
    assert result.returncode == 0, result.stderr
    warnings = [line for line in result.stderr.splitlines() if line.startswith("WARNING")]
    return Answer(json.loads(result.stdout), warnings)


def package_with(folder: Path, library: bytes | None, oldest: int = 2, newest: int = 3) -> Path:
    """Copy the Python package into `folder`, with another library, or none, and other versions."""
    source = Path(jinabert_onnx_kernels.__file__).parent
    package = folder / source.name
    package.mkdir()
    text = (source / "__init__.py").read_text("utf-8")
    text = text.replace("\nDOMAIN_VERSION = 3", f"\nDOMAIN_VERSION = {newest}")
    text = text.replace("\nOLDEST_DOMAIN_VERSION = 2", f"\nOLDEST_DOMAIN_VERSION = {oldest}")
    (package / "__init__.py").write_text(text, encoding="utf-8")
    if library is not None:
        (package / jinabert_onnx_kernels.library_path().name).write_bytes(library)
    return folder


def compile_other(compiler: list[str], folder: Path, version: int, *defined: str) -> bytes:
    """Compile `other_library.c`, which says that it holds `version` of the operators."""
    output = folder / "other.so"
    source = Path(__file__).with_name("other_library.c")
    names = (f"-D{name}" for name in (f"VERSION={version}", *defined))
    subprocess.run([*compiler, "-x", "c", "-shared", "-fPIC", *names, "-o", output, source], check=True)
    return output.read_bytes()


def write_version(folder: Path, version: int) -> Path:
    """Copy the bundle of an earlier release into `folder`, with another version of the operators in its graphs."""
    bundle = Path(shutil.copytree(EARLIER, folder / "bundle"))
    for name in ("model.onnx", "model_int8.onnx"):
        path = bundle / "onnx" / name
        graph = path.read_bytes()
        assert IMPORTED % 2 in graph
        path.write_bytes(graph.replace(IMPORTED % 2, IMPORTED % version))
    return bundle


def test_attention_is_native_where_the_library_fits() -> None:
    answer = load(TRAINED)
    assert answer.attention in {"avx2", "avx512", "neon"}
    assert answer.reason == RELEASE
    assert (answer.layers, answer.layers_reason) == ("portable", "there are none for fp32")
    assert answer.content["reported"] == answer.attention
    assert not answer.warnings


def test_layers_of_int8_are_native_where_this_processor_has_them() -> None:
    answer = load(TRAINED, precision="int8", kernels="require")
    assert answer.attention != "portable"
    assert answer.layers == (jinabert_onnx_kernels.layer_instructions(256) or "portable")
    assert answer.content["reported_layers"] == answer.layers
    assert not answer.warnings


def choose(package: Path, requests: list[tuple[object, ...]], cpu: str = "avx2") -> list[dict[str, Any]]:
    """Choose for each request in a process with `package` and a processor of one instruction set."""
    information = package / "proc" / "cpuinfo"
    information.parent.mkdir(exist_ok=True)
    information.write_text(f"flags : {cpu}\n")
    surroundings = os.environ | {"PYTHONPATH": str(package)}
    result = run_python("-c", CHOOSING, json.dumps(requests), package, env=surroundings)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_attention_and_layers_are_chosen_apart(compiler: list[str], tmp_path: Path) -> None:
    package = package_with(tmp_path, compile_other(compiler, tmp_path, 3))
    cases = {
        ("auto", 64, 768, 3, "int8"): ("avx2", RELEASE, "avx_vnni", RELEASE),
        ("auto", 16, 768, 3, "int8"): ("portable", "heads of 16 channels", "avx_vnni", RELEASE),
        ("auto", 64, 776, 3, "int8"): ("avx2", RELEASE, "portable", "layers of 776 channels on this processor"),
        ("auto", 16, 776, 3, "int8"): ("portable", "heads of 16", "portable", "layers of 776"),
        ("auto", 64, 768, 2, "int8"): ("avx2", RELEASE, "portable", "export the bundle again"),
        ("auto", 64, 768, 2, "fp32"): ("avx2", RELEASE, "portable", "there are none for fp32"),
        ("off", 64, 768, 3, "int8"): ("portable", "switched off", "portable", "switched off"),
        ("require", 64, 768, 3, "int8"): ("avx2", RELEASE, "avx_vnni", RELEASE),
        ("require", 64, 776, 3, "int8"): ("avx2", RELEASE, "portable", "layers of 776"),  # the processor has none
        ("require", 64, 768, 2, "int8"): ("avx2", RELEASE, "portable", "export the bundle again"),
    }
    for chosen, (request, expected) in zip(choose(package, list(cases)), cases.items(), strict=True):
        attention, reason, layers, layers_reason = expected
        assert (chosen["attention"], chosen["layers"]) == (attention, layers), request
        assert reason in chosen["reason"]
        assert layers_reason in chosen["layers_reason"]
        assert (chosen["library"] is None) == (attention == layers == "portable")
        assert chosen["native"] == (attention != "portable")


def test_native_layers_alone_do_not_do_where_kernels_are_required(compiler: list[str], tmp_path: Path) -> None:
    package = package_with(tmp_path, compile_other(compiler, tmp_path, 3))
    requests = json.dumps([("require", 16, 768, 3, "int8")])
    result = run_python("-c", CHOOSING, requests, package, env=os.environ | {"PYTHONPATH": str(package)})
    assert result.returncode == 1
    assert "KernelsError: kernels are required, and none can run" in result.stderr
    assert "heads of 16 channels" in result.stderr


def test_a_processor_with_amx_leaves_layers_to_onnxruntime_and_says_so(compiler: list[str], tmp_path: Path) -> None:
    package = package_with(tmp_path, compile_other(compiler, tmp_path, 3))
    (chosen,) = choose(package, [("require", 64, 776, 3, "int8")], cpu="amx_int8 avx2")
    assert (chosen["attention"], chosen["layers"]) == ("avx2", "portable")
    assert "AMX" in chosen["layers_reason"]


@pytest.mark.parametrize(("smallest_head", "attention"), [(32, "native"), (64, "portable")])
def test_a_session_is_told_what_the_library_is_to_compute(
    compiler: list[str], tmp_path: Path, smallest_head: int, attention: str
) -> None:
    """The library of these tests refuses it with what it was told; heads of the bundle have 32 channels."""
    package = package_with(tmp_path, compile_other(compiler, tmp_path, 3, f"SMALLEST_HEAD={smallest_head}"))
    answer = load(write_version(tmp_path, 3), package, precision="int8", threads=3, integrity="off")
    assert f"attention={attention}, attention_precision=bfloat16, layers=native, threads=3" in answer.reason
    assert answer.reason == answer.layers_reason
    assert (answer.attention, answer.layers) == ("portable", "portable")
    assert len(answer.warnings) == 1


def test_fp32_asks_the_library_for_attention_alone(compiler: list[str], tmp_path: Path) -> None:
    package = package_with(tmp_path, compile_other(compiler, tmp_path, 3))
    told = "attention=native, attention_precision=float32, layers=portable, threads=2"
    assert told in load(TRAINED, package, threads=2).reason


def test_kernels_can_be_switched_off_by_option_and_by_the_environment() -> None:
    for answer in (
        load(TRAINED, kernels="off"),
        load(TRAINED, environment={"JINABERT_ONNX_KERNELS": "off"}),
        load(TRAINED, kernels="off", environment={"JINABERT_ONNX_KERNELS": "require"}),
    ):
        assert (answer.attention, answer.reason, answer.warnings) == ("portable", "switched off", [])
        assert (answer.layers, answer.layers_reason) == ("portable", "switched off")
    assert load(TRAINED, kernels="require", environment={"JINABERT_ONNX_KERNELS": "off"}).attention != "portable"


@pytest.mark.parametrize("options", [{"kernels": "on"}, {"environment": {"JINABERT_ONNX_KERNELS": "on"}}])
def test_an_unknown_wish_is_refused_with_the_ones_there_are(options: dict[str, object]) -> None:
    answer = load(TRAINED, **options)
    assert answer.content["error"] == "InputError"
    assert "'on'" in answer.content["message"]
    assert "auto, off, require" in answer.content["message"]


def test_what_has_no_kernel_is_information_and_an_error_where_one_is_required() -> None:
    cases = [
        (BUNDLES / "plain-4h", {}, "heads of"),
        (TRAINED, {"precision": "fp16"}, "there are none for fp16"),
    ]
    for bundle, options, reason in cases:
        answer = load(bundle, **options)
        assert answer.attention == "portable"
        assert reason in answer.reason
        assert not answer.warnings
        refused = load(bundle, kernels="require", **options)
        assert refused.content["error"] == "KernelsError"
        assert reason in refused.content["message"]


def require_one_warning(package: Path, reason: str) -> None:
    """Check that a package that does not fit gives one warning and the portable path, and with "require" an error."""
    answer = load(TRAINED, package)
    assert (answer.attention, answer.layers) == ("portable", "portable")
    assert reason in answer.reason
    assert answer.reason == answer.layers_reason
    assert len(answer.warnings) == 1
    assert reason in answer.warnings[0]
    refused = load(TRAINED, package, kernels="require")
    assert refused.content["error"] == "KernelsError"
    assert reason in refused.content["message"]
    assert load(TRAINED, package, kernels="off").warnings == []


@pytest.mark.parametrize("kept", [None, 0, 100, 20000])
def test_a_library_that_is_missing_or_cut_short_is_warned_of(tmp_path: Path, kept: int | None) -> None:
    library = None if kept is None else jinabert_onnx_kernels.library_path().read_bytes()[:kept]
    require_one_warning(package_with(tmp_path, library), "cannot be used")


@pytest.mark.parametrize(
    ("held", "claimed", "reason"),
    [
        (1, (1, 1), "has versions 1 to 1 of the operators, and this graph 2"),
        (4, (3, 4), "has versions 3 to 4 of the operators, and this graph 2"),
        (4, (2, 3), "holds version 4 of the operators"),
        (3, (2, 3), "refuses every session"),
    ],
)
def test_a_library_of_another_version_is_warned_of(
    compiler: list[str], tmp_path: Path, held: int, claimed: tuple[int, int], reason: str
) -> None:
    require_one_warning(package_with(tmp_path, compile_other(compiler, tmp_path, held), *claimed), reason)


def test_a_library_without_layers_is_warned_of(compiler: list[str], tmp_path: Path) -> None:
    library = compile_other(compiler, tmp_path, 3, "WITHOUT_LAYERS")
    require_one_warning(package_with(tmp_path, library), "is not the library of this package")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_graph_that_is_newer_than_the_library_is_warned_of(tmp_path: Path, precision: str) -> None:
    answer = load(write_version(tmp_path, 4), precision=precision, integrity="off")
    assert (answer.attention, answer.layers) == ("portable", "portable")
    assert "has versions 2 to 3 of the operators, and this graph 4" in answer.reason
    assert len(answer.warnings) == 1


def test_info_says_what_computes_attention_and_layers() -> None:
    told = {kernels: run_command("info", TRAINED, "--run", "--kernels", kernels).stdout for kernels in ("auto", "off")}
    assert f"({RELEASE})" in told["auto"]
    assert "layers       portable (there are none for fp32)" in told["auto"]
    assert "attention    portable (switched off)" in told["off"]
    assert "layers       portable (switched off)" in told["off"]


def test_info_advises_to_export_an_int8_bundle_without_layers_again(tmp_path: Path) -> None:
    advice = "int8 has version 2 of the operators, with attention alone for native kernels; export the bundle again"
    assert advice in run_command("info", EARLIER).stdout
    assert "for native kernels" not in run_command("info", write_version(tmp_path, 3)).stdout
    running = run_command("info", EARLIER, "--run", "--precision", "int8").stdout
    assert "\nlayers       portable (there are none for graphs with version 2" in running


def test_a_failed_self_test_names_the_kernels_that_ran(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(EARLIER, tmp_path / "bundle"))
    edit_json(bundle / "probes.json", lambda content: content["self_test"]["vectors"]["int8"][0].reverse())
    record_again(bundle, "probes.json")
    native, portable = (
        load(bundle, precision="int8", kernels=kernels).content["message"] for kernels in ("auto", "off")
    )
    assert re.search(rf"{re.escape(RELEASE)} \(\w+ attention, portable layers\), or the tokenizers package", native)
    assert "or kernels 'off'" in native
    assert "kernels" not in portable


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the system tells of its processor in another way")
def test_the_library_takes_the_best_instructions_for_layers_that_the_system_tells_of() -> None:
    """Of x86-64 "flags", of aarch64 "Features", as Linux names them."""
    told = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert told is not None
    flags = set(told.group(1).split())
    best = [name for name in ("avx512_vnni", "avx_vnni", "avx2") if name in flags]
    expected = "neon_dot" if "asimddp" in flags else best[0] if best and "amx_int8" not in flags else None
    assert jinabert_onnx_kernels.layer_instructions(256) == expected
