"""What tests do to copies of bundles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path


def edit_json(path: Path, change: Callable[[dict], object]) -> None:
    """Change the content of a JSON file by a function."""
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def update_json(path: Path, **values: object) -> None:
    """Set keys of the object in a JSON file."""
    edit_json(path, lambda content: content.update(values))


def record_again(bundle: Path, *names: str) -> None:
    """Let the manifest list these files as they are now."""
    contents = {name: (bundle / name).read_bytes() for name in names}
    records = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    edit_json(bundle / "manifest.json", lambda manifest: manifest["files"].update(records))


def flip_a_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
