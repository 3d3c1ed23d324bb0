"""A bundle that was exported beforehand (`make test-bench` does it), and one real run of the bench over it."""

from __future__ import annotations

import pytest
from jinabert_onnx.bench import Record, Wanted, run_bench
from support.paths import TRAINED


@pytest.fixture(scope="session")
def wanted() -> Wanted:
    return Wanted(
        precisions=("fp32", "int8"),
        threads=(1,),
        batch_sizes=(1, 3),
        lengths=(8, 40),
        quick=True,
        seconds=2,
        rounds=5,
    )


@pytest.fixture(scope="session")
def record(wanted: Wanted) -> Record:
    return run_bench(str(TRAINED), wanted)
