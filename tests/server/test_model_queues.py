"""Which model is next: fair by tokens, whatever the requests are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx.server.fair_queue import FairQueue
from jinabert_onnx.server.model_queues import ModelQueues

BUDGET = 512
REQUESTS = st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(1, BUDGET), min_size=1, max_size=20)))


def new_queues(names: str = "ab") -> ModelQueues[str]:
    return ModelQueues({name: FairQueue(BUDGET) for name in names})


@given(REQUESTS)
def test_every_row_runs_once_with_rows_of_its_model(requests: list[tuple[str, list[int]]]) -> None:
    queues = new_queues()
    for owner, (model, lengths) in enumerate(requests):
        queues.add(model, owner, enumerate(lengths))
    assert len(queues) == sum(len(lengths) for _, lengths in requests)

    ran = []
    while queues:
        batch = queues.take()
        assert len({requests[row.owner][0] for row in batch}) == 1
        ran += [(row.owner, row.index) for row in batch]

    assert sorted(ran) == [(owner, i) for owner, (_, lengths) in enumerate(requests) for i in range(len(lengths))]


@settings(deadline=None)
@given(first=st.integers(64, BUDGET), second=st.integers(64, BUDGET))
def test_models_that_both_have_work_are_given_as_many_tokens(first: int, second: int) -> None:
    queues = new_queues()
    for model, tokens in (("a", first), ("b", second)):
        queues.add(model, model, [(index, tokens) for index in range(300)])
    given_tokens = {"a": 0, "b": 0}
    for _ in range(30):
        for row in queues.take():
            given_tokens[row.owner] += row.tokens

    assert abs(given_tokens["a"] - given_tokens["b"]) <= BUDGET


def test_a_model_that_was_idle_is_next_and_has_saved_nothing_up() -> None:
    queues = new_queues()
    queues.add("a", "flood", [(index, BUDGET) for index in range(100)])
    for _ in range(50):
        queues.take()
    queues.add("b", "late", [(index, BUDGET) for index in range(20)])

    owners = [queues.take()[0].owner for _ in range(20)]

    assert "late" in owners[:2]
    assert 9 <= owners.count("late") <= 11


def test_rows_of_a_request_that_ended_are_gone_and_all_can_be_taken() -> None:
    queues = new_queues()
    queues.add("a", 1, [(0, 5), (1, 6)])
    queues.add("b", 2, [(0, 7)])

    assert [row.index for row in queues.remove(1)] == [0, 1]
    assert [row.owner for row in queues.take_all()] == [2]
    assert not queues
