"""Whoever dies, sleeps or hoards loses its own figures, and nobody else's."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import CHECKPOINT, stray
from jinabert_onnx.bench.texts import TextMaker
from peers.agreement import MismatchError, compare, vectors_file
from peers.client import Limits
from peers.turns import Turns
from peers.workload import Shape, input_file, write_inputs

EASY = Limits(20, 10_000)
SHORT = Shape("1x12", (12,), turns=2, runs=2)
LONG = Shape("1x40", (40,), turns=1)
ALONE = Shape("1x60", (60,), turns=1, alone=True)
SHAPES = (SHORT, LONG, ALONE)


def run(work: Path, *peers, limits: Limits = EASY, skip: frozenset[str] = frozenset()) -> Turns:
    write_inputs(work, SHAPES, TextMaker(CHECKPOINT))
    turns = Turns(work, limits, skip)
    turns.run({peer.name: peer for peer in peers}, SHAPES)
    return turns


def ran(turns: Turns) -> dict[str, list[str]]:
    return {shape: list(row) for shape, row in turns.timings.items()}


def test_every_peer_runs_every_shape_as_often_as_asked(work: Path):
    turns = run(work, stray("one"), stray("two"))
    assert ran(turns) == {shape.name: ["one", "two"] for shape in SHAPES}
    assert len(turns.timings["1x12"]["one"].milliseconds) == 4
    assert turns.timings["1x12"]["one"].peak_megabytes > 1
    assert turns.failures == []
    assert not any(turns.missing.values())


def test_a_peer_that_dies_is_a_failure_and_starts_again_for_the_next_shape(work: Path):
    turns = run(work, stray("dies", "die", "40"), stray("lives"))
    assert ran(turns) == {"1x12": ["dies", "lives"], "1x40": ["lives"], "1x60": ["dies", "lives"]}
    assert turns.missing["1x40"] == {"dies": "died"}
    (failure,) = turns.failures
    assert failure.startswith("1x40: dies ended with code 3; see ")


def test_a_peer_that_cannot_be_loaded_is_one_failure(work: Path):
    turns = run(work, stray("unwilling", "unwilling"), stray("lives"))
    assert ran(turns) == {shape.name: ["lives"] for shape in SHAPES}
    assert [row["unwilling"] for row in turns.missing.values()] == ["died", "does not start", "does not start"]
    assert len(turns.failures) == 1


def test_a_peer_that_takes_too_long_is_ended_and_recorded(work: Path):
    turns = run(work, stray("slow", "sleep", "40"), stray("lives"), limits=Limits(1, 10_000))
    assert turns.missing["1x40"] == {"slow": "more than 1 s"}
    assert ran(turns) == {"1x12": ["slow", "lives"], "1x40": ["lives"], "1x60": ["slow", "lives"]}
    assert turns.failures == []


def test_a_peer_that_holds_too_much_is_ended_and_recorded(work: Path):
    turns = run(work, stray("hoards", "hold", "60"), stray("lives"), limits=Limits(20, 300))
    assert re.fullmatch(r"more than 0\.[34]\d? GB", turns.missing["1x60"]["hoards"])
    assert ran(turns)["1x60"] == ["lives"]
    assert turns.failures == []


def test_what_is_left_out_says_so(work: Path):
    turns = run(work, stray("one"), stray("two"), skip=frozenset({"one:1x40", "two"}))
    assert ran(turns) == {"1x12": ["one"], "1x60": ["one"]}
    assert turns.missing["1x40"] == {"one": "left out", "two": "left out"}


def test_differing_vectors_do_not_agree(work: Path):
    named = {"torch": stray("torch"), "wrong": stray("wrong", "err", "40")}
    run(work, *named.values())
    judged = {shape.name: compare(work, shape.name, named, named) for shape in SHAPES}
    assert {shape: row["wrong"]["agrees"] for shape, row in judged.items()} == {
        "1x12": True,
        "1x40": False,
        "1x60": True,
    }
    assert judged["1x40"]["wrong"]["difference"] == pytest.approx(0.01, rel=0.1)
    assert all(row["torch"]["agrees"] for row in judged.values())


@pytest.mark.parametrize(("third", "agrees"), [(1.2, True), (-3.0, False), (float("nan"), False)])
def test_coarse_vectors_must_point_the_same_way(work: Path, third: float, agrees: bool):
    named = {"torch": stray("torch"), "coarse": replace(stray("coarse"), exact=False)}
    (work / "vectors").mkdir(parents=True)
    for name, row in (("torch", [1.0, 1.0, 1.0]), ("coarse", [1.0, 1.1, third])):
        np.save(vectors_file(work, name, "1x12"), np.array([row], np.float32))
    assert compare(work, "1x12", named, named)["coarse"]["agrees"] is agrees


def test_vectors_of_another_size_are_refused(work: Path):
    named = {"torch": stray("torch"), "other": stray("other")}
    (work / "vectors").mkdir(parents=True)
    for name, hidden in (("torch", 4), ("other", 6)):
        np.save(vectors_file(work, name, "1x12"), np.ones((1, hidden), np.float32))
    with pytest.raises(MismatchError, match="other gave vectors of another shape than torch"):
        compare(work, "1x12", named, named)


def test_texts_have_the_lengths_of_their_ids(work: Path):
    mixed = Shape("mixed-3", (9, 30, 14), turns=1)
    maker = TextMaker(CHECKPOINT)
    write_inputs(work, [mixed], maker)
    (batch,) = json.loads(input_file(work, mixed, "texts", whole=True).read_text("utf-8"))
    assert maker.count(batch["texts"]) == [9, 30, 14]
    with np.load(input_file(work, mixed, "ids")) as stored:
        assert sorted(stored["mask0"].sum(axis=1).tolist()) == [9, 14, 30]
        longest = stored["ids0"][stored["mask0"].sum(axis=1).argmax()]
    assert longest.tolist() == maker.ids(batch["texts"])[1].tolist()
