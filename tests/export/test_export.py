"""The export as users run it: checkpoint in, verified bundle out, or one error and nothing written."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run, error_of, stock_session
from jinabert_onnx import Embedder, JinaBertError
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx_export import OutputError, VerificationError, export
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder import trace
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.verify.reference import make_cases
from jinabert_onnx_export.verify.vector_space import weights_sha256
from safetensors.torch import load_file, save_file
from support.bundles import update_json
from support.paths import CHECKPOINT as TINY
from support.paths import GOLDENS
from support.python import run_command

SMALLEST = GOLDENS / "plain-12h-bert-prefix"  # one layer
BUNDLE_FILES = [
    "1_Pooling/config.json",
    "README.md",
    "config.json",
    "manifest.json",
    "modules.json",
    "onnx/model.onnx",
    "onnx/model_fp16.onnx",
    "onnx/model_int8.onnx",
    "probes.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
]


def files_of(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained checkpoint in all precisions, through the command line."""
    output = tmp_path_factory.mktemp("export") / "bundle"
    result = run_command("export", TINY, output, "--precision", "int8", "fp16", "fp32")
    assert result.returncode == 0, result.stderr
    assert "exported tiny-de-en and verified it against torch" in result.stdout
    assert "verifying int8" in result.stderr
    return output


def test_the_bundle_holds_what_it_should_and_every_hash_is_right(bundle: Path) -> None:
    assert files_of(bundle) == BUNDLE_FILES
    opened = open_bundle(bundle)
    assert sorted(opened.manifest.files) == [
        name for name in BUNDLE_FILES if name not in ("README.md", "manifest.json")
    ]
    check_files(opened, opened.manifest.files, "full")
    assert list(opened.manifest.precisions) == ["fp32", "fp16", "int8"]
    assert opened.manifest.opset == 23
    assert set(opened.manifest.created_with) == {"jinabert-onnx", "torch", "onnx", "onnxscript", "onnxruntime"}


def test_what_was_measured_stands_in_the_manifest(bundle: Path) -> None:
    verification = open_bundle(bundle).manifest.verification
    assert verification["fp32"]["max_difference_tokens"] <= 1e-5
    assert verification["fp16"]["min_cosine_vectors"] >= 0.9995
    assert verification["int8"]["min_cosine_vectors"] >= 0.95
    lengths = verification["fp32"]["lengths"]
    assert [2048] in lengths
    assert any(len(batch) > 1 and len(set(batch)) > 1 for batch in lengths)
    assert all(trace.TRACED_SHAPE[1] not in batch for batch in lengths)


def test_the_metadata_is_true_and_points_to_no_code(bundle: Path) -> None:
    def read(name: str) -> dict:
        return json.loads((bundle / name).read_text("utf-8"))

    assert "auto_map" not in read("config.json")
    assert read("1_Pooling/config.json")["word_embedding_dimension"] == 256
    assert read("sentence_bert_config.json") == {"max_seq_length": 8192, "do_lower_case": False}
    assert read("tokenizer_config.json")["model_max_length"] == 8192
    assert [module["type"].rpartition(".")[2] for module in read("modules.json")] == ["Transformer", "Pooling"]
    assert (bundle / "tokenizer.json").read_bytes() == (TINY / "tokenizer.json").read_bytes()


def test_the_files_can_be_read_by_other_users(bundle: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    for path in (bundle, *bundle.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_stock_onnxruntime_gives_the_same_vectors_without_our_options(bundle: Path, precision: str) -> None:
    model = Embedder.load(bundle, precision=precision)
    file = bundle / open_bundle(bundle).files_of(precision)[0]
    session = stock_session(file)
    ids = np.array([[0, *range(100, 700), 2]])
    (output,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    ours = model._model.session.run(ids, np.ones_like(ids))
    np.testing.assert_allclose(output, ours, rtol=0, atol=1e-5 if precision == "fp32" else 0.05)


def test_verify_against_the_checkpoint_runs_torch(run: Run, bundle: Path) -> None:
    result = run("verify", bundle, "--against", TINY, "--precision", "fp32")
    assert result.returncode == 0
    assert "fp32         agrees with torch: largest difference" in result.stdout


def test_verify_against_a_checkpoint_of_other_sizes_names_the_size(run: Run, bundle: Path) -> None:
    error = error_of(run("verify", bundle, "--against", GOLDENS / "plain-4h"))
    assert "the bundle has hidden_size 256, plain-4h has 64" in error


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A copy of the trained checkpoint in which one tensor is another."""
    directory = Path(shutil.copytree(TINY, tmp_path / "other"))
    tensors = load_file(directory / "model.safetensors")
    name = "encoder.layer.3.mlp.wo.bias"
    save_file(tensors | {name: tensors[name] * 1.5}, directory / "model.safetensors")
    return directory


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_verify_against_other_weights_names_both_hashes(run: Run, bundle: Path, other: Path, precision: str) -> None:
    """int8 tolerates more than the change makes, so the vectors alone would let it pass."""
    theirs = weights_sha256(open_checkpoint(other).load_encoder())[:12]
    ours = open_bundle(bundle).manifest.weights_sha256[:12]
    error = error_of(run("verify", bundle, "--against", other, "--precision", precision))
    assert f"its weights (SHA-256 {theirs}…) are not those that {bundle} was made from ({ours}…)" in error


def test_verify_against_right_weights_compares_the_graph(run: Run, bundle: Path, other: Path, tmp_path: Path) -> None:
    """The manifest claims the weights of the checkpoint, and the graph has others."""
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    claimed = weights_sha256(open_checkpoint(other).load_encoder())
    update_json(copy / "manifest.json", weights_sha256=claimed)
    assert "off from float64 by" in error_of(run("verify", copy, "--against", other, "--precision", "fp32"))


def test_an_existing_output_is_kept_and_force_replaces_only_bundles(run: Run, bundle: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(bundle, tmp_path / "out"))
    assert "exists already; give another path, or --force" in error_of(run("export", SMALLEST, output))
    assert files_of(output) == BUNDLE_FILES
    assert run("export", SMALLEST, output, "--force").returncode == 0
    assert open_bundle(output).manifest.source == "plain-12h-bert-prefix"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    error = error_of(run("export", SMALLEST, tmp_path / "mine", "--force"))
    assert "is not a bundle, so it is not replaced" in error
    assert files_of(tmp_path / "mine") == ["letter.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out"]


def test_a_failed_export_leaves_an_old_bundle_as_it_was(run: Run, bundle: Path, tmp_path: Path) -> None:
    output = Path(shutil.copytree(bundle, tmp_path / "out"))
    assert "nowhere: no such directory" in error_of(run("export", tmp_path / "nowhere", output, "--force"))
    assert files_of(tmp_path) == [f"out/{name}" for name in BUNDLE_FILES]


def test_what_comes_to_the_output_during_the_export_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = trace.trace

    def trace_meanwhile(encoder: torch.nn.Module) -> object:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "letter.txt").write_text("dear")
        return original(encoder)

    monkeypatch.setattr(trace, "trace", trace_meanwhile)
    with pytest.raises(OutputError, match="exists already"):
        export(SMALLEST, tmp_path / "out")
    assert files_of(tmp_path) == ["out/letter.txt"]


def test_a_failed_export_leaves_no_parents(tmp_path: Path) -> None:
    with pytest.raises(JinaBertError):
        export(tmp_path / "nowhere", tmp_path / "a" / "b" / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precisions", ["int8", iter(["int8"])])
def test_precisions_may_be_one_name_or_an_iterable_or_int8_alone(tmp_path: Path, precisions: object) -> None:
    assert list(export(SMALLEST, tmp_path / "out", precisions).precisions) == ["int8"]
    assert not (tmp_path / "out" / "onnx" / "model.onnx").exists()


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk: the kernel refuses the same writes."""

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    assert "File too large" in error_of(run_command("export", SMALLEST, tmp_path / "out", preexec_fn=limit_files))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_export_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "jinabert_onnx", "export", str(SMALLEST), str(tmp_path / "out")]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # a job in the background inherits SIGINT ignored
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("tracing fp32 ..."):
            break
    assert len(list(tmp_path.iterdir())) == 1
    time.sleep(0.3)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert error.splitlines()[-1] == "jinabert-onnx: interrupted"
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_differs_from_torch_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder is changed between what torch computes for reference and what is traced."""
    original = trace.trace

    def trace_changed(encoder: torch.nn.Module) -> object:
        with torch.no_grad():
            encoder.embeddings.LayerNorm.bias += 0.001
        return original(encoder)

    monkeypatch.setattr(trace, "trace", trace_changed)
    with pytest.raises(VerificationError, match=r"^fp32 .*: off from float64 by .* at most 1e-05"):
        export(SMALLEST, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_not_finite_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that overflow in half precision: exact in fp32, refused in fp16."""
    checkpoint = tmp_path / "loud"
    shutil.copytree(SMALLEST, checkpoint)
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["bert.encoder.layer.0.mlp.wo.weight"] *= 1e7
    save_file(tensors, checkpoint / "model.safetensors")
    export(checkpoint, tmp_path / "fp32")
    with pytest.raises(VerificationError, match=r"fp16 at lengths .* NaN or infinity"):
        export(checkpoint, tmp_path / "fp16", ("fp16",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32", "loud"]


def test_a_step_that_fails_is_named_with_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(encoder: object) -> None:
        raise KeyError("of the tracer")

    monkeypatch.setattr(trace, "trace", broken)
    words = "tracing fp32 failed .*KeyError.*after: reading the checkpoint, running torch for reference"
    with pytest.raises(RuntimeError, match=words):
        export(SMALLEST, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precisions", [(), ("fp8",), ("fp32", "x")])
def test_unknown_precisions_are_refused(tmp_path: Path, precisions: tuple[str, ...]) -> None:
    with pytest.raises(JinaBertError, match="is unknown; use any of fp32, fp16, int8"):
        export(GOLDENS / "plain-4h", tmp_path / "out", precisions)


def test_an_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        export(GOLDENS / "plain-4h", tmp_path / "file" / "out")


def test_large_weights_lie_beside_the_graph_in_every_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "INLINE_LIMIT", 0)
    manifest = export(SMALLEST, tmp_path / "out", ("fp32", "fp16", "int8"))
    for precision, files in manifest.precisions.items():
        assert [Path(name).name for name in files][1:] == [f"{Path(files[0]).name}_data"]
        assert Embedder.load(tmp_path / "out", precision=precision).encode("t7").shape == (48,)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    names = ["model.onnx", "model_fp16.onnx", "model_int8.onnx"]
    assert config["transformers.js_config"] == {"use_external_data_format": dict.fromkeys(names, 1)}


def test_what_a_sentence_transformers_folder_adds_is_carried_over_and_what_it_tells_of_its_own_graphs_is_not(
    copy_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """Normalize, max pooling, prompts and a maximum length: the vectors are torch's with all of them."""
    checkpoint = copy_checkpoint("plain-4h")
    theirs = {"transformers.js_config": {"use_external_data_format": True, "dtype": "q8"}}
    update_json(checkpoint / "config.json", **theirs)
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in (
        ("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"),
    )]  # fmt: skip
    (checkpoint / "1_Pooling").mkdir()
    for name, content in {
        "modules.json": modules,
        "1_Pooling/config.json": {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False},
        "sentence_bert_config.json": {"max_seq_length": 6},
        "config_sentence_transformers.json": {"prompts": {"query": "t9 "}, "default_prompt_name": "query"},
    }.items():
        (checkpoint / name).write_text(json.dumps(content))
    export(checkpoint, tmp_path / "out")
    model = Embedder.load(tmp_path / "out")
    assert model.max_seq_length == 6
    assert model.bundle.manifest.pooling.normalize
    vectors = model.encode(["t7 t8 t10", "t11"])
    rows = model.encode(["t9 t7 t8 t10", "t9 t11"], output_value="token_embeddings", prompt="")
    expected = np.stack([row.max(axis=0) / np.linalg.norm(row.max(axis=0)) for row in rows])
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)
    assert "transformers.js_config" not in json.loads((tmp_path / "out" / "config.json").read_text())
    modules = json.loads((tmp_path / "out" / "modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Pooling", "2_Normalize"]


def test_thorough_verification_goes_to_the_models_limit() -> None:
    checkpoint = open_checkpoint(SMALLEST)
    tiny = replace(checkpoint.config, hidden_size=4, num_attention_heads=1, intermediate_size=4)
    encoder = JinaBertEncoder(tiny, "plain").requires_grad_(False)
    lengths = [case.lengths for case in make_cases(checkpoint, encoder, thorough=True)]
    assert (8192,) in lengths
