"""A whole run: what is in the record, and what its figures are made of."""

from __future__ import annotations

from itertools import product
from statistics import median

import pytest
from jinabert_onnx import Embedder, InputError
from jinabert_onnx.bench import Record, Wanted, run_bench
from jinabert_onnx.bench.roofline import Rates
from jinabert_onnx.bench.table import lines_of
from jinabert_onnx.bench.texts import TextMaker
from support.paths import TRAINED


def test_every_combination_is_measured_in_every_round(record: Record, wanted: Wanted):
    cells = {
        (c.configuration.precision, c.configuration.threads, c.batch_size, c.length)
        for c in (found.cell for found in record.cells)
    }
    assert cells == set(product(wanted.precisions, wanted.threads, wanted.batch_sizes, wanted.lengths))
    assert len(cells) == len(record.cells)
    for found in record.cells:
        assert len(found.rounds) == wanted.rounds
        assert len({len(times) for times in found.rounds}) == 1


def test_figures_are_of_the_samples(record: Record):
    for found in record.cells:
        times = [seconds for times in found.rounds for seconds in times]
        middle = found.latency(50)
        assert middle is not None
        assert middle.interval is not None
        assert middle.value == pytest.approx(median(times))
        assert min(times) <= middle.interval.low <= middle.value <= middle.interval.high <= max(times)
        assert found.samples == len(times)


def test_a_ceiling_is_measured_for_each_number_of_threads_and_in_each_round(record: Record, wanted: Wanted):
    assert [found.threads for found in record.ceilings] == list(wanted.threads)
    for found in record.ceilings:
        assert len(found.rounds) == (wanted.rounds or 0) + 1
        assert min(min(rates.fp32, rates.int8) for rates in found.rounds) > 0
        assert found.best.fp32 == max(rates.fp32 for rates in found.rounds)


def test_the_share_of_the_ceiling_is_of_the_products_of_real_tokens(record: Record):
    found = next(one for one in record.cells if one.cell.length == 40 and one.cell.batch_size == 3)
    hidden, layers, inner = 256, 4, record.model.sizes.intermediate
    linear = 2 * layers * (4 * hidden**2 + 3 * hidden * inner) * 120
    attention = 2 * layers * 2 * hidden * 3 * 40**2
    share = found.share_of(record.model.sizes, Rates(fp32=1e9, int8=4e9))
    fp32 = (linear + attention) / 1e9
    assert share == pytest.approx(fp32 / found.median.value)


def test_what_computes_attention_and_layers_is_recorded_and_shown(record: Record):
    attention, layers = {}, {}
    for precision in ("fp32", "int8"):
        with Embedder.load(TRAINED, precision=precision, provider="cpu") as model:
            attention[precision], layers[precision] = model.kernels.attention, model.kernels.layers
    assert record.attention == attention
    assert record.layers == layers
    assert f"attention: {attention['fp32']} in fp32, {attention['int8']} in int8" in lines_of(record)
    assert f"layers: {layers['fp32']} in fp32, {layers['int8']} in int8" in lines_of(record)


def test_cold_starts_tell_each_step(record: Record):
    assert [(start.precision, start.threads) for start in record.cold_starts] == [("fp32", 1), ("int8", 1)]
    for start in record.cold_starts:
        steps = ["interpreter", "import", "files", "tokenizer", "session", "self-test", "first run"]
        assert list(start.steps) == steps
        assert min(min(run.values()) for run in start.processes) > 0
        assert start.total.value == pytest.approx(median(sum(run.values()) for run in start.processes))


def test_memory_is_measured_for_each_precision_and_length(record: Record):
    assert [(row.precision, row.length) for row in record.memory] == list(product(("fp32", "int8"), (8, 40)))
    for row in record.memory:
        assert row.loaded is not None
        assert 30e6 < row.loaded <= row.peak < 500e6


def test_nothing_is_left_out_that_was_asked_for(record: Record):
    assert record.skipped == ()


def test_the_table_has_every_figure(record: Record):
    text = "\n".join(lines_of(record))
    for word in ("tiny-de-en", "p50 ms", "95% interval", "p95 ms", "p99 ms", "tokens/s", "of ceiling", "Gop/s"):
        assert word in text
    assert sum(line.startswith(("1 x ", "3 x ")) for line in text.splitlines()) == 8
    assert "cold start" in text
    assert "memory of a process" in text
    assert max(map(len, text.splitlines()[3:])) < 140  # the first lines name the machine


def test_texts_have_the_tokens_that_the_model_counts(record: Record):
    maker = TextMaker(TRAINED)
    assert record.model.longest == 8192
    with Embedder.load(TRAINED, threads=1) as model:
        assert maker.count(["How is the weather today?"]) == [model.count_tokens(["How is the weather today?"])[0]]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(lengths=(8193,)), "8192"),
        (Wanted(lengths=(2,)), "length"),
        (Wanted(batch_sizes=(0,)), "batch_size"),
        (Wanted(threads=(2000,)), "threads"),
        (Wanted(rounds=1), "rounds"),
        (Wanted(seconds=0.5), "seconds"),
        (Wanted(seconds=float("nan")), "seconds"),
        (Wanted(precisions=("fp8",)), "fp8"),
        (Wanted(rounds=1000, seconds=1), "nothing is left to measure; .* too long"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(wanted: Wanted, told: str):
    with pytest.raises((InputError, ValueError), match=told):
        run_bench(str(TRAINED), wanted)
