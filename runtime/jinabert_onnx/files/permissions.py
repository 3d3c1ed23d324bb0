"""Permissions of files that were written under a temporary name. Knows nothing of what is in them."""

from __future__ import annotations

import os
from pathlib import Path


def give_usual_permissions(path: Path) -> None:
    """Give a file or directory the permissions that a new one gets; temporary ones are closed to others."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
