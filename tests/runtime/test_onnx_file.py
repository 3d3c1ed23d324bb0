"""An ONNX file that claims what is not there, or reaches for what is not its own, is refused before it is loaded."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import BundleError
from jinabert_onnx.bundle.locate import open_source, require_files
from jinabert_onnx.bundle.onnx_check import MAX_DEPTH, check_onnx_file
from jinabert_onnx.engine.providers import import_onnxruntime
from support.bundles import record_again
from support.paths import BUNDLES

WEIGHTS = {"weights": 100}
FLOAT, INT4, STRING, SPARSE = 1, 22, 8, 15


# As much of protobuf's wire format as it takes to write models, right and wrong.


def varint(value: int) -> bytes:
    value %= 2**64
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, value: int | str | bytes) -> bytes:
    """A varint, or a text or message with its length before it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(*dims: int, data_type: int = FLOAT, data: bytes = b"") -> bytes:
    """A TensorProto named "w"; `data` are its further fields."""
    return b"".join(field(1, size) for size in dims) + field(2, data_type) + field(8, "w") + data


def raw(size: int) -> bytes:
    return field(9, bytes(size))


def outside(**entries: str) -> bytes:
    """The fields of external data."""
    return b"".join(field(13, field(1, key) + field(2, value)) for key, value in entries.items()) + field(14, 1)


def graph(*initializers: bytes, nodes: bytes = b"") -> bytes:
    return nodes + b"".join(field(5, initializer) for initializer in initializers)


def node(attribute: bytes) -> bytes:
    """A graph's field with one node that has one attribute."""
    return field(1, field(4, "Constant") + field(5, field(1, "value") + attribute))


def model(content: bytes, functions: bytes = b"") -> bytes:
    return field(1, 10) + field(7, content) + functions


def with_tensor(content: bytes) -> bytes:
    return model(graph(content))


def check(content: bytes, tmp_path: Path, weights: dict[str, int] = WEIGHTS) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    check_onnx_file(path, weights)


def refusal(content: bytes, tmp_path: Path) -> str:
    with pytest.raises(BundleError, match=r"model\.onnx: ") as caught:
        check(content, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000
    return str(caught.value)


def words_alone(value: object) -> str:
    """Names of cases without their bytes."""
    return value if isinstance(value, str) else ""


def adding_model(weight: bytes) -> bytes:
    """y = x + w of two floats, where `weight` is the tensor w."""
    value = field(2, field(1, field(1, FLOAT) + field(2, field(1, field(1, 2)))))
    content = field(1, field(1, "x") + field(1, "w") + field(2, "y") + field(4, "Add")) + field(2, "adding")
    content += graph(weight) + field(11, field(1, "x") + value) + field(12, field(1, "y") + value)
    return model(content) + field(8, field(1, "") + field(2, 17))


# What must pass.


@pytest.mark.parametrize("path", sorted(BUNDLES.rglob("*.onnx")), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_what_the_exporter_writes_passes(path: Path) -> None:
    check_onnx_file(path, {})


@pytest.mark.parametrize(
    "content",
    [
        tensor(2, data=raw(8)),
        tensor(2, data=field(4, struct.pack("<2f", 1, 2))),
        tensor(data=raw(4)),
        tensor(0, 5),
        tensor(3, data_type=INT4, data=raw(2)),
        tensor(2, data=outside(location="weights", offset="92", length="8")),
        tensor(2, data=outside(location="weights")),
        field(1, varint(2) + varint(3)) + tensor(data=raw(24)),
        field(8, "n" * 5000) + field(2, FLOAT) + raw(4),
    ],
    ids=["raw", "typed", "scalar", "empty", "half bytes", "outside", "its defaults", "packed dimensions", "long name"],
)
def test_a_tensor_that_is_what_it_says_passes(content: bytes, tmp_path: Path) -> None:
    check(with_tensor(content), tmp_path)


def test_onnxruntime_reads_the_models_that_these_tests_write(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(struct.pack("<4f", 0, 0, 3, 4))
    content = adding_model(tensor(2, data=outside(location="weights", offset="8", length="8")))
    check(content, tmp_path, {"weights": 16})

    session = import_onnxruntime().InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])

    np.testing.assert_array_equal(session.run(None, {"x": np.float32([1, 2])})[0], [4, 6])


def test_contents_are_not_read(tmp_path: Path) -> None:
    """A gigabyte in a hole of the file."""
    path, size = tmp_path / "model.onnx", 2**30
    start = tensor(size // 4) + varint(9 << 3 | 2) + varint(size)
    start = varint(5 << 3 | 2) + varint(len(start) + size) + start
    with path.open("wb") as stream:
        stream.write(varint(7 << 3 | 2) + varint(len(start) + size) + start)
        stream.truncate(stream.tell() + size)
    tracemalloc.start()
    try:
        check_onnx_file(path, {})
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


# What must not.


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../weights", "./weights", "sub/../weights", "", "other", "*/_ORT_MEM_ADDR_/*", "w\neights"],
)
def test_a_file_that_is_not_listed_is_refused(location: str, tmp_path: Path) -> None:
    message = refusal(with_tensor(tensor(2, data=outside(location=location, length="8"))), tmp_path)
    assert f"tensor 'w' lies in {location!r}, which the manifest does not list" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tensor(2, data=outside(location="weights", offset="93", length="8")), "ends at byte 101 of 'weights'"),
        (tensor(2, data=outside(location="weights", offset=str(2**63), length="8")), "ends at byte"),
        (tensor(2, data=outside(location="weights", offset="-8", length="8")), "'-8' where its offset or length"),
        (tensor(2, data=outside(location="weights", offset="٣", length="8")), "where its offset or length"),
        (tensor(2, data=outside(location="weights", offset="9" * 20)), "where its offset or length"),
        (tensor(2, data=outside(location="weights", length="7")), "needs 8 bytes and takes 7"),
        (tensor(2**40, data=outside(location="weights")), "ends at byte"),
        (tensor(2, data=outside()), "lies in ''"),
        (field(8, b"\xff" * 9999) + field(1, 2) + field(2, FLOAT) + outside(location="\x7f" * 255), "lies in '"),
        (tensor(2, data=outside(location="weights", secret="1")), "unknown or second entry 'secret'"),
        (
            tensor(2, data=outside(location="weights")[:-2] + outside(location="x")),
            "unknown or second entry 'location'",
        ),
        (tensor(2, data=outside(location="weights") + raw(8)), "lies in this file and in another"),
        (tensor(2, data=outside(location="weights") + field(4, bytes(8))), "lies in this file and in another"),
        (tensor(2, data=outside(location="weights")[:-2]), "lies in this file and in another"),
        (tensor(2, data=field(14, 1) + outside(location="weights")), "holds field 14 twice"),
        (tensor(2, data=outside(location="w" * 5000)), "5000 bytes in an entry"),
        (tensor(2, data=raw(7)), "needs 8 bytes and has 7"),
        (tensor(2**40, data=raw(8)), f"needs {2**42} bytes and has 8"),
        (tensor(2**40), f"needs {2**40} elements and has 0 bytes"),
        (tensor(*[2**62] * 16, data=field(4, bytes(8))), "elements and has 8 bytes"),
        (tensor(-1, data=raw(8)), "a negative dimension"),
        (tensor(*[1] * 17, data=raw(4)), "a negative dimension, or more than 16"),
        (field(1, b"\1" * 10_000) + tensor(data=raw(4)), "a negative dimension, or more than 16"),
        (tensor(2, data=raw(8) + raw(8)), "holds field 9 twice"),
        (tensor(2, data=raw(8) + field(4, bytes(8))), "needs 8 bytes and has 16"),
        (tensor(2, data_type=0, data=raw(8)), "elements of type 0"),
        (tensor(2, data_type=STRING, data=field(6, "a") + field(6, "b")), "elements of type 8"),
        (tensor(2, data_type=2**32 + 1, data=raw(8)), "elements of type 4294967297"),
        (tensor(2, data=field(2, FLOAT) + raw(8)), "holds field 2 twice"),
        (tensor(2, data=field(9, 8)), "written as type 0 where 2 is meant"),
    ],
    ids=words_alone,
)
def test_weights_outside_and_dimensions_that_do_not_fit_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal(with_tensor(content), tmp_path)


@pytest.mark.parametrize(
    "place",
    [
        lambda bad: model(graph(bad)),
        lambda bad: model(graph(tensor(2, data=raw(8)), bad, tensor(2, data=raw(8)))),
        lambda bad: model(node(field(5, bad))),
        lambda bad: model(node(field(10, tensor(2, data=raw(8))) + field(10, bad))),
        lambda bad: model(node(field(6, graph(bad)))),
        lambda bad: model(node(field(6, node(field(11, graph(bad)))))),
        lambda bad: model(b"", field(25, field(1, "f") + field(7, node(field(5, bad))[2:]))),
        lambda bad: model(b"", field(25, field(1, "f") + field(11, field(5, bad)))),
        lambda bad: model(b"", field(25, field(1, "f") + field(7, node(field(6, graph(bad)))[2:]))),
    ],
    ids=[
        "initializer",
        "one of several",
        "attribute",
        "one of an attribute's",
        "subgraph",
        "subgraph of a subgraph",
        "function",
        "default of a function",
        "subgraph of a function",
    ],
)
def test_tensors_are_found_wherever_they_stand(place: Callable[[bytes], bytes], tmp_path: Path) -> None:
    check(place(tensor(2, data=raw(8))), tmp_path)
    assert "lies in '../x'" in refusal(place(tensor(2, data=outside(location="../x"))), tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (model(b"") + field(7, b""), "a model holds a graph twice"),
        (model(node(field(5, tensor(0)) + field(5, tensor(0)))), "a attribute holds a tensor twice"),
        (model(field(SPARSE, b"")), "sparse tensors"),
        (model(node(field(22, b""))), "sparse tensors"),
        (model(b"") + field(20, b""), "training information"),
        (field(7, 5), "written as type 0 where 2 is meant"),
        (b"\x7b", "no field begins like this"),
        (varint(0) + varint(0), "field 0"),
        (varint(2**32 << 3) + varint(0), f"field {2**32}"),
        (varint(7 << 3 | 2) + varint(2**62), f"field 7 of {2**62} bytes, where 0 are left"),
        (varint(7 << 3 | 2) + b"\xff" * 9 + b"\x7f", "a number of more than 64 bits"),
        (varint(7 << 3 | 2) + b"\xff" * 20, "a number of more than 64 bits"),
        (varint(1 << 3) + b"\x80", "cut short within a number"),
        (varint(1 << 3 | 1) + bytes(7), "field 1 of 8 bytes, where 7 are left"),
        (field(1, 1) * 200_000, "more than 100000 fields"),
        (b"", "cannot be read"),
        (b"this is not onnx", "no field begins like this"),
    ],
    ids=words_alone,
)
def test_what_is_no_onnx_file_of_ours_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal(content, tmp_path)


@pytest.mark.parametrize("levels", [MAX_DEPTH // 3 + 1, 300])
def test_graphs_nested_without_end_are_refused(levels: int, tmp_path: Path) -> None:
    content = b""
    for _ in range(levels):
        content = node(field(6, content))
    assert f"more than {MAX_DEPTH} messages inside one another" in refusal(model(content), tmp_path)


def test_weights_lie_in_files_of_the_same_precision_only(bundle_copy: Path, edit_manifest: Callable) -> None:
    path = bundle_copy / "onnx" / "model.onnx"
    path.write_bytes(with_tensor(tensor(2, data=outside(location="model_int8.onnx"))))
    record_again(bundle_copy, "onnx/model.onnx")
    with pytest.raises(BundleError, match=r"lies in 'model_int8\.onnx', which the manifest does not list"):
        require_files(bundle_copy, open_source(bundle_copy), "fp32")
    require_files(bundle_copy, open_source(bundle_copy), "fp32", integrity="off")

    files = ("onnx/model.onnx", "onnx/model_int8.onnx")
    edit_manifest(lambda manifest: manifest["precisions"].update(fp32=files))
    assert require_files(bundle_copy, open_source(bundle_copy), "fp32") == files


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx: cannot be read"):
        check_onnx_file(tmp_path / "model.onnx", {})


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_refused(kept: float, tmp_path: Path) -> None:
    content = (BUNDLES / "plain-4h" / "onnx" / "model_fp16.onnx").read_bytes()
    assert "are left" in refusal(content[: int(len(content) * kept)], tmp_path)
