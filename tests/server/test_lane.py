"""Which waiting rows run together, and in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from jinabert_onnx.server.fair_queue import Lane, Row

BUDGET = 512
LENGTHS = st.lists(st.integers(1, BUDGET), min_size=1, max_size=60)


def drain(lane: Lane) -> list[list[Row]]:
    batches = []
    while lane:
        batches.append(lane.take())
    return batches


@given(st.lists(LENGTHS, min_size=1, max_size=8))
def test_every_row_runs_once_in_batches_within_the_budget(requests: list[list[int]]) -> None:
    lane = Lane(BUDGET)
    for owner, lengths in enumerate(requests):
        lane.add(owner, enumerate(lengths))

    batches = drain(lane)

    rows = sorted((row.owner, row.index, row.tokens) for batch in batches for row in batch)
    assert rows == [(o, i, tokens) for o, lengths in enumerate(requests) for i, tokens in enumerate(lengths)]
    for batch in batches:
        assert len(batch) == 1 or max(row.tokens for row in batch) * len(batch) <= BUDGET


@given(LENGTHS, st.integers(0, 20))
def test_the_row_whose_turn_it_is_runs_at_once(lengths: list[int], before: int) -> None:
    lane = Lane(BUDGET)
    lane.add("many", enumerate(lengths * 10))
    for _ in range(min(before, len(lengths))):
        lane.take()
        if not lane:
            return
    turn = min(lane._rows)

    assert turn in lane.take()


def test_a_small_request_does_not_wait_for_a_large_one_that_came_before() -> None:
    lane = Lane(BUDGET)
    lane.add("large", [(index, 300) for index in range(1000)])
    lane.take()
    lane.add("small", [(0, 300)])

    owners = [lane.take()[0].owner for _ in range(3)]

    assert "small" in owners


def test_a_large_request_does_not_wait_for_ever_for_small_ones() -> None:
    lane = Lane(BUDGET)
    lane.add("large", [(index, 300) for index in range(100)])
    served = 0
    for number in range(50):
        lane.add(number, [(0, 300)])
        served += sum(row.owner == "large" for row in lane.take() + lane.take())

    assert served >= 40


def test_rows_of_like_length_run_together() -> None:
    lane = Lane(BUDGET)
    lane.add("mixed", [(index, tokens) for index, tokens in enumerate([16, 250, 17, 240, 15, 16] * 4)])

    first = [row.tokens for row in lane.take()]

    assert max(first) <= 17
    assert len(first) == 16


def test_a_longer_row_than_the_budget_runs_alone() -> None:
    lane = Lane(0)
    lane.add("long", [(0, 8192), (1, 600)])

    assert [len(batch) for batch in drain(lane)] == [1, 1]


@given(st.lists(LENGTHS, min_size=2, max_size=6))
def test_rows_of_a_request_that_ended_do_not_run(requests: list[list[int]]) -> None:
    lane = Lane(BUDGET)
    for owner, lengths in enumerate(requests):
        lane.add(owner, enumerate(lengths))

    gone = lane.remove(0)

    assert sorted(row.index for row in gone) == list(range(len(requests[0])))
    assert all(row.owner != 0 for batch in drain(lane) for row in batch)


def test_what_does_not_fit_together_does_not_run_together() -> None:
    lane = Lane(BUDGET, fits=lambda lengths: len(lengths) <= 2)
    lane.add("some", [(index, 8) for index in range(6)])

    assert [len(batch) for batch in drain(lane)] == [2, 2, 2]
