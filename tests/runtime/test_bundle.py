"""A bundle that is not what its manifest says is refused with one clear error."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from jinabert_onnx import BundleError, BundleNotFoundError, Embedder, InputError
from jinabert_onnx.bundle.manifest import open_bundle, parse_manifest
from support.bundles import edit_json, flip_a_byte, record_again
from support.paths import BUNDLES, TRAINED

DATA_FILES = ("tokenizer.json", "probes.json", "onnx/model.onnx")


@pytest.mark.parametrize("name", DATA_FILES)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "altered"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes where the manifest says"),
        (Path.unlink, "missing"),
    ],
)
def test_a_damaged_file_is_named(bundle_copy: Path, name: str, damage: Callable, words: str) -> None:
    damage(bundle_copy / name)
    with pytest.raises(ValueError, match=rf"{Path(name).name}: .*{words}") as caught:
        Embedder.load(bundle_copy)
    assert isinstance(caught.value, BundleError)
    assert "\n" not in str(caught.value)


def test_files_of_other_precisions_are_not_read(bundle_copy: Path) -> None:
    flip_a_byte(bundle_copy / "onnx" / "model_int8.onnx")
    assert Embedder.load(bundle_copy, precision="fp32").encode("t7").shape == (64,)
    with pytest.raises(BundleError, match="altered"):
        Embedder.load(bundle_copy, precision="int8")


def test_no_such_directory_and_no_manifest_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory") as caught:
        Embedder.load(tmp_path / "nowhere")
    assert isinstance(caught.value, BundleNotFoundError)
    with pytest.raises(BundleNotFoundError, match=r"not a bundle, there is no manifest\.json"):
        Embedder.load(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BundleNotFoundError, match="is a file, not a directory"):
        Embedder.load(tmp_path / "file")


def test_a_revision_is_for_hub_ids_only(bundle_copy: Path) -> None:
    with pytest.raises(InputError, match="revision 'main' is for hub ids"):
        Embedder.load(bundle_copy, revision="main")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda manifest: manifest.update(schema=4), r"schema 4 is newer than this version reads \(3\); upgrade"),
        (lambda manifest: manifest.update(schema=1), "schema 1 is of an older version"),
        (lambda manifest: manifest.update(schema="1"), "'schema' is missing or not a int"),
        (lambda manifest: manifest.pop("model"), "'model' is missing"),
        (lambda manifest: manifest["model"].update(hidden_size=True), "'hidden_size'"),
        (lambda manifest: manifest["model"].update(hidden_size=0), "a size below 1"),
        (lambda manifest: manifest["pooling"].update(mode="last"), "pooling mode 'last' is unknown"),
        (lambda manifest: manifest.update(default_max_length=0), "default_max_length 0"),
        (lambda manifest: manifest.update(default_max_length=9000), "default_max_length 9000"),
        (
            lambda manifest: manifest["model"].update(hidden_size=32),
            "the graph has 64 channels and the manifest says 32",
        ),
        (lambda manifest: manifest.update(precisions={}), "precisions none, not some of fp32"),
        (lambda manifest: manifest["precisions"].update(int4=["onnx/model.onnx"]), "not some of fp32, fp16, int8"),
        (lambda manifest: manifest["precisions"].update(fp32=[]), "names files that have no entry"),
        (lambda manifest: manifest["precisions"].update(fp32=["onnx/x"]), "names files that have no entry"),
        (lambda manifest: manifest["precisions"].update(fp32=[["x"]]), "names files that have no entry"),
        (lambda manifest: manifest["files"].update({"../x": {"bytes": 1, "sha256": ""}}), "leaves the bundle"),
        (lambda manifest: manifest["files"].update({"/x": {"bytes": 1, "sha256": ""}}), "leaves the bundle"),
        (lambda manifest: manifest["files"].update({"c:x": {"bytes": 1, "sha256": ""}}), "leaves the bundle"),
        (
            lambda manifest: manifest["files"].update({"x\0": {"bytes": 1, "sha256": ""}}),
            "leaves the bundle, or is none",
        ),
        (lambda manifest: manifest["files"].update({"\ud800": {"bytes": 1, "sha256": ""}}), "or is none"),
        (lambda manifest: manifest["files"].pop("tokenizer.json"), r"no entry for tokenizer\.json"),
        (lambda manifest: manifest.update(default_prompt="query"), "default_prompt 'query'"),
        (lambda manifest: manifest["model"].update(vocab_size=20), "this is another model's tokenizer"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(edit_manifest: Callable, change: Callable, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        Embedder.load(edit_manifest(change))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"schema": 2}', b"[" * 100_000])
def test_a_corrupt_manifest_is_refused(bundle_copy: Path, content: bytes) -> None:
    (bundle_copy / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json: (not valid JSON|field)"):
        Embedder.load(bundle_copy)


def test_a_limit_without_room_beside_the_special_tokens_is_refused(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(TRAINED, tmp_path / "bundle"))
    edit_json(bundle / "manifest.json", lambda manifest: manifest.update(default_max_length=2))
    with pytest.raises(BundleError, match="default_max_length 2 leaves no room beside 2 special tokens"):
        Embedder.load(bundle)


def test_a_precision_that_the_bundle_lacks_is_named_with_those_it_holds(edit_manifest: Callable) -> None:
    path = edit_manifest(lambda manifest: manifest["precisions"].pop("fp16"))
    with pytest.raises(BundleError, match="no fp16 in this bundle, it holds fp32, int8"):
        Embedder.load(path, precision="fp16")


def test_an_onnx_file_of_another_make_is_refused(bundle_copy: Path) -> None:
    (bundle_copy / "onnx" / "model.onnx").write_bytes(b"this is not onnx")
    record_again(bundle_copy, "onnx/model.onnx")
    with pytest.raises(BundleError, match="not an ONNX file to be trusted"):
        Embedder.load(bundle_copy)
    with pytest.raises(BundleError, match="onnxruntime cannot load it"):
        Embedder.load(bundle_copy, integrity="off")


def test_where_integrity_is_off_altered_files_are_loaded(bundle_copy: Path) -> None:
    tokenizer = bundle_copy / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes() + b" ")
    Embedder.load(bundle_copy, integrity="off")
    with pytest.raises(BundleError, match=r"tokenizer\.json: .* bytes where the manifest says"):
        Embedder.load(bundle_copy)
    with pytest.raises(InputError, match="integrity 'none' is unknown"):
        Embedder.load(bundle_copy, integrity="none")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("name", ["manifest.json", *DATA_FILES])
def test_a_file_that_may_not_be_read_is_named(bundle_copy: Path, name: str) -> None:
    (bundle_copy / name).chmod(0)
    with pytest.raises(BundleError, match=rf"{Path(name).name}: cannot be read"):
        Embedder.load(bundle_copy)


def test_a_manifest_survives_writing_and_reading() -> None:
    manifest = open_bundle(BUNDLES / "plain-12h").manifest
    assert parse_manifest(json.loads(manifest.to_json()), "again") == manifest
