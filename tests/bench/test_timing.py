"""Turns, rounds and threads of real models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx import CancelledError
from jinabert_onnx.bench.kinds import EMBEDDING
from jinabert_onnx.bench.plan import Cell, Configuration
from jinabert_onnx.bench.processes import Place
from jinabert_onnx.bench.subject import load
from jinabert_onnx.bench.timing import Job, Turns, is_turn, share_out, time_rounds, warm_up
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.model import Model
from support.live_server import wait_for
from support.paths import TRAINED

ONE = Configuration("int8", "cpu", 1)


@dataclass(frozen=True)
class NotedJob(Job):
    """A real job that notes when it ran."""

    log: list[str] = field(default_factory=list)

    def run(self, cancellation: Cancellation) -> float:
        self.log.append(self.cell.shape)
        return super().run(cancellation)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with load(Place(str(TRAINED), None), EMBEDDING, ONE) as model:
        yield model


def jobs(model: Model, log: list[str]) -> list[Job]:
    def job(size: int) -> Job:
        texts = ("one two three",) * size
        return NotedJob(Cell(ONE, size, 8), lambda stop: EMBEDDING.run(model, texts, size, stop), log)

    return [job(size) for size in (1, 2, 3)]


def test_cells_take_turns_and_a_quick_one_warms_up_in_each(model: Model):
    log: list[str] = []
    turns = [Turns(4, 1), Turns(4, 3), Turns(2, 1)]
    advanced: list[int] = []
    found, _ = time_rounds(jobs(model, log), turns, 4, {}, Cancellation(), advanced.append)
    assert sum(advanced) == len(log)
    assert [len(cell.rounds) for cell in found] == [4, 4, 2]
    assert [len(cell.rounds[0]) for cell in found] == [1, 3, 1]
    assert [log.count(f"{size} x 8") for size in (1, 2, 3)] == [turn.total for turn in turns] == [4, 16, 2]
    visits = [name for index, name in enumerate(log) if index == 0 or log[index - 1] != name]
    assert len(visits) > 6  # no cell has all of its turns at once


def test_the_order_of_turns_changes_from_round_to_round(model: Model):
    log: list[str] = []
    time_rounds(jobs(model, log), [Turns(6, 1)] * 3, 6, {}, Cancellation(), lambda calls: None)
    rounds = [tuple(log[start : start + 3]) for start in range(0, 18, 3)]
    assert {frozenset(order) for order in rounds} == {frozenset(log)}
    assert len(set(rounds)) > 1


def test_warming_up_runs_and_tells_the_quickest_pass(model: Model):
    log: list[str] = []
    assert warm_up(jobs(model, log)[0], Cancellation()) > 0
    assert 1 <= len(log) <= 5


def test_a_cancelled_sweep_ends(model: Model):
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(CancelledError):
        time_rounds(jobs(model, []), [Turns(2, 1)] * 3, 2, {}, cancellation, lambda calls: None)


@pytest.mark.usefixtures("model")  # what the first model of a process starts is there before
@pytest.mark.parametrize("threads", [1, 2])
def test_a_configuration_runs_with_its_threads(threads: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JINABERT_ONNX_THREADS", "7")  # what it is asked for goes first
    before = operating_system_threads()
    with load(Place(str(TRAINED), None), EMBEDDING, Configuration("int8", "cpu", threads)) as loaded:
        assert loaded.threads == threads
        # The calling thread is one of them. One that was joined may be listed for a moment more.
        wait_for(lambda: len(operating_system_threads() - before) == threads - 1)
    wait_for(lambda: operating_system_threads() <= before)


def operating_system_threads() -> set[str]:
    return {path.name for path in Path("/proc/self/task").iterdir()}


@settings(deadline=None)
@given(
    st.lists(st.floats(1e-4, 30), min_size=1, max_size=30),
    st.floats(1, 600),
    st.integers(2, 20),
    st.integers(2, 20),
)
def test_shares_keep_to_the_budget_or_the_fewest_rounds(seconds: list[float], budget: float, rounds: int, fewest: int):
    turns = share_out(seconds, budget, rounds, fewest)
    least = sum(one * min(fewest, rounds) for one in seconds)
    spent = sum(one * turn.total for one, turn in zip(seconds, turns, strict=True))
    assert spent <= max(budget, least) * 1.0001
    for turn in turns:
        assert min(fewest, rounds) <= turn.rounds <= rounds
        assert sum(is_turn(turn, number, rounds) for number in range(rounds)) == turn.rounds
