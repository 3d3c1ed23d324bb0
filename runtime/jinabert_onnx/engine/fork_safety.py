"""What becomes of a loaded model in a forked child: it must neither run there nor be taken apart.

onnxruntime's threads do not come along into the child. Ending a session waits for them, so a child that ended one,
at the latest when Python exits, would hang. Knows nothing of models.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

_sessions: weakref.WeakSet[Any] = weakref.WeakSet()


def keep_in_children(session: Any) -> None:
    """Never end `session` in a child that is forked from here on; its memory stays, shared with the parent."""
    _sessions.add(session)


def _keep_all() -> None:
    for session in _sessions:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_all)
