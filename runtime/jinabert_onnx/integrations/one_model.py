"""What LangChain's and Chroma's classes have in common."""

from __future__ import annotations

import os
from typing import Unpack

from jinabert_onnx.bundle.fingerprint import Fingerprint
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.options import BATCH_SIZE, expand_options

from .encoder import open_encoder
from .options import ModelOptions


class OneModel:
    """A class that makes vectors with one model."""

    @expand_options(ModelOptions)
    def __init__(
        self,
        model: str | os.PathLike[str] | Embedder,
        *,
        batch_size: int = BATCH_SIZE,
        **options: Unpack[ModelOptions],
    ) -> None:
        """Load the model, or take one that is loaded.

        Args:
            model: directory or hub id of a bundle, or an Embedder to share; then nothing about loading may be given.
            batch_size: maximum number of texts per batch.
            options: those of `ModelOptions`.

        Raises:
            InputError: an argument is out of range, or the model is of another space than `fingerprint`.
            InputTypeError: `model` is of another type.
            What `Embedder.load` raises.
        """
        self._encoder = open_encoder(model, options, batch_size)

    @property
    def embedder(self) -> Embedder:
        """Return the model that runs."""
        return self._encoder.model

    @property
    def fingerprint(self) -> Fingerprint:
        """Return the vector space, to be kept with an index."""
        return self.embedder.fingerprint
