"""What peers need made once: the plain export, its folder, its int8 forms. All in the work directory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from jinabert_onnx.bundle.file_records import record_file

from .registry import NODE, OWN, ROOT, Files, Peer, environment, processor_form, python_of, work_of


def prepare(chosen: Mapping[str, Peer], files: Files, vocabulary: int) -> None:
    """Make what a chosen peer lacks.

    Raises:
        SystemExit: an environment is missing, making has failed, or the directory belongs to another checkpoint.
    """
    _require_environments(chosen)
    files.work.mkdir(parents=True, exist_ok=True)
    _require_same_checkpoint(files)
    for output, command in _steps(chosen, files, vocabulary):
        made = files.work / f"{output.name}.made"  # what was cut off half-way has none
        if not made.exists():
            print(f"making {output}", file=sys.stderr)
            done = subprocess.run(command, env=environment(), stdin=subprocess.DEVNULL, stdout=sys.stderr)
            if done.returncode:
                raise SystemExit(f"{output} could not be made (exit code {done.returncode})")
            made.touch()


def _steps(chosen: Mapping[str, Peer], files: Files, vocabulary: int) -> list[tuple[Path, list[str]]]:
    """What is needed and how it is made, each after what it is made of."""
    plain, static, folder = str(files.plain), str(files.static), str(files.folder)
    used = {argument for peer in chosen.values() for argument in peer.arguments}
    steps = []
    if used & {plain, static, folder}:
        steps.append((files.plain, work_of(OWN, "make", "plain", str(files.checkpoint), plain)))
    if static in used:
        steps.append((files.static, work_of("openvino", "make", "openvino_peer", plain, static, str(vocabulary))))
    if folder in used:
        steps.append((files.folder, work_of(OWN, "make", "folder", plain, str(files.checkpoint), folder)))
    if files.qint8.name in used:
        arguments = (folder, str(files.qint8), processor_form())
        steps.append((files.qint8, work_of("transformers", "make", "sentence_transformers_peer", *arguments)))
    return steps


def _require_environments(chosen: Mapping[str, Peer]) -> None:
    for peer in chosen.values():
        if peer.environment == OWN:
            continue
        proof = peer.home / "node_modules" if peer.environment == NODE else python_of(peer.environment)
        if not proof.exists():
            home = peer.home.relative_to(ROOT)
            raise SystemExit(f"{peer.name} needs an environment of its own: make {home}/ready, or make peers for all")


def _require_same_checkpoint(files: Files) -> None:
    """Refuse what was made of another checkpoint, by the hashes of its files."""
    checkpoint = files.checkpoint
    names = sorted([*checkpoint.glob("*.safetensors"), *checkpoint.glob("*.bin"), checkpoint / "config.json"])
    found = "".join(f"{record_file(path).sha256}  {path.name}\n" for path in names)
    note = files.work / "checkpoint.sha256"
    if files.plain.exists() and (not note.exists() or note.read_text() != found):
        raise SystemExit(f"{files.work} was made of another checkpoint than {checkpoint}; delete it")
    note.write_text(found)
