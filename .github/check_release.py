"""Refuse a tag that is not the version, or whose section in the changelog has no date.

python .github/check_release.py v1.2.3
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

VERSION = Path("runtime/jinabert_onnx/version.py")
CHANGELOG = Path("CHANGELOG.md")


def problem_of(tag: str, root: Path) -> str | None:
    """Return what keeps `tag` from being released from the tree at `root`, or None."""
    match = re.search(r'^__version__ = "(.+)"$', (root / VERSION).read_text("utf-8"), re.MULTILINE)
    if match is None:
        return f"{VERSION}: no line sets __version__"
    version = match[1]
    if tag != f"v{version}":
        return f"{VERSION}: the version is {version}, so the tag must be v{version}, not {tag}"
    section = re.compile(rf"^## {re.escape(version)} - \d{{4}}-\d{{2}}-\d{{2}}$", re.MULTILINE)
    if not section.search((root / CHANGELOG).read_text("utf-8")):
        return f"{CHANGELOG}: no section '## {version} - YYYY-MM-DD'; write the date of the release"
    return None


if __name__ == "__main__":
    sys.exit(problem_of(sys.argv[1], Path.cwd()))
