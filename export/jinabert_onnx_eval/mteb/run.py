"""Tasks that mteb chooses, runs and keeps the results of.

Knows nothing of the card.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mteb
from jinabert_onnx.errors import InputError, JinaBertError, first_line
from mteb.results import TaskResult

from .model import BundleEncoder

_NOT_RESULTS = "model_meta"  # lies among them


def choose_tasks(names: Sequence[str], types: Sequence[str], languages: Sequence[str]) -> list[Any]:
    """Return tasks of mteb by name, or where none is given all its tasks of text, of these types and languages.

    Raises:
        InputError: a name is unknown, or nothing is left of the choice.
    """
    try:
        with _without_warnings():
            found = mteb.get_tasks(
                tasks=names or None,
                task_types=None if names else types or None,
                languages=languages or None,
                modalities=["text"],
                exclusive_modality_filter=True,
            )
    except (KeyError, ValueError) as error:  # mteb says so itself, and what is spelt like it
        raise InputError(f"mteb has no such task: {str(error.args[0]).removeprefix('KeyError: ')}") from error
    chosen = [task for task in found if not types or task.metadata.type in types]
    if not chosen:
        raise InputError("no task of mteb is left of this choice; types are such as STS, languages such as deu and eng")
    return chosen


def run_tasks(
    encoder: BundleEncoder, tasks: Iterable[Any], folder: Path, batch_size: int, say: Callable[[str], None]
) -> list[str]:
    """Run what `folder` does not have yet, and tell of each task; one that fails does not keep others from running.

    Returns:
        The names of the tasks that failed; what they had done by subsets is kept.
    """
    failed = []
    tasks = list(tasks)
    for number, task in enumerate(tasks, 1):
        name = f"{number}/{len(tasks)} {task.metadata.name} ({task.metadata.type})"
        say(f"{name} ...")
        read = encoder.read
        try:
            score = _run_task(encoder, task, folder, batch_size)
        except Exception as error:
            failed.append(task.metadata.name)
            say(f"{name}: failed: {_reason(error)}")
            continue
        finally:
            task.unload_data()
        kept = " (kept from an earlier run)" if encoder.read == read else ""
        say(f"{name}: {task.metadata.main_score} {100 * score:.2f}{kept}")
    return failed


def read_results(encoder: BundleEncoder, folder: Path) -> list[TaskResult]:
    """Return all that mteb keeps in `folder` of this model.

    Raises:
        InputError: a file there is no result of mteb.
    """
    place = mteb.ResultCache(folder).get_task_result_path("any", encoder.mteb_model_meta).parent
    return [_read(path) for path in sorted(place.glob("*.json")) if path.stem != _NOT_RESULTS]


def _run_task(encoder: BundleEncoder, task: Any, folder: Path, batch_size: int) -> float:
    """The task's main score, 0 to 1."""
    with _without_warnings():
        found = mteb.evaluate(
            encoder,
            task,
            co2_tracker=False,
            # mteb reads both as well: its own bars are only for a terminal
            encode_kwargs={"batch_size": batch_size, "show_progress_bar": sys.stderr.isatty()},
            cache=mteb.ResultCache(folder),
            show_progress_bar=False,
        )
    if not found.task_results:
        raise InputError("; ".join(error.exception for error in found.exceptions or ()) or "mteb gave no result")
    return float(found.task_results[0].get_score())


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Leave out what mteb says of what is meant: old tasks, subsets that are not kept, and its copies of tensors."""
    with warnings.catch_warnings():
        for message in (".*is superseded by.*", "Skipping task.*", "To copy construct from a tensor.*"):
            warnings.filterwarnings("ignore", message=message)
        yield


def _read(path: Path) -> TaskResult:
    try:
        return TaskResult.from_disk(path)
    except OSError:
        raise
    except Exception as error:  # of many kinds: mteb also tries the forms of its old releases
        raise InputError(f"{path}: is no result of mteb ({first_line(error)}); remove it") from error


def _reason(error: Exception) -> str:
    if isinstance(error, JinaBertError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"
