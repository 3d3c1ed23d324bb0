"""Run JinaBERT embedding models with onnxruntime, without torch.

from jinabert_onnx import Embedder

model = Embedder.load("bundle")
vectors = model.encode(["How is the weather today?", "Wie ist das Wetter heute?"])
"""

from .embedder import Embedder
from .errors import (
    BundleError,
    BundleNotFoundError,
    DownloadError,
    InputError,
    InputTypeError,
    JinaBertError,
    MissingDependencyError,
    ProviderError,
    RunError,
    TruncationWarning,
)
from .version import __version__

__all__ = [
    "BundleError",
    "BundleNotFoundError",
    "DownloadError",
    "Embedder",
    "InputError",
    "InputTypeError",
    "JinaBertError",
    "MissingDependencyError",
    "ProviderError",
    "RunError",
    "TruncationWarning",
    "__version__",
]
