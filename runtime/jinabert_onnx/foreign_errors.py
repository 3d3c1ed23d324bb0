"""Whose an exception is: of a library in native code, or of a signal's handler that ran while the library was called.

Only the former may be told in other words. A handler's, such as a task queue's timeout, must reach who set it up.
"""

from __future__ import annotations

_PACKAGE = __name__.partition(".")[0]
_NATIVE = ("builtins", "numpy")  # what native code raises where it has no classes of its own


def is_from(library: str, error: Exception) -> bool:
    """Whether `library`, called by this package, raised `error`: it is of its classes, or none of a caller's code did.

    Native code raises built-in exceptions too, and adds no frame to the trace; a handler, which is Python, does.
    """
    kind = _root(type(error).__module__)
    return kind == library or (kind in _NATIVE and _root(_module_that_raised(error)) in (library, _PACKAGE))


def _module_that_raised(error: Exception) -> str:
    trace, module = error.__traceback__, ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    return module


def _root(module: str) -> str:
    return module.partition(".")[0]
