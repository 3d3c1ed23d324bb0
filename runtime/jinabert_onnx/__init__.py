"""Run JinaBERT embedding models and rerankers with onnxruntime, without torch.

from jinabert_onnx import Embedder

model = Embedder.load("bundle")
vectors = model.encode(["How is the weather today?", "Wie ist das Wetter heute?"])
"""

from .bundle.fingerprint import Fingerprint, compatible
from .cross_encoder import CrossEncoder
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
from .scoring.results import PairReport, Predictions, RankedDocument
from .version import __version__

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
