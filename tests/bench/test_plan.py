"""What is measured, and what is left out of it with which reason."""

from __future__ import annotations

from jinabert_onnx.bench.kinds import EMBEDDING
from jinabert_onnx.bench.plan import Cell, Configuration, Cost, Wanted, cells_of, choose

ONE = Configuration("int8", "cpu", 2)


def cells(wanted: Wanted) -> list[Cell]:
    return cells_of(wanted, [ONE], EMBEDDING.quick_lengths if wanted.quick else EMBEDDING.lengths)


def left_out(wanted: Wanted, cost: Cost, memory: int | None = None, longest: int = 8192) -> dict[str, str]:
    _, skipped = choose(cells(wanted), wanted, longest, lambda cell: cost, memory)
    return {item.what.partition(": ")[2]: item.why for item in skipped}


def test_a_plain_sweep_reads_16_to_8192_tokens():
    assert {cell.length for cell in cells(Wanted())} >= {16, 8192}


def test_a_batch_of_too_many_tokens_is_left_out_unless_asked_for():
    cheap = Cost(0.01, 10**8)
    assert "32 x 8192" in left_out(Wanted(), cheap)
    assert "1 x 8192" not in left_out(Wanted(), cheap)
    assert left_out(Wanted(batch_sizes=(32,), lengths=(8192,)), cheap) == {}


def test_what_does_not_fit_is_left_out_with_the_figures():
    skipped = left_out(Wanted(lengths=(16,), batch_sizes=(1,)), Cost(0.01, 4 * 10**9), memory=10**9)
    assert skipped == {}  # it was asked for
    skipped = left_out(Wanted(), Cost(0.01, 4 * 10**9), memory=10**9)
    assert skipped["1 x 16"] == "takes about 4.0 GB, and 1.0 GB are free"


def test_what_takes_too_long_is_left_out():
    assert "too long for 18 s" in left_out(Wanted(quick=True), Cost(3, 1))["1 x 16"]


def test_lengths_beyond_the_model_are_left_out():
    assert "512 tokens" in left_out(Wanted(), Cost(0.01, 1), longest=512)["1 x 2048"]


def test_the_slowest_go_where_all_together_take_too_long():
    wanted = Wanted(quick=True)
    all_cells = cells(wanted)
    seconds = {cell: 0.05 * (number + 1) for number, cell in enumerate(all_cells)}
    kept, skipped = choose(all_cells, wanted, 8192, lambda cell: Cost(seconds[cell] * 4, 1), None)
    assert skipped
    assert sum(4 * seconds[cell] for cell in kept) * wanted.fewest_rounds <= wanted.budget
    assert max(seconds[cell] for cell in kept) < 0.4
