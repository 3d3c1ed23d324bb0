"""What to open of a bundle, and how: the arguments of `Embedder.load` as data. Opens nothing."""

from __future__ import annotations

from dataclasses import dataclass

from jinabert_onnx.engine.threads import SharedThreads


@dataclass(frozen=True)
class LoadOptions:
    """The arguments of `Embedder.load` but for the bundle's place, with their defaults; they are described there."""

    precision: str = "fp32"
    provider: str = "auto"
    threads: int | str | SharedThreads = "auto"
    max_memory: int | str | None = None
    integrity: str = "fast"
    self_test: bool = True
    revision: str | None = None
    local_files_only: bool = False
    kernels: str = "auto"
