"""The names on the page of the architecture exist; it and the README stay short enough to be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.paths import ROOT

PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
PLACES = ("", "runtime/jinabert_onnx", "export/jinabert_onnx_export", "export/jinabert_onnx_eval")


def exists(name: str, place: Path) -> bool:
    """Whether `name` is a folder, a file or, without its ending, a module of Python in `place`."""
    path = place / name
    return path.is_dir() if name.endswith("/") else path.is_file() or path.with_suffix(".py").is_file()


def tree() -> list[tuple[str, str]]:
    """Return (folder, name) of each entry of the first diagram, in which two more spaces mean "in that folder"."""
    (block,) = re.findall(r"\n\n((?:    .*\n)+)\n## Layers", PAGE)
    found, folder = [], ""
    for line in block.splitlines():
        names = re.findall(r"\S+", re.split(r"   +", line.strip())[0])
        inside = line.startswith("      ")
        found += [(folder if inside else "", name) for name in names]
        folder = folder if inside else names[0]
    return found


def paths() -> set[str]:
    """Return what looks like a path or like a module in a folder, anywhere on the page."""
    return set(re.findall(r"(?<![\w./])[a-z]\w*/(?:[a-z]\w*(?:\.\w+)?/?)*", PAGE)) | set(re.findall(r"\w+\.py\b", PAGE))


@pytest.mark.parametrize(("folder", "name"), tree())
def test_entries_of_the_tree_exist(folder: str, name: str) -> None:
    assert exists(name, ROOT / folder)


@pytest.mark.parametrize("path", sorted(paths()))
def test_paths_and_modules_exist(path: str) -> None:
    if "/" in path:
        assert any(exists(path, ROOT / place) for place in PLACES)
    else:
        assert [found for place in ("runtime", "export", "tests") for found in (ROOT / place).rglob(path)]


def test_a_name_that_does_not_exist_is_noticed() -> None:
    assert len(tree()) >= 30
    assert len(paths()) >= 50
    assert not any(exists("engine/steps", ROOT / place) for place in PLACES)


@pytest.mark.parametrize(("name", "lines", "size"), [("README.md", 150, 10_000), ("ARCHITECTURE.md", 150, 20_000)])
def test_pages_at_the_top_stay_short(name: str, lines: int, size: int) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert text.count("\n") <= lines
    assert len(text.encode()) <= size
