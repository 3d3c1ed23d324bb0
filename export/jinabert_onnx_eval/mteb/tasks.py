"""Which tasks to run: mteb's by name, type, language or comparability with the card, and a user's own.

Knows nothing of models or of results.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import mteb
from jinabert_onnx.errors import InputError, first_line
from mteb.abstasks import AbsTask

from .card import CardRow
from .compare import Pin, why_not_comparable

_MODULE = "jinabert_onnx_own_tasks"


@dataclass(frozen=True)
class Choice:
    """What a user wants to run; an empty choice is of no task at all.

    Attributes:
        names: tasks by name; without names, the filters choose among the card's tasks and the user's own.
        types: types of task to keep, such as "STS"; none keeps all.
        languages: subsets to keep by language, three letters each; none keeps all.
        comparable: keep only what the card can be compared with.
    """

    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    comparable: bool = False

    @property
    def filters(self) -> bool:
        """Return whether anything but names is chosen by."""
        return bool(self.types or self.languages or self.comparable)


def pins_of(rows: Iterable[CardRow]) -> dict[str, Pin]:
    """By task name, what the installed mteb would run of the card's tasks; those it does not have are left out."""
    found = {}
    for name in dict.fromkeys(row.task for row in rows):
        task = _task_of_mteb(name)
        if task is not None:
            found[name] = _pin_of(task)
    return found


def choose_tasks(
    rows: Sequence[CardRow], pins: Mapping[str, Pin], choice: Choice, own: Mapping[str, type[Any]]
) -> list[Any]:
    """Instances of mteb's task classes, in the order of names or of the card; own ones last.

    Of a task that is on the card, those splits and subsets that the card has; of others, all.

    Raises:
        InputError: a name is unknown, an own class cannot be made, a task is not one of text, or nothing is left of a
            choice.
    """
    names = choice.names or ((*_card_names(rows, pins), *own) if choice.filters else tuple(own))
    tasks = [_narrowed(_make(name, own), rows, choice) for name in dict.fromkeys(names)]
    found = [task for task in tasks if task is not None]
    if names and not found:
        raise InputError("no task is left of this choice; types are those of the card, languages such as deu and eng")
    return found


def read_own_tasks(path: Path) -> dict[str, type[Any]]:
    """Return the task classes that the Python file at `path` defines, by name; the file is run.

    Raises:
        InputError: it cannot be run, defines no task, or one that has the name of a task of mteb.
    """
    module = _run_file(path)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, AbsTask) and value.__module__ == _MODULE
    ]
    found = {cls.metadata.name: cls for cls in classes if hasattr(cls, "metadata")}
    if not found:
        raise InputError(f"{path}: defines no task; a task is a class of mteb.abstasks with `metadata`")
    for name in found:
        if _task_of_mteb(name) is not None:
            raise InputError(f"{path}: {name} is the name of a task of mteb; its scores would be taken for that one's")
    return found


def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f"{path}: is no Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module  # where pickling and dataclasses look
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{path}: {type(error).__name__}: {first_line(error)}") from error
    return module


def _card_names(rows: Iterable[CardRow], pins: Mapping[str, Pin]) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(row.task for row in rows) if name in pins)


def _make(name: str, own: Mapping[str, type[Any]]) -> Any:
    task = _make_own(name, own[name]) if name in own else _make_of_mteb(name)
    if set(task.modalities) != {"text"}:
        raise InputError(f"{name} is a task of {' and '.join(task.modalities)}; this model reads text only")
    return task


def _make_own(name: str, task: type[Any]) -> Any:
    try:
        return task()
    except Exception as error:  # whatever the user's class raises
        raise InputError(f"{name}: cannot be made: {type(error).__name__}: {first_line(error)}") from error


def _make_of_mteb(name: str) -> Any:
    try:
        return mteb.get_task(name)
    except KeyError as error:
        hint = str(error.args[0]).removeprefix("KeyError: ")  # mteb says so itself, and what is spelt like it
        raise InputError(f"no task of that name in mteb: {hint}") from error


def _narrowed(task: Any, rows: Iterable[CardRow], choice: Choice) -> Any | None:
    """The task with the splits and subsets of the choice, or None where none is left."""
    pin = _pin_of(task)
    of_card = [row for row in rows if row.task == task.metadata.name]
    if choice.comparable:
        of_card = [row for row in of_card if not why_not_comparable(row, pin)]
        if not of_card:
            return None
    if choice.types and task.metadata.type not in choice.types:
        return None
    splits = _kept(pin.splits, {row.split for row in of_card})
    subsets = _kept(pin.subsets, {row.subset for row in of_card})
    if choice.languages:
        spoken = task.metadata.hf_subsets_to_langscripts
        subsets = [name for name in subsets if any(code[:3] in choice.languages for code in spoken[name])]
    if not subsets:
        return None
    task.filter_eval_splits(splits)
    return task.filter_languages(None, hf_subsets=subsets)


def _kept(held: Sequence[str], wanted: set[str]) -> list[str]:
    """Those of `held` that are wanted; all of them where none is."""
    return [name for name in held if name in wanted] or list(held)


def _pin_of(task: Any) -> Pin:
    return Pin(task.metadata.revision, tuple(task.eval_splits), tuple(task.hf_subsets))


def _task_of_mteb(name: str) -> Any | None:
    try:
        return mteb.get_task(name)
    except KeyError:
        return None
