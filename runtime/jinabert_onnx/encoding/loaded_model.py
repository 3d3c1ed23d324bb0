"""What runs, once it is loaded. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from jinabert_onnx.bundle.manifest import Bundle
from jinabert_onnx.engine.memory_limit import MemoryLimit
from jinabert_onnx.engine.session import Session
from jinabert_onnx.text.tokenizer import Tokenizer

from .dense import DenseLayer


@dataclass(frozen=True)
class LoadedModel:
    """A bundle's tokenizer, session and dense layers, and how much memory they may take (None: all that they need)."""

    bundle: Bundle
    precision: str
    tokenizer: Tokenizer
    session: Session
    memory: MemoryLimit | None
    dense: tuple[DenseLayer, ...] = ()
