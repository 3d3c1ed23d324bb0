"""Run JinaBERT embedding models with onnxruntime, without torch.

from jinabert_onnx import Embedder

model = Embedder.load("bundle")
vectors = model.encode(["How is the weather today?", "Wie ist das Wetter heute?"])
"""

from .embedder import Embedder
from .errors import (
    BundleError,
    BundleNotFoundError,
    CancelledError,
    DeadlineError,
    DownloadError,
    InputError,
    InputTypeError,
    JinaBertError,
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

__all__ = [
    "BundleError",
    "BundleNotFoundError",
    "CancelledError",
    "DeadlineError",
    "DownloadError",
    "Embedder",
    "InputError",
    "InputTypeError",
    "JinaBertError",
    "MemoryLimitError",
    "MissingDependencyError",
    "ProviderError",
    "RunError",
    "SelfTestError",
    "StateError",
    "TruncationError",
    "TruncationWarning",
    "__version__",
]
