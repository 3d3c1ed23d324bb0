"""Run JinaBERT embedding models and rerankers with onnxruntime, without torch.

from jinabert_onnx import Embedder

model = Embedder.load("bundle")
vectors = model.encode(["How is the weather today?", "Wie ist das Wetter heute?"])
"""

import typing

from .bundle.fingerprint import Fingerprint, compatible
from .embedder import Embedder
from .encoding.results import Chunks, Embeddings, TextReport
from .engine.cancellation import Cancellation
from .engine.kernels import Kernels
from .engine.threads import SharedThreads
from .errors import (
    BundleChangedError,
    BundleError,
    BundleNotFoundError,
    CancelledError,
    ClusterError,
    DeadlineError,
    DownloadError,
    InputError,
    InputTypeError,
    JinaBertError,
    KernelsError,
    MemoryLimitError,
    MissingDependencyError,
    ProviderError,
    RunError,
    SelfTestError,
    StateError,
    TruncationError,
    TruncationWarning,
)
from .version import __version__

if typing.TYPE_CHECKING:
    from .cross_encoder import CrossEncoder
    from .scoring.results import PairReport, Predictions, RankedDocument

__all__ = [
    "BundleChangedError",
    "BundleError",
    "BundleNotFoundError",
    "Cancellation",
    "CancelledError",
    "Chunks",
    "ClusterError",
    "CrossEncoder",
    "DeadlineError",
    "DownloadError",
    "Embedder",
    "Embeddings",
    "Fingerprint",
    "InputError",
    "InputTypeError",
    "JinaBertError",
    "Kernels",
    "KernelsError",
    "MemoryLimitError",
    "MissingDependencyError",
    "PairReport",
    "Predictions",
    "ProviderError",
    "RankedDocument",
    "RunError",
    "SelfTestError",
    "SharedThreads",
    "StateError",
    "TextReport",
    "TruncationError",
    "TruncationWarning",
    "__version__",
    "compatible",
]

if not typing.TYPE_CHECKING:  # to type checkers a module with `__getattr__` has every name

    def __getattr__(name: str) -> type:
        """Import what scores pairs of texts when it is first asked for: embedding models start faster without it."""
        if name == "CrossEncoder":
            from .cross_encoder import CrossEncoder

            return CrossEncoder
        if name in ("PairReport", "Predictions", "RankedDocument"):
            from .scoring import results

            return getattr(results, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
