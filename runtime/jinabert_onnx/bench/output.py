"""What a run leaves in a directory: JSON, CSV and pictures. All of them appear at once, or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from jinabert_onnx.errors import InputError
from jinabert_onnx.files.permissions import give_usual_permissions

from .csv_export import rows, to_csv
from .record import Record

JSON, CSV, PNG, SVG = "bench.json", "bench.csv", "bench.png", "bench.svg"

Draw = Callable[[Record, Path], None]


def require_free(directory: Path) -> None:
    """Return if results can be written to `directory`: it is not there, or empty, and can be made.

    Raises:
        InputError: there is something else.
    """
    place = directory.resolve()
    if place.is_dir() and any(place.iterdir()):
        held = "the results of a bench" if (place / JSON).exists() else "files"
        raise InputError(f"{directory}: holds {held} already; give another --output, or remove it")
    if place.exists() and not place.is_dir():
        raise InputError(f"{directory}: is a file; give a directory that can be made")
    if not place.parent.is_dir():
        raise InputError(f"{directory}: there is no directory {place.parent}")
    if not os.access(place.parent, os.W_OK | os.X_OK):
        raise InputError(f"{directory}: {place.parent} cannot be written to")


def write_results(directory: Path, record: Record, draw: Draw | None) -> None:
    """Write `bench.json`, `bench.csv` and, with `draw`, `bench.png` and `bench.svg`.

    Raises:
        InputError: `directory` is not free.
        OSError: it cannot be written; nothing is left.
    """
    require_free(directory)
    place = directory.resolve()
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        (temporary / JSON).write_text(record.to_json(rows(record)), encoding="utf-8")
        (temporary / CSV).write_text(to_csv(record), encoding="utf-8")
        if draw is not None:
            draw(record, temporary / PNG)
            draw(record, temporary / SVG)
        give_usual_permissions(temporary)
        if place.is_dir():  # empty; not every system replaces it
            place.rmdir()
        temporary.rename(place)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
