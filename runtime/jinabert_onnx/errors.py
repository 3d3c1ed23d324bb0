"""Every error this package raises on purpose.

    JinaBertError
    ├── BundleError (ValueError)              a bundle that cannot be read or trusted
    │   └── BundleNotFoundError (FileNotFoundError)   nothing, or no bundle, at that place
    ├── DownloadError (OSError)               a hub id that could not be fetched
    ├── InputError (ValueError)               an argument or text outside what the model takes
    ├── InputTypeError (TypeError)            an argument or text of the wrong type
    ├── MissingDependencyError (ImportError)  an optional package that is not installed
    ├── ProviderError (RuntimeError)          an execution provider that cannot be had
    └── RunError (RuntimeError)               onnxruntime failed while running the model

Each class is also a built-in kind, so ``except ValueError`` works as users expect. The exporter adds
its own branches (``jinabert_onnx_export.errors``). Messages are one line: what is wrong, then what to do.
"""

from __future__ import annotations


class JinaBertError(Exception):
    """Base of all errors of jinabert-onnx; the command line prints it as one line."""


class BundleError(JinaBertError, ValueError):
    """A bundle is damaged, altered, incomplete or of a schema this version cannot read."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """There is no bundle at the given place."""


class DownloadError(JinaBertError, OSError):
    """A hub repository could not be fetched, or is not cached while offline."""


class InputError(JinaBertError, ValueError):
    """An argument or a text has a value that the model cannot take."""


class InputTypeError(JinaBertError, TypeError):
    """An argument or a text has a type that the model cannot take."""


class MissingDependencyError(JinaBertError, ImportError):
    """An optional dependency is needed and not installed."""


class ProviderError(JinaBertError, RuntimeError):
    """The requested execution provider cannot run the requested precision here."""


class RunError(JinaBertError, RuntimeError):
    """onnxruntime failed while running the model."""


class TruncationWarning(UserWarning):
    """Texts were longer than ``max_length`` and were cut."""


def first_line(error: BaseException) -> str:
    """The first line of another library's message, or the name of its class where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
