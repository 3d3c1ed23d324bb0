"""Files that appear whole or not at all. Knows nothing of what is in them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .permissions import give_usual_permissions


@contextmanager
def appearing(path: Path) -> Iterator[BinaryIO]:
    """A file at `path` that appears, or replaces the former, only once the block has ended without an error.

    Raises:
        OSError: it cannot be written; nothing is left, and the former stands.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        give_usual_permissions(Path(name))
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)  # it may stand at its place already
        raise
