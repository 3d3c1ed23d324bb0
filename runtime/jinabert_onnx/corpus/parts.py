"""The directory beside the output in which work is kept until it is whole. One process at a time may have it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jinabert_onnx.errors import InputError, StateError
from jinabert_onnx.files.atomic import atomic_file

from .plan import Plan, Shard, differences, from_json, to_json

_PLAN, _LOCK = "plan.json", "lock"


@contextmanager
def taken(output: Path) -> Iterator[Path]:
    """The directory of an output, made if need be, for this process alone; gone afterwards if there is no plan in it.

    What a killed process left half written is removed.

    Raises:
        StateError: another process works on this output.
        InputError: there is something else at that place.
        OSError: it cannot be made.
    """
    directory = output.with_name(f"{output.name}.parts")
    if directory.is_dir() and not (directory / _PLAN).exists() and _foreign(directory):
        raise InputError(f"{directory}: holds other files; remove it, or give another --output")
    directory.mkdir(exist_ok=True)
    lock, over = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o666), False
    try:
        _lock(lock, output)
        _require_same(lock, directory, output)
        try:
            for path in directory.glob(".*"):  # unfinished files of `atomic_file`
                path.unlink(missing_ok=True)
            yield directory
        finally:
            over = not (directory / _PLAN).exists() and _is_ours(lock, directory)
            if over:
                _empty(directory)
    finally:
        os.close(lock)
        if over:
            _remove(directory)


def kept(directory: Path) -> tuple[Plan, list[Shard]] | None:
    """The plan that work in `directory` follows, if there is one.

    Raises:
        InputError: it cannot be read.
    """
    path = directory / _PLAN
    if not path.exists():
        return None
    try:
        return from_json(path.read_text("utf-8"))
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; remove {directory} to start again") from error


def keep(directory: Path, plan: Plan, shards: Sequence[Shard]) -> None:
    """Write the plan down. Raises OSError."""
    with atomic_file(directory / _PLAN, durable=True) as stream:
        stream.write(to_json(plan, shards).encode("ascii"))


def require_same(directory: Path, before: Plan, asked: Plan) -> None:
    """Refuse to go on with a plan other than the one that was begun.

    Raises:
        InputError: they differ; says in what.
    """
    found = differences(before, asked)
    if found:
        raise InputError(
            f"{directory} holds unfinished work of another kind: {'; '.join(found)}; give the same options to resume, "
            "another --output, or remove that directory to start again"
        )


def forget(directory: Path) -> None:
    """Remove the plan, without which `taken` leaves nothing."""
    (directory / _PLAN).unlink(missing_ok=True)


def _empty(directory: Path) -> None:
    """Remove all that is in it, last the lock, which keeps others out; but Windows can remove no file that is open."""
    for path in directory.iterdir():
        if path.name != _LOCK:
            path.unlink(missing_ok=True)
    if os.name != "nt":
        (directory / _LOCK).unlink(missing_ok=True)


def _remove(directory: Path) -> None:
    with contextlib.suppress(OSError):  # another process has just begun: it has opened the lock, or made another
        if os.name == "nt":
            (directory / _LOCK).unlink(missing_ok=True)
        directory.rmdir()


def _foreign(directory: Path) -> bool:
    ours = ("shard-", "joined.", ".", _LOCK)
    return any(not path.name.startswith(ours) for path in directory.iterdir())


def _lock(handle: int, output: Path) -> None:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StateError(
            f"{output}: another process is working on it; wait until it ends, or give another --output"
        ) from error


def _require_same(handle: int, directory: Path, output: Path) -> None:
    if not _is_ours(handle, directory):  # the other one ended, and removed it, between our steps
        raise StateError(f"{output}: another process has just finished with it; run the command again")


def _is_ours(handle: int, directory: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), (directory / _LOCK).stat())
    except OSError:
        return False
