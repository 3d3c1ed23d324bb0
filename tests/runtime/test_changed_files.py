"""A bundle that is overwritten under a loaded model is noticed; one that is replaced by rename does no harm."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from jinabert_onnx import Embedder, StateError
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.engine.session import LARGE_BATCH, open_session
from support.bundles import edit_json, record_again
from support.paths import BUNDLES

if sys.platform == "win32":
    pytest.skip("Windows keeps mapped files from being truncated; nothing is watched there", allow_module_level=True)

GRAPH, WEIGHTS = "onnx/model.onnx", "onnx/model.onnx_data"
TEXT = "How is the weather today?"


@pytest.fixture
def mapped(tmp_path: Path) -> Path:
    """A bundle whose weights lie beside the graph, as those of base size do, where onnxruntime maps them."""
    bundle = Path(shutil.copytree(BUNDLES / "tiny-de-en", tmp_path / "mapped"))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(bundle / "onnx" / "new.onnx")
    options.add_session_config_entry("session.disable_aot_function_inlining", "1")
    prefix = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{prefix}_file_name", Path(WEIGHTS).name)
    options.add_session_config_entry(f"{prefix}_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(bundle / GRAPH, options, providers=["CPUExecutionProvider"])
    (bundle / "onnx" / "new.onnx").replace(bundle / GRAPH)
    try:
        onnxruntime.InferenceSession(bundle / GRAPH, providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph:
        pytest.skip("this release of onnxruntime cannot read what it writes")
    edit_json(bundle / "manifest.json", lambda manifest: manifest["precisions"].update(fp32=[GRAPH, WEIGHTS]))
    record_again(bundle, GRAPH, WEIGHTS)
    return bundle


def swap_halves(path: Path) -> None:
    """Write other bytes into the same file, of the same size."""
    with path.open("r+b") as stream:
        content = stream.read()
        stream.seek(0)
        stream.write(content[len(content) // 2 :] + content[: len(content) // 2])


def outcome_soon(model: Embedder) -> StateError | None:
    """What `encode` raises within the seconds in which a change must be noticed."""
    for _ in range(15):
        try:
            model.encode(TEXT)
        except StateError as error:
            return error
        time.sleep(0.1)
    return None


def test_weights_swapped_under_a_loaded_model_are_noticed(mapped: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = Embedder.load(mapped, provider="cpu")
    plain = onnxruntime.InferenceSession(mapped / GRAPH, providers=["CPUExecutionProvider"])
    one = np.ones((1, 4), dtype=np.int64)
    before = plain.run(["last_hidden_state"], {"input_ids": one, "attention_mask": one})[0]
    assert outcome_soon(model) is None

    swap_halves(mapped / WEIGHTS)

    after = plain.run(["last_hidden_state"], {"input_ids": one, "attention_mask": one})[0]
    assert not np.allclose(before, after, atol=0.1)  # a session has the new bytes at once
    assert "replace a bundle by rename" in str(outcome_soon(model))
    for call in (model.encode, model.encode_with_report, model.encode_chunks):
        with pytest.raises(StateError, match=r"model\.onnx_data: changed while"):
            call(TEXT)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "replace a bundle by rename" in errors[0].getMessage()


def test_a_graph_that_is_cut_short_is_noticed(bundle_copy: Path) -> None:
    model = Embedder.load(bundle_copy, provider="cpu")
    os.truncate(bundle_copy / GRAPH, 100)
    assert "replace a bundle by rename" in str(outcome_soon(model))


def replace_file(bundle: Path) -> None:
    shutil.copy(bundle / GRAPH, bundle / "new.onnx")
    swap_halves(bundle / "new.onnx")
    (bundle / "new.onnx").replace(bundle / GRAPH)


def replace_directory(bundle: Path) -> None:
    shutil.copytree(bundle, bundle.with_name("new"))
    swap_halves(bundle.with_name("new") / GRAPH)
    bundle.rename(bundle.with_name("old"))
    bundle.with_name("new").rename(bundle)


def link_and_read(bundle: Path) -> None:
    (bundle / "link.onnx").hardlink_to(bundle / GRAPH)
    (bundle / GRAPH).chmod(0o600)
    shutil.copytree(bundle, bundle.with_name("copy"))
    (bundle / "link.onnx").unlink()


@pytest.mark.parametrize("change", [replace_file, replace_directory, link_and_read, shutil.rmtree])
def test_what_leaves_the_bytes_alone_is_no_change(bundle_copy: Path, change: object) -> None:
    model = Embedder.load(bundle_copy, provider="cpu")
    expected = model.encode(TEXT)
    change(bundle_copy)
    assert outcome_soon(model) is None
    np.testing.assert_array_equal(model.encode(TEXT), expected)


def open_files(directory: Path) -> list[Path]:
    """Files of a directory that this process holds open."""
    targets = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [path for path in targets if path.is_relative_to(directory)]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not tell which files are open")
def test_closing_lets_go_of_the_files(bundle_copy: Path) -> None:
    model = Embedder.load(bundle_copy, provider="cpu")
    assert open_files(bundle_copy) == [bundle_copy / GRAPH]
    model.close()
    gc.collect()
    assert open_files(bundle_copy) == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not tell which files are open")
def test_a_load_that_fails_lets_go_of_the_files(bundle_copy: Path) -> None:
    (bundle_copy / GRAPH).write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match="onnx"):
        Embedder.load(bundle_copy, provider="cpu", integrity="off")
    gc.collect()
    assert open_files(bundle_copy) == []


class Changing(Limits):
    """Limits of a call under which `change` happens, as it has looked at the files and begins to run."""

    def __init__(self, change: Callable[[], None]) -> None:
        super().__init__()
        self._change = change

    def check(self) -> None:
        self._change()


@pytest.mark.parametrize("change", ["overwritten", "closed"])
def test_what_was_computed_comes_back_though_the_model_can_run_no_more(bundle_copy: Path, change: str) -> None:
    session = open_session(bundle_copy / GRAPH, "fp32", provider="cpu")
    ids = np.ones((LARGE_BATCH // 64, 64), dtype=np.int64)
    expected = session.run(ids, ids)

    def overwrite() -> None:
        os.utime(bundle_copy / GRAPH, ns=(0, 0))
        time.sleep(1.1)  # until it is looked at again

    limits = Changing(overwrite if change == "overwritten" else session.close)
    np.testing.assert_array_equal(session.run(ids, ids, limits), expected)
    with pytest.raises(StateError):
        session.run(ids, ids)
