"""optimum with our export configuration, and our bundles quantised by optimum."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from jinabert_onnx import Embedder
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.encoding.pooling import pool
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.errors import MissingDependencyError
from jinabert_onnx_export import CheckpointError, ExportError, UnsupportedCheckpointError, VerificationError, export
from jinabert_onnx_export.encoder import trace
from jinabert_onnx_export.optimum import JinaBertModel, JinaBertOnnxConfig, validate_export
from jinabert_onnx_export.verify.reference import run_torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from optimum.exporters.onnx import export as optimum_export
from optimum.exporters.onnx import onnx_export_from_model
from optimum.exporters.onnx.model_configs import BertOnnxConfig
from optimum.exporters.tasks import TasksManager
from optimum.onnxruntime import ORTModelForFeatureExtraction, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig
from support.large_scores import write_checkpoint
from support.network import only_hosts
from support.pair_goldens import CROSS_ENCODERS
from support.paths import CHECKPOINT, GOLDENS
from support.references import cosines
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel
from transformers.modeling_outputs import BaseModelOutput

VARIANTS = ("plain-12h", "qk-post-norm-12h", "plain-6h-reglu")
TASK = "feature-extraction"

Array = NDArray[np.float32]

TEXTS = json.loads((CHECKPOINT / "golden.json").read_text("utf-8"))["texts"][:8]

# What torch and optimum say of torch's older exporter, which optimum always uses.
pytestmark = [
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The feature will be removed. Please remove usage:DeprecationWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exporting to ONNX opset version 23 is not supported:torch.onnx.errors.OnnxExporterWarning"
    ),
]


@pytest.fixture
def offline() -> Iterator[None]:
    """Fails the test if anything asks for an address."""
    with only_hosts():
        yield


def export_by_optimum(model: JinaBertModel, directory: Path) -> Path:
    onnx_export_from_model(
        model, directory, task=TASK, custom_onnx_configs={"model": JinaBertOnnxConfig(model.config, task=TASK)}
    )
    return directory / "model.onnx"


def open_plain(path: Path) -> InferenceSession:
    return InferenceSession(path, providers=["CPUExecutionProvider"])


def run(session: InferenceSession, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Array:
    return session.run(["last_hidden_state"], {"input_ids": input_ids, "attention_mask": attention_mask})[0]


@pytest.fixture(scope="module", params=VARIANTS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[JinaBertModel, Path]:
    model = JinaBertModel.from_pretrained(GOLDENS / request.param)
    return model, export_by_optimum(model, tmp_path_factory.mktemp(request.param))


class TestExportByOptimum:
    def test_gives_the_golden_vectors(self, exported: tuple[JinaBertModel, Path], request: pytest.FixtureRequest):
        name = request.node.callspec.params["exported"]
        golden = np.load(GOLDENS / name / "golden.npz")
        mask = golden["attention_mask"].astype(np.int64)
        output = run(open_plain(exported[1]), golden["input_ids"].astype(np.int64), mask)
        np.testing.assert_allclose(output[mask == 1], golden["token_embeddings"], rtol=0, atol=2e-5)
        np.testing.assert_allclose(pool(output, mask, "mean"), golden["pooled"], rtol=0, atol=2e-5)

    @pytest.mark.parametrize("lengths", [(1,), (2,), (300,), (700,), (256, 257), (1, 7, 130, 600)], ids=str)
    def test_equals_torch_at_lengths_never_traced(self, exported: tuple[JinaBertModel, Path], lengths: tuple[int, ...]):
        model, path = exported
        generator = np.random.default_rng(0)
        ids, mask = pad([generator.integers(model.config.vocab_size, size=length) for length in lengths])
        expected = run_torch(model.encoder, ids, mask)
        np.testing.assert_allclose(run(open_plain(path), ids, mask), expected, rtol=0, atol=2e-5)

    def test_attention_is_our_operator_in_a_valid_file(self, exported: tuple[JinaBertModel, Path]):
        model, path = exported
        onnx.checker.check_model(path, full_check=True)
        content = onnx.load(path)
        nodes = [node.op_type for node in content.graph.node if node.domain == "jinabert"]
        assert nodes == ["AlibiAttention"] * model.config.num_hidden_layers
        assert [function.name for function in content.functions] == ["AlibiAttention"]
        assert [value.name for value in content.graph.output] == ["last_hidden_state"]

    def test_export_to_one_file(self, tmp_path: Path):
        model = JinaBertModel.from_pretrained(GOLDENS / "plain-12h")
        config = JinaBertOnnxConfig(model.config, task=TASK)
        names = optimum_export(model, config, tmp_path / "model.onnx")
        assert names == (["input_ids", "attention_mask"], ["last_hidden_state"])
        validate_export(model, config, tmp_path / "model.onnx")

    def test_directory_is_read_by_optimum(self, tmp_path: Path, offline: None):
        export_by_optimum(JinaBertModel.from_pretrained(CHECKPOINT), tmp_path)
        tokens = AutoTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True, return_tensors="np")
        read = ORTModelForFeatureExtraction.from_pretrained(tmp_path, subfolder="", file_name="model.onnx")
        vectors = pool(read(**tokens).last_hidden_state, tokens["attention_mask"], "mean")
        np.testing.assert_allclose(vectors, np.load(CHECKPOINT / "golden.npz")["embeddings"][:8], rtol=0, atol=1e-4)

    def test_another_opset_is_refused(self, tmp_path: Path):
        model = JinaBertModel.from_pretrained(GOLDENS / "plain-12h")
        with pytest.raises(ExportError, match="opset 23, not 20"):
            optimum_export(model, JinaBertOnnxConfig(model.config), tmp_path / "model.onnx", opset=20)


class BakedLength(JinaBertModel):
    """Adds the length as a constant: right at the traced length, as optimum checks it, and wrong at any other."""

    __module__ = JinaBertModel.__module__

    def forward(self, input_ids, attention_mask):
        output = super().forward(input_ids, attention_mask)
        return BaseModelOutput(last_hidden_state=output.last_hidden_state + int(input_ids.shape[1]))


class TestValidation:
    @pytest.mark.filterwarnings("ignore:Converting a tensor to a Python integer:torch.jit.TracerWarning")
    def test_finds_a_length_baked_in(self, tmp_path: Path):
        model = BakedLength.from_pretrained(GOLDENS / "plain-12h")
        with pytest.raises(RuntimeError) as raised:
            export_by_optimum(model, tmp_path)
        assert isinstance(raised.value.__cause__, VerificationError)

    def test_finds_a_changed_weight(self, exported: tuple[JinaBertModel, Path], tmp_path: Path):
        model, path = exported
        content = onnx.load(path)
        table = next(tensor for tensor in content.graph.initializer if "word_embeddings" in tensor.name)
        changed = onnx.numpy_helper.to_array(table) * 1.01
        table.CopyFrom(onnx.numpy_helper.from_array(changed.astype(np.float32), table.name))
        onnx.save(content, tmp_path / "model.onnx")
        with pytest.raises(VerificationError, match="batch 1, length 2: The maximum absolute difference"):
            validate_export(model, JinaBertOnnxConfig(model.config), tmp_path / "model.onnx")

    def test_takes_float64_where_float32_rounds_visibly(self, tmp_path: Path):
        write_checkpoint(tmp_path / "checkpoint")
        model = JinaBertModel.from_pretrained(tmp_path / "checkpoint")
        path = export_by_optimum(model, tmp_path / "out")
        ids = np.random.default_rng(0).integers(800, size=(2, 700))
        difference = run(open_plain(path), ids, np.ones_like(ids)) - run_torch(model.encoder, ids, np.ones_like(ids))
        assert np.abs(difference).max() > 1e-5
        content = onnx.load(path)
        node = next(node for node in content.graph.node if node.op_type == "AlibiAttention")
        node.attribute[0].floats[0] *= 1.001
        onnx.save(content, tmp_path / "broken.onnx")
        with pytest.raises(VerificationError, match="The maximum absolute difference"):
            validate_export(model, JinaBertOnnxConfig(model.config), tmp_path / "broken.onnx")


class TestLoading:
    def test_plain_bert_is_refused(self, tmp_path: Path):
        config = BertConfig(
            vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        BertModel(config).save_pretrained(tmp_path)
        with pytest.raises(UnsupportedCheckpointError, match="not a JinaBERT checkpoint"):
            JinaBertModel.from_pretrained(tmp_path)

    @pytest.mark.parametrize("name", ["reranker-12h", "classifier-3-4h"])
    def test_a_reranker_or_classifier_is_refused(self, name: str):
        with pytest.raises(UnsupportedCheckpointError, match="a reranker or classifier, and only embedding models"):
            JinaBertModel.from_pretrained(CROSS_ENCODERS / name)

    def test_missing_weights_are_not_initialised(self, tmp_path: Path):
        for name in ("config.json", "tokenizer.json"):
            (tmp_path / name).write_bytes((GOLDENS / "plain-4h" / name).read_bytes())
        with pytest.raises(CheckpointError, match="no weights"):
            JinaBertModel.from_pretrained(tmp_path)

    def test_without_optimum_the_import_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "optimum.exporters.onnx", None)
        monkeypatch.delitem(sys.modules, "jinabert_onnx_export.optimum")
        with pytest.raises(MissingDependencyError, match=r"pip install 'jinabert-onnx\[cpu,optimum\]'"):
            importlib.import_module("jinabert_onnx_export.optimum")


class TestPlainBert:
    def test_optimum_keeps_its_own_configuration(self):
        constructor = TasksManager.get_exporter_config_constructor(
            exporter="onnx", task=TASK, model_type="bert", library_name="transformers"
        )
        assert constructor.func is BertOnnxConfig

    def test_transformers_keeps_its_own_classes(self):
        assert type(AutoConfig.for_model("bert")) is BertConfig
        config = BertConfig(
            vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        assert type(AutoModel.from_config(config)) is BertModel

    def test_jinabert_is_known_only_where_it_is_passed(self, tmp_path: Path):
        with pytest.raises(KeyError, match="jinabert is not supported"):
            TasksManager.get_supported_tasks_for_model_type("jinabert", "onnx", library_name="transformers")
        with pytest.raises(ValueError, match="jinabert model, that is a custom or unsupported architecture"):
            onnx_export_from_model(JinaBertModel.from_pretrained(GOLDENS / "plain-12h"), tmp_path, task=TASK)


@pytest.fixture(scope="module", params=["weights inside", "external data"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle") / "tiny-de-en"
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "external data":
            patch.setattr(trace, "INLINE_LIMIT", 0)
        export(CHECKPOINT, directory)
    assert len(open_bundle(directory).files_of("fp32")) == (2 if request.param == "external data" else 1)
    return directory


@pytest.mark.usefixtures("offline")
def test_bundles_are_quantised_by_optimum(bundle: Path, tmp_path: Path):
    """That optimum and onnxruntime read them as they are is tested in tests/readers."""
    quantizer = ORTQuantizer(bundle / "onnx" / "model.onnx", config=AutoConfig.from_pretrained(bundle))
    recipe = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    quantizer.quantize(save_dir=tmp_path, quantization_config=recipe)
    tokens = AutoTokenizer.from_pretrained(bundle)(TEXTS, padding=True, return_tensors="np")
    output = run(open_plain(tmp_path / "model_quantized.onnx"), tokens["input_ids"], tokens["attention_mask"])
    vectors = pool(output, tokens["attention_mask"], "mean")
    assert cosines(vectors, Embedder.load(bundle).encode(TEXTS)).min() >= 0.99
