"""What `lambda-zip` writes is whole, small and the same each time; what Lambda would not take is not written."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXTS, Package
from jinabert_onnx import Embedder, InputError
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.serverless.lambda_zip import LARGEST, architecture, write_zip
from support.bundles import edit_json, record_again
from support.paths import BUNDLES, ROOT, TRAINED
from support.python import Ended, run_command, run_python


def refused(result: Ended, words: str, directory: Path) -> None:
    """In one line, with nothing written."""
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert [path.name for path in directory.iterdir() if "function" in path.name] == []


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[str, Callable[[Path], None], str], Path]:
    """A copy of a small bundle, of which one file is changed and the manifest with it; its path comes back."""

    def edit(name: str, change: Callable[[Path], None], precision: str = "") -> Path:
        bundle = Path(shutil.copytree(BUNDLES / "plain-4h", tmp_path / "bundle"))
        change(bundle / name)
        record_again(bundle, name)
        if precision:
            edit_json(bundle / "manifest.json", lambda manifest: manifest["precisions"][precision].append(name))
        return bundle

    return edit


def test_the_command_says_what_was_made_and_how_to_deploy_it(package: Package) -> None:
    lines = dict(line.split(maxsplit=1) for line in package.said.stdout.splitlines())
    assert lines["package"] == f"{package.path.stat().st_size / 1e6:.1f} MB: {package.path}"
    size = sum(path.stat().st_size for path in package.unpacked.rglob("*") if path.is_file())
    assert lines["unpacked"].startswith(f"{size / 1e6:.1f} MB of 262.1 MB")
    machine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    assert lines["runtime"] == f"python{sys.version_info.major}.{sys.version_info.minor}, {machine}"
    assert lines["handler"] == "jinabert_onnx.serverless.aws_lambda.handler"
    assert ("glibc" in package.said.stderr) == (sys.version_info < (3, 12))


def test_there_is_room_for_a_model_of_base_size(package: Package) -> None:
    """In int8, with the largest vocabulary of the family, it has 163.3 MB."""
    code = [path for path in package.unpacked.rglob("*") if path.is_file() and "bundle" not in path.parts]
    assert sum(path.stat().st_size for path in code) < LARGEST - 163_300_000


def test_the_bundle_in_it_is_a_bundle_of_one_precision(package: Package, model: Embedder) -> None:
    whole, packed = open_bundle(TRAINED), open_bundle(package.unpacked / "bundle")
    assert list(packed.manifest.precisions) == ["int8"]
    assert packed.manifest.files.keys() == whole.manifest.files.keys() - {"onnx/model.onnx", "onnx/model_fp16.onnx"}
    assert packed.manifest.verification.keys() == {"published_checkpoint", "int8"}
    check_files(packed, packed.manifest.files, "full")
    listed = {*packed.manifest.files, "manifest.json"}
    assert {path.relative_to(packed.path).as_posix() for path in packed.path.rglob("*") if path.is_file()} == listed
    with Embedder.load(packed.path, precision="int8", integrity="full") as loaded:
        assert loaded.fingerprint == model.fingerprint
        np.testing.assert_array_equal(loaded.encode(TEXTS), model.encode(TEXTS))


def test_the_same_installation_and_bundle_give_the_same_bytes(package: Package, tmp_path: Path) -> None:
    write_zip(open_bundle(TRAINED), "int8", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == package.path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


def test_nothing_of_this_machine_is_in_it(package: Package) -> None:
    with zipfile.ZipFile(package.path) as archive:
        members = archive.infolist()
    assert [member.filename for member in members] == sorted(member.filename for member in members)
    assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
    modes = {member.external_attr >> 16 for member in members if ".so" in Path(member.filename).suffixes}
    assert modes == {0o100755}
    assert {member.external_attr >> 16 for member in members} == {0o100755, 0o100644}
    places = [str(Path(place).resolve()).encode() for place in (sys.prefix, package.path.parent, ROOT)]
    for path in package.unpacked.rglob("*"):
        if path.is_file() and ".so" not in path.suffixes:
            content = path.read_bytes()
            assert not any(place in content for place in places), path


def test_licences_and_versions_stay_with_the_code(package: Package) -> None:
    versions = {item.name: item.version for item in distributions(path=[str(package.unpacked)])}
    assert {"numpy", "onnxruntime", "orjson", "pydantic", "tokenizers"} <= versions.keys()
    assert "huggingface_hub" not in versions
    assert list(package.unpacked.glob("numpy-*.dist-info/**/LICENSE*"))


def test_what_is_larger_than_lambda_takes_is_refused(tmp_path: Path, edited: Callable) -> None:
    def enlarge(path: Path) -> None:
        with path.open("wb") as stream:
            stream.truncate(250_000_000)

    bundle = edited("onnx/model_int8.onnx_data", enlarge, "int8")
    result = run_command("lambda-zip", bundle, tmp_path / "function.zip")
    refused(result, f"Lambda allows {LARGEST}", tmp_path)
    assert "deploy/Dockerfile.lambda" in result.stderr


def test_what_does_not_run_is_not_written(tmp_path: Path, edited: Callable) -> None:
    def negate(probes: dict) -> None:
        vectors = probes["self_test"]["vectors"]
        vectors["int8"] = [[-value for value in row] for row in vectors["int8"]]

    bundle = edited("probes.json", lambda path: edit_json(path, negate))
    result = run_command("lambda-zip", bundle, tmp_path / "function.zip")
    refused(result, "does not run (jinabert_onnx.errors.SelfTestError: ", tmp_path)


def test_what_cannot_be_packed_is_refused(tmp_path: Path, package: Package) -> None:
    output = tmp_path / "function.zip"
    refused(run_command("lambda-zip", tmp_path / "nothing", output), "no such directory", tmp_path)
    bundle = package.unpacked / "bundle"
    refused(run_command("lambda-zip", bundle, output, "--precision", "fp32"), "no fp32 in this bundle", tmp_path)
    damaged = Path(shutil.copytree(bundle, tmp_path / "damaged"))
    (damaged / "config.json").write_text("{}")
    refused(run_command("lambda-zip", damaged, output), "config.json: 2 bytes where", tmp_path)
    refused(run_command("lambda-zip", bundle, tmp_path / "no" / "function.zip"), "no/function.zip: No such", tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    result = run_command("lambda-zip", TRAINED, tmp_path / "taken")
    refused(result, "taken: exists already", tmp_path)
    assert (tmp_path / "taken").read_text() == "mine"


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path) -> None:
    """Only what the base dependencies bring is in reach."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for item in distributions():
        if item.name in ("jinabert-onnx", "numpy", "onnxruntime", "tokenizers"):
            for top in {file.parts[0] for file in item.files or []} - {".."}:
                (packages / top).symlink_to(Path(str(item.locate_file(top))))
    for name in ("jinabert_onnx", "jinabert_onnx_export", "jinabert_onnx_eval"):
        if not (packages / name).exists():  # of an editable installation
            (packages / name).symlink_to(Path(str(importlib.util.find_spec(name).origin)).parent)
    for arguments in (
        ["-m", "jinabert_onnx", "lambda-zip", str(TRAINED), str(tmp_path / "function.zip")],
        ["-c", "import jinabert_onnx.serverless.aws_lambda"],
    ):
        result = run_python("-S", "-s", *arguments, env={"PYTHONPATH": str(packages)})
        assert result.returncode == 1
        assert "pip install 'jinabert-onnx[cpu,serverless]'" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "function.zip").exists()


def test_elsewhere_than_on_linux_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(InputError, match="Lambda runs Linux on x86_64 or arm64, not darwin"):
        architecture()
