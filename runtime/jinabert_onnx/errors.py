"""Every error this package raises on purpose.

    JinaBertError
    ├── BundleError (ValueError)              a bundle that cannot be read or trusted
    │   └── BundleNotFoundError (FileNotFoundError)   nothing, or no bundle, at that path
    ├── CancelledError (RuntimeError)         a call ended from another thread
    ├── ClusterError (RuntimeError)           work on a Ray cluster that failed
    ├── DeadlineError (TimeoutError)          a call that did not end in its time
    ├── DownloadError (OSError)               a hub id that could not be fetched
    ├── InputError (ValueError)               an argument or text outside what the model takes
    │   └── TruncationError                   a text too long, where cutting was not allowed
    ├── InputTypeError (TypeError)            an argument or text of the wrong type
    ├── KernelsError (RuntimeError)           native kernels that are required and not available
    ├── MemoryLimitError (MemoryError)        work that cannot be done within `max_memory`
    ├── MissingDependencyError (ImportError)  an optional package that is not installed
    ├── ProviderError (RuntimeError)          an execution provider that is not available
    ├── RunError (RuntimeError)               onnxruntime failed while running the model
    ├── SelfTestError (RuntimeError)          a model that computes different vectors here than at export
    └── StateError (RuntimeError)             an Embedder that is closed, or was loaded before a fork
        └── BundleChangedError                a bundle that was overwritten while a model ran from it

    TruncationWarning (UserWarning)           a text was cut

Each class is also a built-in exception, so ``except ValueError`` works as users expect. The exporter adds
its own branches (``jinabert_onnx_export.errors``). Messages are one line: what is wrong, then what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST = 2000  # characters of a message


class JinaBertError(Exception):
    """Base of all errors of jinabert-onnx; the command line prints it as one line.

    Attributes:
        argument: the name of the argument that the message is about, or None.
        index: the index of the text, span or vector at fault, or None.
    """

    def __init__(self, *args: object, argument: str | None = None, index: int | None = None) -> None:
        super().__init__(*args)
        self.argument, self.index = argument, index

    def __str__(self) -> str:
        # Messages quote files, whose names and values may be long, or hold control sequences of a terminal.
        text = printable(super().__str__())
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 4 :]}"


class BundleError(JinaBertError, ValueError):
    """A bundle is damaged, altered, incomplete or of a schema this version cannot read."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """There is no bundle at the given path."""


class CancelledError(JinaBertError, RuntimeError):
    """A call was cancelled from another thread; the Embedder can be used again."""


class ClusterError(JinaBertError, RuntimeError):
    """The Ray cluster cannot be used, or a node or a shard failed there; finished shards are kept."""


class DeadlineError(JinaBertError, TimeoutError):
    """A call did not end within its `timeout`; the Embedder can be used again."""


class DownloadError(JinaBertError, OSError):
    """A hub repository could not be fetched, or is not cached while offline."""


class InputError(JinaBertError, ValueError):
    """An argument or a text has a value that the model cannot take."""


class TruncationError(InputError):
    """A text is longer than the limit, and `truncation="error"` was given."""


class InputTypeError(JinaBertError, TypeError):
    """An argument or a text has a type that the model cannot take."""


class KernelsError(JinaBertError, RuntimeError):
    """Native kernels are required, and none can run here."""


class MemoryLimitError(JinaBertError, MemoryError):
    """The model, or one text, needs more memory than `max_memory` allows; nothing was run."""


class MissingDependencyError(JinaBertError, ImportError):
    """An optional dependency is needed, and it is not installed."""


class ProviderError(JinaBertError, RuntimeError):
    """The requested execution provider cannot run the requested precision here."""


class RunError(JinaBertError, RuntimeError):
    """onnxruntime failed while running the model."""


class SelfTestError(JinaBertError, RuntimeError):
    """The model computes different vectors here than when it was exported."""


class StateError(JinaBertError, RuntimeError):
    """The Embedder is closed, was loaded before the process forked, or its files were overwritten."""


class BundleChangedError(StateError):
    """A file that the loaded model reads was written to, so its vectors cannot be trusted; load it again."""


class TruncationWarning(UserWarning):
    """Texts were longer than ``max_length`` and were cut."""


@contextmanager
def needed(what: str, extra: str, how: str = "install it") -> Iterator[None]:
    """Tell of an import that fails in the block `what` needs it, and `how` to install the extra that has it.

    Raises:
        MissingDependencyError: it failed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"{what} ({first_line(error)}); {how}: pip install 'jinabert-onnx[{extra}]'"
        ) from error


def printable(text: str) -> str:
    """Return the text with unprintable characters, such as a terminal's control characters, written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, or the name of its class where the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
