"""A run of side_by_side.py as one file: its results, with the date, the command and the machine."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timing import machine

from .registry import ROOT


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Write the file whole or not at all."""
    record = {
        "benchmark": "side_by_side",
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *(_from_top(word) for word in sys.argv)]),
        "machine": machine() | _more_of_machine(),
        "results": results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(record) + "\n", "utf-8")
    beside.replace(path)


def _from_top(word: str) -> str:
    """Paths as seen from the top of the repository."""
    path = Path(word).resolve()
    return str(path.relative_to(ROOT)) if ("/" in word or path.exists()) and path.is_relative_to(ROOT) else word


def _more_of_machine() -> dict[str, object]:
    return {
        "memory_gibibytes": round(memory_megabytes() * 1e6 / 2**30),
        "platform": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
    }


def memory_megabytes() -> float:
    """Of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
