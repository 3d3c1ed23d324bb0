"""A fingerprint changes with all that changes the vectors' space, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinabert_onnx import BundleError, InputError, InputTypeError
from jinabert_onnx.bundle.fingerprint import Fingerprint, compatible, fingerprint_of
from jinabert_onnx.bundle.manifest import PRECISIONS, FileRecord, Manifest, PoolingRecord, open_bundle
from support.paths import BUNDLES
from support.references import NAMES

Change = Callable[[Manifest], Manifest]


def manifest_of(name: str) -> Manifest:
    return open_bundle(BUNDLES / name).manifest


def with_file(name: str, manifest: Manifest) -> Manifest:
    return replace(manifest, files={**manifest.files, name: FileRecord(1, "0" * 64)})


CHANGES_OF_SPACE: list[Change] = [
    lambda manifest: replace(manifest, weights_sha256="0" * 64),
    lambda manifest: replace(manifest, model=replace(manifest.model, num_attention_heads=1)),
    lambda manifest: replace(manifest, pooling=PoolingRecord("cls", normalize=False)),
    lambda manifest: replace(manifest, pooling=PoolingRecord("mean", normalize=True)),
    lambda manifest: with_file("tokenizer.json", manifest),
]

OTHER_CHANGES: list[Change] = [
    lambda manifest: replace(manifest, source="elsewhere", created_with={"torch": "9"}, verification={}),
    lambda manifest: replace(manifest, prompts={"query": "query: "}, default_prompt="query"),
    lambda manifest: replace(manifest, default_max_length=5),  # what counts is the length that is given
    lambda manifest: with_file("onnx/model.onnx", manifest),  # exported again, by another release of torch
]


@pytest.mark.parametrize("change", CHANGES_OF_SPACE)
def test_what_changes_vectors_changes_the_space(change: Change) -> None:
    manifest = manifest_of("tiny-de-en")
    assert not compatible(fingerprint_of(manifest, "fp32", 512), fingerprint_of(change(manifest), "fp32", 512))


@pytest.mark.parametrize("change", OTHER_CHANGES)
def test_what_leaves_vectors_alike_leaves_the_fingerprint(change: Change) -> None:
    manifest = manifest_of("tiny-de-en")
    assert fingerprint_of(change(manifest), "fp32", 512) == fingerprint_of(manifest, "fp32", 512)


def test_the_space_of_a_bundle_is_the_same_on_every_machine() -> None:
    files = {"tokenizer.json": FileRecord(1, "a" * 64)}
    manifest = replace(manifest_of("plain-4h"), weights_sha256="b" * 64, files=files)
    assert str(fingerprint_of(manifest, "int8", 8192)) == "53ee6b9d120ae4c4:int8"


def test_precisions_share_a_space_and_are_not_the_same() -> None:
    manifest = manifest_of("tiny-de-en")
    floats, bytes_ = (fingerprint_of(manifest, precision, 8192) for precision in ("fp32", "int8"))
    assert compatible(floats, bytes_)
    assert floats != bytes_


def test_another_maximum_length_is_another_space() -> None:
    manifest = manifest_of("tiny-de-en")
    assert not compatible(fingerprint_of(manifest, "fp32", 512), fingerprint_of(manifest, "fp32", 8192))


def test_different_models_have_different_spaces() -> None:
    spaces = {fingerprint_of(manifest_of(name), "fp32", 512).space for name in (*NAMES, "tiny-de-en")}
    assert len(spaces) == len(NAMES) + 1


@given(space=st.text("0123456789abcdef", min_size=16, max_size=16), precision=st.sampled_from(PRECISIONS))
def test_a_fingerprint_survives_its_text(space: str, precision: str) -> None:
    fingerprint = Fingerprint(space, precision)
    assert Fingerprint.parse(str(fingerprint)) == fingerprint
    assert compatible(str(fingerprint), fingerprint)


def test_anything_with_a_fingerprint_can_be_asked() -> None:
    fingerprint = Fingerprint("3f9c2a07d15be846", "fp32")
    assert compatible(SimpleNamespace(fingerprint=fingerprint), "3f9c2a07d15be846:int8")
    assert not compatible("0f9c2a07d15be846:fp32", SimpleNamespace(fingerprint=fingerprint))


@pytest.mark.parametrize(
    "text",
    ["", "3f9c2a07d15be846", "3f9c2a07d15be846:", "3f9c2a07d15be846:int4", "3F9C2A07D15BE846:int8", "3f9c2a07:int8",
     " 3f9c2a07d15be846:int8", "3f9c2a07d15be846:int8\n", "x" * 10_000],
)  # fmt: skip
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no fingerprint; one is 16 hexadecimal digits") as caught:
        compatible("3f9c2a07d15be846:int8", text)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [None, 3, b"3f9c2a07d15be846:int8", SimpleNamespace(fingerprint="3f9c2a07d15be846:int8")]
)
def test_things_without_a_fingerprint_are_refused(value: object) -> None:
    with pytest.raises(InputTypeError, match="has no fingerprint"):
        compatible("3f9c2a07d15be846:int8", value)


def test_a_manifest_without_a_tokenizer_has_no_fingerprint() -> None:
    with pytest.raises(BundleError, match=r"no entry for tokenizer\.json"):
        fingerprint_of(replace(manifest_of("plain-4h"), files={}), "fp32", 512)
