"""sentence-transformers: its torch backend, its onnx backend, and its own int8 export. An environment of its own.

The published code of JinaBERT is not used: in torch the plain encoder stands for it, in onnx the plain export.
The form is what `export_dynamic_quantized_onnx_model` calls a processor: avx2, avx512_vnni, arm64.
"""

from __future__ import annotations

import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .worker import About, Encode, Vectors

_MODULES = "sentence_transformers.sentence_transformer.modules"


def make(folder: str, output: str, form: str) -> None:
    """Write the library's own dynamic int8 of the folder's `onnx/model.onnx` to `output`."""
    library: Any = import_module("sentence_transformers")
    model = _open_onnx(folder, "model.onnx", 1)
    with tempfile.TemporaryDirectory(
        dir=Path(output).parent
    ) as temporary:  # it writes a config.json without a model type
        library.export_dynamic_quantized_onnx_model(model, form, temporary)
        (written,) = Path(temporary).rglob("*.onnx")
        written.rename(output)


def load(backend: str, source: str, file: str, threads: str) -> tuple[Encode, About]:
    """Return a file of a folder's `onnx/` through the onnx backend, or a checkpoint in torch."""
    onnx = ("optimum-onnx", "onnxruntime") if backend == "onnx" else ()
    model = _open_onnx(source, file, int(threads)) if onnx else _open_torch(source, int(threads))

    def encode(texts: list[str]) -> Vectors:
        return model.encode(texts, show_progress_bar=False)  # type: ignore[no-any-return]

    return encode, {name: version(name) for name in ("sentence-transformers", "transformers", "torch", *onnx)}


def _open_torch(checkpoint: str, threads: int) -> Any:
    """Return the plain encoder as the first module, then the library's mean pooling."""
    from .plain_model import PlainEncoder, open_encoder

    library: Any = import_module("sentence_transformers")
    modules: Any = import_module(_MODULES)
    transformers: Any = import_module("transformers")
    torch.set_num_threads(threads)

    class Encoder(modules.InputModule):  # type: ignore[misc]
        """Texts to `token_embeddings`, as the library's `Transformer` gives them."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = PlainEncoder(*open_encoder(checkpoint)).eval()
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)

        def preprocess(self, inputs: list[str], prompt: str | None = None, **settings: object) -> dict[str, Any]:
            """Padded ids and their mask."""
            texts = [(prompt or "") + text for text in inputs]
            encoded = self.tokenizer(texts, padding=True, return_tensors="pt")
            return {name: encoded[name] for name in ("input_ids", "attention_mask")}

        def forward(self, features: dict[str, Any], **settings: object) -> dict[str, Any]:
            """Adds `token_embeddings`, (batch, sequence, hidden)."""
            tokens = self.encoder(features["input_ids"], features["attention_mask"])
            return features | {"token_embeddings": tokens}

        def save(self, output_path: str, *arguments: object, **settings: object) -> None:
            """Nothing of it is ever saved."""
            raise NotImplementedError

    encoder = Encoder()
    hidden = encoder.encoder.weights.embeddings.word_embeddings.embedding_dim
    return library.SentenceTransformer(modules=[encoder, modules.Pooling(hidden)], device="cpu")


def _open_onnx(folder: str, file: str, threads: int) -> Any:
    library: Any = import_module("sentence_transformers")
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    settings = {"file_name": f"onnx/{file}", "provider": "CPUExecutionProvider", "session_options": options}
    return library.SentenceTransformer(folder, backend="onnx", device="cpu", model_kwargs=settings)
