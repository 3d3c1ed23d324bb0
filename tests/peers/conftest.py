"""benchmarks/ on the path, and a peer that misbehaves in its own process. Bundles are exported beforehand."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINT = ROOT / "tests" / "data" / "tiny-de-en"
BUNDLE = ROOT / "build" / "bundles" / "tiny-de-en"
sys.path.insert(0, str(ROOT / "benchmarks"))

from peers.registry import Peer  # noqa: E402


@dataclass(frozen=True)
class Stray(Peer):
    """A peer whose worker is tests/peers/stray_worker.py, with `arguments` as its manners."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("stray_worker.py")), *self.arguments]


def stray(name: str, *manners: str, takes: str = "ids") -> Stray:
    return Stray(name, "", manners, "of the tests", takes=takes)  # type: ignore[arg-type]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"
