"""Keeps sessions alive in forked children, where they must neither run nor be destroyed.

A fork does not copy onnxruntime's threads. Destroying a session waits for them, so a child that destroyed one, at the
latest when Python exits, would hang. Knows nothing of models.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

_sessions: weakref.WeakSet[Any] = weakref.WeakSet()


def keep_in_children(session: Any) -> None:
    """Keep `session` from being destroyed in children forked from now on; its memory stays shared with the parent."""
    _sessions.add(session)


def _keep_all() -> None:
    for session in _sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_all)
