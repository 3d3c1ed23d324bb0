"""A classifier's bundle: what it says to every reader, and that no graph which computes something else is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Run, error_of
from jinabert_onnx import CrossEncoder
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import ClassifierRecord, PoolingRecord, open_bundle
from jinabert_onnx.bundle.probes import Probes, read_pair_probes
from jinabert_onnx.text.pairs import TextOrPair
from jinabert_onnx_export import VerificationError, export, pipeline
from jinabert_onnx_export.checkpoint.known_scores import KnownScores, check_known_scores, read_known_scores
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.int8.calibration import read_calibration_pairs, read_calibration_texts
from jinabert_onnx_export.verify.reference import make_cases
from jinabert_onnx_export.verify.task import Place
from jinabert_onnx_export.verify.vector_space import weights_sha256
from jinabert_onnx_export.verify.verify import task_of, verify_precision
from support.broken_graphs import Break, alter_one_weight, change_a_slope, ignore_the_mask, leave_the_pooler_out
from support.bundles import update_json
from support.pair_goldens import CROSS_ENCODERS, read_pair_golden

NAME = "classifier-3-4h"
CHECKPOINT = CROSS_ENCODERS / NAME
GRAPH = "onnx/model.onnx"
LABELS = ("contradiction", "entailment", "neutral")
FILES = [
    "README.md",
    "config.json",
    "manifest.json",
    "onnx/model.onnx",
    "onnx/model_int8.onnx",
    "probes.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("export") / "bundle"
    export(CHECKPOINT, output, ("fp32", "int8"))
    return output


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8")))


def test_the_bundle_holds_a_classifier_and_nothing_of_an_embedding_model(bundle: Path) -> None:
    assert sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()) == FILES
    opened = open_bundle(bundle)
    check_files(opened, opened.manifest.files, "full")
    manifest = opened.manifest
    assert read(bundle / "manifest.json")["schema"] == 3
    assert manifest.classifier == ClassifierRecord(LABELS, "softmax", token_types=True)
    assert (manifest.pooling, manifest.prompts, manifest.vector_limits) == (PoolingRecord("cls", False), {}, {})
    assert manifest.weights_sha256 == weights_sha256(open_checkpoint(CHECKPOINT).load_encoder())


def test_what_was_measured_stands_in_the_manifest(bundle: Path) -> None:
    verification = open_bundle(bundle).manifest.verification
    fp32, int8 = verification["fp32"], verification["int8"]
    assert fp32["max_difference_logits"] <= 5e-5
    assert fp32["rank_correlation"] == 1
    assert 1e-5 < int8["max_difference_scores"] <= 0.1
    assert int8["rank_correlation"] >= 0.98
    assert [2048] in int8["lengths"]


def test_the_goldens_come_out_of_the_bundle(bundle: Path) -> None:
    golden = read_pair_golden(NAME)
    logits = CrossEncoder.load(bundle, precision="fp32").predict(golden.pairs, raw_scores=True)
    np.testing.assert_allclose(logits, golden.logits, rtol=0, atol=5e-5)


def test_other_readers_are_told_the_labels_the_activation_and_the_inputs(bundle: Path) -> None:
    config = read(bundle / "config.json")
    assert config["architectures"] == ["JinaBertForSequenceClassification"]
    assert (config["num_labels"], config["id2label"]) == (3, {str(at): name for at, name in enumerate(LABELS)})
    assert config["label2id"] == {name: at for at, name in enumerate(LABELS)}
    assert config["sentence_transformers"] == {"activation_fn": "torch.nn.modules.activation.Softmax"}
    assert config["problem_type"] == "single_label_classification"
    assert "auto_map" not in config
    tokenizer = read(bundle / "tokenizer_config.json")
    assert tokenizer["model_input_names"] == ["input_ids", "token_type_ids", "attention_mask"]
    assert tokenizer["model_max_length"] == 8192


def test_the_probes_are_pairs_and_single_texts_with_an_order_to_compare(bundle: Path) -> None:
    probes = read_pair_probes(open_bundle(bundle))
    assert {type(each) for each in probes.texts} == {type(each) for each in probes.self_test.texts} == {str, tuple}
    assert probes.vectors.shape == (len(probes.texts), 3)
    assert all(len(np.unique(column)) > 30 for column in probes.vectors.T)
    assert set(probes.self_test.vectors) == {"fp32", "int8"}


def test_verify_runs_with_and_without_the_checkpoint(run: Run, bundle: Path) -> None:
    assert run("verify", bundle).returncode == 0
    result = run("verify", bundle, "--against", CHECKPOINT)
    assert result.returncode == 0, result.stderr
    assert "int8         agrees with torch: largest difference of a logit" in result.stdout
    assert "rank correlation 1.000000" in result.stdout


def test_verify_against_other_weights_is_refused(run: Run, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    update_json(copy / "manifest.json", weights_sha256="0" * 64)
    assert "its weights (SHA-256" in error_of(run("verify", copy, "--against", CHECKPOINT))


BREAKS = {
    "slope": change_a_slope,
    "mask": ignore_the_mask,
    "first-layer-weight": partial(alter_one_weight, layer=0),
    "last-layer-weight": partial(alter_one_weight, layer=-1),
    "pooler": leave_the_pooler_out,
}


@pytest.fixture(scope="module")
def expected() -> tuple[Any, ...]:
    """The task, batches and pairs with torch's logits."""
    task = task_of(open_checkpoint(CHECKPOINT))
    encoder = task.checkpoint.load_encoder()
    probes = Probes(task.probe_inputs, task.compute(encoder, task.probe_inputs))
    cases = [
        case for case in make_cases(task.checkpoint, encoder, thorough=False) if max(case.lengths) in (5, 127, 600)
    ]
    assert [len(case.lengths) for case in cases] == [1, 1, 4]
    return task, cases, probes


@pytest.mark.parametrize("damage", BREAKS.values(), ids=BREAKS)
def test_a_broken_graph_is_found(bundle: Path, expected: tuple, tmp_path: Path, damage: Break) -> None:
    task, cases, probes = expected
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    model = onnx.load(copy / GRAPH)
    damage(model)
    onnx.save(model, copy / GRAPH)
    with pytest.raises(VerificationError, match=r"^fp32 .*: off from float64 by .*; required is at most"):
        verify_precision(task, Place(copy, "fp32", "cpu", 1), cases, probes)


def test_a_broken_graph_is_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = pipeline.optimize

    def optimize_badly(model: onnx.ModelProto, layers: object) -> onnx.ModelProto:
        optimized = original(model, layers)  # type: ignore[arg-type]
        leave_the_pooler_out(optimized)
        return optimized

    monkeypatch.setattr(pipeline, "optimize", optimize_badly)
    with pytest.raises(VerificationError, match=r"^int8: largest difference of a logit .* required is difference of"):
        export(CHECKPOINT, tmp_path / "out", ("int8",))
    assert list(tmp_path.iterdir()) == []


def test_calibration_takes_pairs_with_a_tab_and_single_texts(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("what is it?\tit is\ta thing\n\nalone\n", "utf-8")
    assert read_calibration_pairs(tmp_path / "texts") == [("what is it?", "it is\ta thing"), "alone"]
    shipped, texts = read_calibration_pairs(), read_calibration_texts()
    assert len(shipped) == len(texts)
    own = [text.startswith(query) for (query, text) in shipped]
    assert own == [index % 2 == 0 for index in range(len(own))]


# Known scores.


@pytest.fixture
def known() -> dict[str, list[KnownScores]]:
    first = KnownScores((("q", "a"), ("q", "b")), np.array([1.5, -2.0], np.float32), "logit", 1e-3)
    second = KnownScores(("q",), np.array([0.5], np.float32), "sigmoid", 0.01)
    return {
        "owner/other": [KnownScores(("q",), np.array([0.9], np.float32), "sigmoid", 0.01)],
        "owner/this": [first, second],
    }


def answering(logits: dict[TextOrPair, float], labels: int = 1) -> Any:
    def predict(pairs: Sequence[TextOrPair]) -> np.ndarray:
        return np.array([[logits[pair]] * labels for pair in pairs], np.float32)

    return predict


RIGHT: dict[TextOrPair, float] = {("q", "a"): 1.5003, ("q", "b"): -2.0, "q": 0.02}


def test_the_published_rerankers_are_known() -> None:
    known = read_known_scores()
    assert set(known) == {f"jinaai/jina-reranker-v1-{size}-en" for size in ("tiny", "turbo")}
    assert [len(entries) for entries in known.values()] == [3, 2]


@pytest.mark.parametrize("claimed", ["owner/this", None])
def test_right_scores_are_recognised_with_and_without_a_claim(known: dict, claimed: str | None) -> None:
    assert check_known_scores(claimed, answering(RIGHT), known) == "owner/this"


def test_other_scores_without_a_claim_are_nobodys(known: dict) -> None:
    assert check_known_scores(None, answering(RIGHT | {("q", "b"): -1.9}), known) is None
    assert check_known_scores(None, answering(RIGHT, labels=2), known) is None


def test_a_wrong_claim_is_refused(known: dict) -> None:
    with pytest.raises(
        VerificationError, match=r"not those known for owner/this \(a logit of .* off by 0.1, at most 0.001"
    ):
        check_known_scores("owner/this", answering(RIGHT | {("q", "b"): -1.9}), known)
