"""Which waiting rows run together, and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from jinabert_onnx.server.fair_queue import FairQueue, Row

BUDGET = 512
LENGTHS = st.lists(st.integers(1, BUDGET), min_size=1, max_size=60)


def drain(queue: FairQueue) -> list[list[Row]]:
    batches = []
    while queue:
        batches.append(queue.take())
    return batches


@given(st.lists(LENGTHS, min_size=1, max_size=8))
def test_every_row_runs_once_in_batches_within_the_budget(requests: list[list[int]]) -> None:
    queue = FairQueue(BUDGET)
    for owner, lengths in enumerate(requests):
        queue.add(owner, enumerate(lengths))

    batches = drain(queue)

    rows = sorted((row.owner, row.index, row.tokens) for batch in batches for row in batch)
    assert rows == [(o, i, tokens) for o, lengths in enumerate(requests) for i, tokens in enumerate(lengths)]
    for batch in batches:
        assert len(batch) == 1 or max(row.tokens for row in batch) * len(batch) <= BUDGET


@given(LENGTHS, st.integers(0, 20))
def test_the_row_whose_turn_it_is_runs_at_once(lengths: list[int], before: int) -> None:
    queue = FairQueue(BUDGET)
    queue.add("many", enumerate(lengths * 10))
    for _ in range(min(before, len(lengths))):
        queue.take()
        if not queue:
            return
    turn = min(queue._rows)

    assert turn in queue.take()


def test_a_small_request_does_not_wait_for_a_large_one_that_came_before() -> None:
    queue = FairQueue(BUDGET)
    queue.add("large", [(index, 300) for index in range(1000)])
    queue.take()
    queue.add("small", [(0, 300)])

    owners = [queue.take()[0].owner for _ in range(3)]

    assert "small" in owners


def test_a_large_request_does_not_wait_for_ever_for_small_ones() -> None:
    queue = FairQueue(BUDGET)
    queue.add("large", [(index, 300) for index in range(100)])
    served = 0
    for number in range(50):
        queue.add(number, [(0, 300)])
        served += sum(row.owner == "large" for row in queue.take() + queue.take())

    assert served >= 40


def test_rows_of_like_length_run_together() -> None:
    queue = FairQueue(BUDGET)
    queue.add("mixed", [(index, tokens) for index, tokens in enumerate([16, 250, 17, 240, 15, 16] * 4)])

    first = [row.tokens for row in queue.take()]

    assert max(first) <= 17
    assert len(first) == 16


def test_a_longer_row_than_the_budget_runs_alone() -> None:
    queue = FairQueue(0)
    queue.add("long", [(0, 8192), (1, 600)])

    assert [len(batch) for batch in drain(queue)] == [1, 1]


@given(st.lists(LENGTHS, min_size=2, max_size=6))
def test_rows_of_a_request_that_ended_do_not_run(requests: list[list[int]]) -> None:
    queue = FairQueue(BUDGET)
    for owner, lengths in enumerate(requests):
        queue.add(owner, enumerate(lengths))

    gone = queue.remove(0)

    assert sorted(row.index for row in gone) == list(range(len(requests[0])))
    assert all(row.owner != 0 for batch in drain(queue) for row in batch)


def test_what_does_not_fit_together_does_not_run_together() -> None:
    queue = FairQueue(BUDGET, fits=lambda lengths: len(lengths) <= 2)
    queue.add("some", [(index, 8) for index in range(6)])

    assert [len(batch) for batch in drain(queue)] == [2, 2, 2]
