"""Run tasks one after the other through mteb, each result kept as soon as it is there.

Knows nothing of the card.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mteb
from jinabert_onnx.errors import InputError, JinaBertError, first_line
from mteb.cache import ResultCache
from mteb.results import TaskResult

from .compare import Result
from .model import BundleEncoder

_SETTINGS = "run_settings.jsonl"
_META = "model_meta.json"


class Store(ResultCache):  # type: ignore[misc]
    """mteb's folder of results, in which a file appears whole or not at all.

    mteb saves after every subset; a run that is killed while it saves would else leave half a file, which no later run
    could read.
    """

    def save_to_cache(
        self,
        task_result: TaskResult,
        model_name: Any,
        model_revision: str | None = None,
        *,
        encode_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Save as mteb does, beside the place, and move what is new there."""
        place = self.get_task_result_path(task_result.task_name, model_name, model_revision).parent
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=self.cache_path) as directory:
            beside = ResultCache(directory)
            new = beside.get_task_result_path(task_result.task_name, model_name, model_revision).parent
            new.mkdir(parents=True)
            if (place / _SETTINGS).is_file():
                shutil.copy(place / _SETTINGS, new)  # mteb adds to it
            beside.save_to_cache(task_result, model_name, model_revision, encode_kwargs=encode_kwargs)
            for file in sorted(new.iterdir(), key=lambda file: file.stem == task_result.task_name):
                os.replace(file, place / file.name)


@dataclass(frozen=True)
class Failure:
    """A task that did not run to its end, and why."""

    task: str
    reason: str


def open_store(folder: Path) -> Store:
    """Return the store in `folder`, which is made where it is missing.

    Raises:
        InputError: there is a file of that name, or the folder cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is not a directory; give --output the name of one")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: cannot be written to; give --output the name of another directory")
    return Store(folder)


def run_tasks(
    encoder: BundleEncoder, tasks: Iterable[Any], store: Store, batch_size: int, say: Callable[[str], None]
) -> list[Failure]:
    """Run what the store does not yet have, and tell of each task; one that fails does not keep others from running.

    Args:
        encoder: the model.
        tasks: instances of mteb's task classes.
        store: holds earlier results; those of the same model, data revision, split and subset are not run again.
        batch_size: most texts that run together.
        say: takes a line of progress.

    Returns:
        The tasks that failed; what they had done by subsets is kept.
    """
    failures = []
    tasks = list(tasks)
    for number, task in enumerate(tasks, 1):
        name = f"{number}/{len(tasks)} {task.metadata.name} ({task.metadata.type})"
        say(f"{name} ...")
        began, read = time.monotonic(), encoder.read
        try:
            score = _run_task(encoder, task, store, batch_size)
        except Exception as error:
            failures.append(Failure(task.metadata.name, _reason(error)))
            say(f"{name}: failed: {failures[-1].reason}")
            continue
        finally:
            task.unload_data()
        took = f"{time.monotonic() - began:.0f} s" if encoder.read > read else "kept from an earlier run"
        say(f"{name}: {task.metadata.main_score} {100 * score:.2f} ({took})")
    return failures


def read_results(encoder: BundleEncoder, store: Store) -> dict[str, Result]:
    """By task name, all that the store holds of this model.

    Raises:
        InputError: a file there is no result of mteb.
    """
    meta = encoder.mteb_model_meta
    folder = store.get_task_result_path("any", meta).parent
    names = [path.stem for path in sorted(folder.glob("*.json")) if path.name != _META]
    return {name: _as_result(_load(store, name, meta)) for name in names}


def _run_task(encoder: BundleEncoder, task: Any, store: Store, batch_size: int) -> float:
    """The task's main score, 0 to 1."""
    with warnings.catch_warnings():
        # Tasks of the card's age are superseded, and meant; the other is mteb's copying of what its cosine gave it.
        warnings.filterwarnings("ignore", message=".*is superseded by.*")
        warnings.filterwarnings("ignore", message="To copy construct from a tensor.*")
        found = mteb.evaluate(
            encoder,
            task,
            co2_tracker=False,
            # mteb reads both as well: its own bars are only for a terminal
            encode_kwargs={"batch_size": batch_size, "show_progress_bar": sys.stderr.isatty()},
            cache=store,
            overwrite_strategy=_strategy(encoder, task, store),
            show_progress_bar=False,
        )
    if not found.task_results:
        raise InputError("; ".join(error.exception for error in found.exceptions or ()) or "mteb gave no result")
    return float(found.task_results[0].get_score())


def _strategy(encoder: BundleEncoder, task: Any, store: Store) -> str:
    """How mteb is to treat a stored result: left to itself, it would also keep one of another revision of the data."""
    name, meta = task.metadata.name, encoder.mteb_model_meta
    if not store.get_task_result_path(name, meta).is_file():
        return "only-missing"
    return "only-missing" if _load(store, name, meta).dataset_revision == task.metadata.revision else "always"


def _reason(error: Exception) -> str:
    if isinstance(error, JinaBertError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error)}"


def _load(store: Store, name: str, meta: Any) -> TaskResult:
    try:
        return store.load_task_result(name, meta)
    except OSError:
        raise
    except Exception as error:  # of many kinds: mteb also tries the forms of its old releases
        path = store.get_task_result_path(name, meta)
        raise InputError(f"{path}: is no result of mteb ({first_line(error)}); remove it") from error


def _as_result(found: TaskResult) -> Result:
    return Result(
        task=found.task_name,
        revision=found.dataset_revision,
        mteb=found.mteb_version,
        scores={
            split: {scores["hf_subset"]: scores for scores in of_split} for split, of_split in found.scores.items()
        },
    )
