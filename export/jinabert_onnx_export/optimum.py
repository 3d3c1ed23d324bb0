"""JinaBERT for people who export with optimum: the model and the export configuration that it asks for.

    model = JinaBertModel.from_pretrained("jinaai/jina-embeddings-v2-base-de")
    onnx_export_from_model(
        model, "out", task="feature-extraction", custom_onnx_configs={"model": JinaBertOnnxConfig(model.config)}
    )
    ORTModelForFeatureExtraction.from_pretrained("out")

Needs the extra `optimum`. Nothing is registered with transformers or optimum, so plain BERT stays theirs.
Knows nothing of bundles; `jinabert_onnx_export.export` writes those, and optimum reads them as they are.
"""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinabert_onnx.bundle.probes import FP32_MAX_ERROR, allowed_error
from jinabert_onnx.errors import needed
from torch import Tensor, inference_mode

from .checkpoint.read import Checkpoint, open_checkpoint
from .encoder.model import JinaBertEncoder
from .encoder.trace import INPUTS, OPSET, OUTPUT
from .errors import UnsupportedCheckpointError, VerificationError

with needed(f"{__name__} needs optimum-onnx and transformers", "cpu,optimum", "install them"):
    from optimum.exporters.error_utils import AtolError
    from optimum.exporters.onnx import validate_model_outputs
    from optimum.exporters.onnx.config import TextEncoderOnnxConfig
    from optimum.utils import NormalizedTextConfig
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import BaseModelOutput

# Shapes (batch, sequence) to validate at: unlike optimum's traced (2, 16), and longer than one and than
# several blocks of queries. Its generator of masks cannot make a length of 1.
VALIDATION_SHAPES = ((1, 2), (3, 301), (2, 700))

_SIZES = ("batch_size", "sequence_length")  # of a shape, by optimum's names
_AXES = dict(enumerate(_SIZES))


class JinaBertPretrainedConfig(PretrainedConfig):  # type: ignore[misc]
    """A checkpoint's sizes as transformers and optimum want them.

    Its model type is "jinabert" while in memory, so that nothing takes it for BERT, and "bert" once saved: that
    is what JinaBERT checkpoints carry, and what `AutoConfig`, and so every model class of optimum, can read.
    """

    model_type = "jinabert"
    has_no_defaults_at_init = True

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> JinaBertPretrainedConfig:
        """The configuration of `checkpoint`; optimum finds the tokenizer through its `name_or_path`."""
        return cls(
            **asdict(checkpoint.config), position_embedding_type="alibi", name_or_path=os.fspath(checkpoint.path)
        )

    def to_dict(self) -> dict[str, Any]:
        """The content of `config.json`."""
        return {**super().to_dict(), "model_type": "bert"}


class JinaBertModel(PreTrainedModel):  # type: ignore[misc]
    """`JinaBertEncoder` as a model of transformers, float32, for inference. Made by `from_pretrained`."""

    # optimum tells the library that a model belongs to by the beginning of this name, and refuses all others.
    __module__ = "transformers_modules.jinabert_onnx"

    config_class = JinaBertPretrainedConfig
    main_input_name = INPUTS[0]

    def __init__(self, config: JinaBertPretrainedConfig, encoder: JinaBertEncoder) -> None:
        super().__init__(config)
        self.encoder = encoder

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], *, revision: str | None = None) -> JinaBertModel:
        """Load a checkpoint from a directory or hub id; every weight is the checkpoint's, none is initialised.

        Raises:
            BundleNotFoundError, DownloadError: there is no such checkpoint, or it cannot be fetched.
            CheckpointError: damaged, incomplete, or of another architecture.
            UnsupportedCheckpointError: a reranker or classifier.
        """
        checkpoint = open_checkpoint(source, revision)
        if checkpoint.classifier is not None:
            raise UnsupportedCheckpointError(
                f"{source}: a reranker or classifier, and only embedding models are exported with optimum; use "
                "`jinabert-onnx export`, whose bundles optimum's ORTModelForSequenceClassification reads"
            )
        return cls(JinaBertPretrainedConfig.from_checkpoint(checkpoint), checkpoint.load_encoder()).eval()  # type: ignore[no-any-return]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> BaseModelOutput:
        """`last_hidden_state`, float32 (batch, sequence, hidden), of two int64 (batch, sequence)."""
        return BaseModelOutput(last_hidden_state=self.encoder(input_ids, attention_mask))


class JinaBertOnnxConfig(TextEncoderOnnxConfig):  # type: ignore[misc]
    """How optimum is to export a `JinaBertModel`: one output, any batch and length, attention by blocks of queries.

    `onnx_export_from_model` calls `validate_export` through it, and so fails (optimum makes a RuntimeError of it)
    where optimum itself only warns. `optimum.exporters.onnx.export` does not validate: call it yourself.
    """

    NORMALIZED_CONFIG_CLASS = NormalizedTextConfig
    DEFAULT_ONNX_OPSET = OPSET  # the attention's body is written in it
    ATOL_FOR_VALIDATION = FP32_MAX_ERROR

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        """Each input's dynamic axes."""
        return dict.fromkeys(INPUTS, _AXES)

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        """The output's dynamic axes."""
        return {OUTPUT: _AXES}

    def post_process_exported_models(
        self, path: Path, models_and_onnx_configs: dict[str, tuple[Any, Any]], onnx_files_subpaths: list[str]
    ) -> tuple[dict[str, tuple[Any, Any]], list[str]]:
        """Validate what `onnx_export_from_model` has just written; the files stay as they are.

        Raises:
            VerificationError: see `validate_export`.
        """
        for (model, config), name in zip(models_and_onnx_configs.values(), onnx_files_subpaths, strict=True):
            validate_export(model, config, Path(path) / name)
        return models_and_onnx_configs, onnx_files_subpaths


def validate_export(model: JinaBertModel, config: JinaBertOnnxConfig, path: Path) -> None:
    """Compare the ONNX file at `path` with `model`, by optimum's own comparison, at every shape of VALIDATION_SHAPES.

    Where it differs by more than the tolerance of `config`, both are compared with the model in float64.

    Raises:
        VerificationError: an output has another name or shape, or is off from float64 by more than twice what the model
            in float32 is.
    """
    for batch, sequence in VALIDATION_SHAPES:
        try:
            try:
                _validate(model, config, path, (batch, sequence), config.ATOL_FOR_VALIDATION)
            except AtolError:
                exact = deepcopy(model).double()
                _validate(exact, config, path, (batch, sequence), allowed_error(_largest_error(model, exact, config)))
        except ValueError as error:  # the base of its errors
            raise VerificationError(f"{path} at batch {batch}, length {sequence}: {error}") from error


def _validate(
    model: JinaBertModel, config: JinaBertOnnxConfig, path: Path, shape: tuple[int, int], tolerance: float
) -> None:
    validate_model_outputs(
        config,
        model,
        path,
        list(config.outputs),
        atol=tolerance,
        input_shapes=dict(zip(_SIZES, shape, strict=True)),
        use_subprocess=False,
    )


def _largest_error(model: JinaBertModel, exact: JinaBertModel, config: JinaBertOnnxConfig) -> float:
    """Return by how much `model` is off from `exact`, the same in float64, at the shapes of VALIDATION_SHAPES."""
    errors = []
    for shape in VALIDATION_SHAPES:
        inputs = config.generate_dummy_inputs(framework="pt", **dict(zip(_SIZES, shape, strict=True)))
        with inference_mode():
            outputs = [each(**inputs).last_hidden_state for each in (model, exact)]
        errors.append(float((outputs[0] - outputs[1]).abs().max()))
    return max(errors)
