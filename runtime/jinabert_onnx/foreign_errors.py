"""The origin of an exception: a library, or a signal handler that ran while the library was called.

Only the library's may be replaced by an error of this package. A handler's, such as a task queue's timeout, must reach
the code that installed the handler.
"""

from __future__ import annotations

import sys

_PACKAGE = __name__.partition(".")[0]
_NATIVE = ("builtins", "numpy")  # what native code raises where it has no classes of its own


def is_from(library: str, error: Exception) -> bool:
    """Return whether `library`, called by this package, raised `error`, and not a signal handler.

    It is of the library's own classes, or a built-in exception whose last frame is this package's or the library's:
    native code adds no frame to the traceback; a handler, which is Python, does.
    """
    kind = _root(type(error).__module__)
    return kind == library or (kind in _NATIVE and _root(_module_that_raised(error)) in (library, _PACKAGE))


def is_from_reading(error: Exception) -> bool:
    """Return whether `error` was raised by reading a file with the standard library, and not by a signal handler.

    The classes do not tell: a handler may raise a TimeoutError, which is an OSError, or a ValueError. Its frame does.
    """
    module = _root(_module_that_raised(error))
    return module == _PACKAGE or module in sys.stdlib_module_names


def _module_that_raised(error: Exception) -> str:
    trace, module = error.__traceback__, ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    return module


def _root(module: str) -> str:
    return module.partition(".")[0]
