"""What `docker build` sends of a directory: all that its .dockerignore does not leave out."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath


def copy_context(source: Path, target: Path) -> None:
    rules = _rules((source / ".dockerignore").read_text("utf-8"))
    for directory, subdirectories, files in os.walk(source):
        inside = Path(directory).relative_to(source)
        subdirectories[:] = [name for name in subdirectories if _is_sent((inside / name).as_posix(), rules)]
        for name in files:
            if _is_sent((inside / name).as_posix(), rules):
                (target / inside).mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / inside / name, target / inside / name)


def _rules(text: str) -> list[tuple[bool, re.Pattern[str]]]:
    """(is it sent, what it matches), the last that matches decides. Exceptions name things at the top only."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert not any("/" in line for line in lines if line.startswith("!")), "excluded directories are not looked into"
    return [(line.startswith("!"), _pattern(line.removeprefix("!"))) for line in lines]


def _pattern(glob: str) -> re.Pattern[str]:
    parts = {"**/": r"(?:.*/)?", "*": r"[^/]*", "?": r"[^/]"}
    pieces = re.split(r"(\*\*/|\*|\?)", glob)
    return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in pieces))


def _is_sent(path: str, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    """A rule that matches a directory holds for all in it."""
    names = [path, *(parent.as_posix() for parent in PurePosixPath(path).parents)]
    decisions = [sent for sent, pattern in rules if any(pattern.fullmatch(name) for name in names if name != ".")]
    return decisions[-1] if decisions else True
