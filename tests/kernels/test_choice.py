"""Which kernels run and why not others: with the library as installed, and with real ones that do not fit.

Each case is a process of its own, for a library that was loaded stays loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import jinabert_onnx_kernels
import pytest
from support.paths import BUNDLES, TRAINED
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
    print(json.dumps({"attention": kernels.attention, "reason": kernels.reason, "reported": report.attention}))
"""


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


def package_with(folder: Path, library: bytes | None, version: int) -> Path:
    """Copy the Python package into `folder`, with another library, or none, and another version."""
    source = Path(jinabert_onnx_kernels.__file__).parent
    package = folder / source.name
    package.mkdir()
    text = (source / "__init__.py").read_text("utf-8")
    shown = text.replace("DOMAIN_VERSION = 2", f"DOMAIN_VERSION = {version}")
    (package / "__init__.py").write_text(shown, encoding="utf-8")
    if library is not None:
        (package / jinabert_onnx_kernels.library_path().name).write_bytes(library)
    return folder


def compile_other(compiler: list[str], folder: Path, version: int) -> bytes:
    """Compile `other_library.c`, which says that it holds `version` of the operators."""
    output = folder / "other.so"
    source = Path(__file__).with_name("other_library.c")
    command = [*compiler, "-x", "c", "-shared", "-fPIC", f"-DVERSION={version}", "-o", output, source]
    subprocess.run(command, check=True)
    return output.read_bytes()


def test_attention_is_native_where_the_library_fits() -> None:
    answer = load(TRAINED)
    assert answer.attention in {"avx2", "avx512", "neon"}
    assert answer.reason == f"jinabert-onnx-kernels {jinabert_onnx_kernels.__version__}"
    assert answer.content["reported"] == answer.attention
    assert not answer.warnings
    assert load(TRAINED, precision="int8", kernels="require").attention != "portable"


def test_kernels_can_be_switched_off_by_option_and_by_the_environment() -> None:
    for answer in (
        load(TRAINED, kernels="off"),
        load(TRAINED, environment={"JINABERT_ONNX_KERNELS": "off"}),
        load(TRAINED, kernels="off", environment={"JINABERT_ONNX_KERNELS": "require"}),
    ):
        assert (answer.attention, answer.reason, answer.warnings) == ("portable", "switched off", [])
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
    assert answer.attention == "portable"
    assert reason in answer.reason
    assert len(answer.warnings) == 1
    assert reason in answer.warnings[0]
    refused = load(TRAINED, package, kernels="require")
    assert refused.content["error"] == "KernelsError"
    assert reason in refused.content["message"]
    assert load(TRAINED, package, kernels="off").warnings == []


@pytest.mark.parametrize("kept", [None, 0, 100, 20000])
def test_a_library_that_is_missing_or_cut_short_is_warned_of(tmp_path: Path, kept: int | None) -> None:
    library = None if kept is None else jinabert_onnx_kernels.library_path().read_bytes()[:kept]
    require_one_warning(package_with(tmp_path, library, 2), "cannot be used")


@pytest.mark.parametrize(
    ("held", "claimed", "reason"),
    [
        (1, 1, "has version 1 of the operators, and this graph 2"),
        (3, 3, "has version 3 of the operators, and this graph 2"),
        (3, 2, "holds version 3 of the operators"),
        (2, 2, "refuses every session"),
    ],
)
def test_a_library_of_another_version_is_warned_of(
    compiler: list[str], tmp_path: Path, held: int, claimed: int, reason: str
) -> None:
    require_one_warning(package_with(tmp_path, compile_other(compiler, tmp_path, held), claimed), reason)


def test_info_says_what_computes_attention() -> None:
    told = {kernels: run_command("info", TRAINED, "--run", "--kernels", kernels).stdout for kernels in ("auto", "off")}
    assert f"(jinabert-onnx-kernels {jinabert_onnx_kernels.__version__})" in told["auto"]
    assert "attention    portable (switched off)" in told["off"]
