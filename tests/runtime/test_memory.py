"""Memory is what the model of it says, goes back after a long text, and does not grow with calls.

What processes hold is read from the system.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinabert_onnx.bundle.manifest import FileRecord, Manifest, open_bundle
from jinabert_onnx.engine.memory_model import MemoryModel, in_megabytes, memory_model, parse_memory, require_room
from jinabert_onnx.errors import InputError, InputTypeError, MemoryLimitError
from support.paths import TRAINED, TRAINED_RERANKER

linux_only = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
both_precisions = pytest.mark.parametrize("precision", ["fp32", "int8"])

FILES = {"fp32": "model.onnx", "int8": "model_int8.onnx"}
RESIDENT = """
import sys
from pathlib import Path

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
"""
ONE_BATCH = """
import numpy as np
from jinabert_onnx.engine.session import open_session
from jinabert_onnx.text.tokenizer import Tokenizer

def run(session, rows, tokens):
    ids = np.random.default_rng(0).integers(500, size=(rows, tokens))
    session.run(ids, np.ones_like(ids))

bundle, name, precision, rows, length = sys.argv[1:]
tokenizer = Tokenizer(Path(bundle, "tokenizer.json"))
session = open_session(Path(bundle, "onnx", name), precision, "cpu", 2)
run(session, 1, 16)
before = resident("VmRSS")
run(session, int(rows), int(length))
print(before, resident("VmHWM"), resident("VmRSS"))
"""
SEVERAL_THREADS = """
from concurrent.futures import ThreadPoolExecutor
from jinabert_onnx import DeadlineError, Embedder

model = Embedder.load(sys.argv[1], precision=sys.argv[2], provider="cpu", threads=1)
model.encode("a")
before = resident("VmRSS")

def call(timeout):
    try:
        model.encode(["the house at the river is green " * 300] * 2, timeout=timeout)
    except DeadlineError:
        pass

with ThreadPoolExecutor(4) as pool:
    list(pool.map(call, [float(sys.argv[3])] * 4))
print(before, resident("VmHWM"), resident("VmRSS"))
"""
LIMITED = """
import random
from concurrent.futures import ThreadPoolExecutor
from jinabert_onnx import Embedder

model = Embedder.load(sys.argv[1], precision=sys.argv[2], provider="cpu", threads=1, max_memory=int(sys.argv[3]))

def call(seed):
    order = random.Random(seed)
    for _ in range(12):
        model.encode("train " * order.choice([5, 50, 500, 1000, 2000, 2900]))

with ThreadPoolExecutor(4) as pool:
    list(pool.map(call, range(4)))
print(resident("VmHWM"))
"""
CALLS = 1000
MANY_CALLS = f"""
import numpy as np
from jinabert_onnx import Embedder

model = Embedder.load(sys.argv[1], precision=sys.argv[2], provider="cpu", threads=1)
words = "the house at the river is green and a train runs over the long bridge every day".split()
random = np.random.default_rng(0)
for call in range(1, {CALLS} + 1):
    lengths = [int(2000 ** (random.random() ** 4))]
    if call % 3 == 0:
        lengths = random.integers(1, 40, random.integers(2, 8))
    elif call % 50 == 0:
        lengths = [1990]
    model.encode([" ".join(random.choice(words, length)) for length in lengths], max_length=2000)
    if call in (100, {CALLS}):
        print(resident("VmRSS"))
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RESIDENT + script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def numbers(process: subprocess.Popen[str]) -> list[int]:
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return [int(word) for word in output.split()]


@linux_only
@both_precisions
@pytest.mark.parametrize("timeout", [600, 0.8], ids=["done", "ended"])
def test_memory_goes_back_after_several_threads_at_once(precision: str, timeout: float) -> None:
    before, peak, after = numbers(start(SEVERAL_THREADS, TRAINED, precision, timeout))
    assert peak > 1.3 * before
    assert after < 1.3 * before


@linux_only
@both_precisions
@pytest.mark.parametrize(("rows", "length"), [(1, 16), (1, 512), (1, 8192), (8, 128), (4, 512), (8, 1024)])
def test_the_model_is_within_a_fifth_of_what_a_process_takes(precision: str, rows: int, length: int) -> None:
    before, peak, after = numbers(start(ONE_BATCH, TRAINED, FILES[precision], precision, rows, length))
    modelled = memory_model(open_bundle(TRAINED).manifest, precision).peak([length] * rows)
    assert 0.8 * peak < modelled < 1.2 * peak
    assert length < 8192 or after < 1.3 * before < peak


@linux_only
@both_precisions
def test_the_model_holds_for_a_cross_encoder(precision: str) -> None:
    before, peak, after = numbers(start(ONE_BATCH, TRAINED_RERANKER, FILES[precision], precision, 1, 8192))
    modelled = memory_model(open_bundle(TRAINED_RERANKER).manifest, precision).peak([8192])
    assert 0.8 * peak < modelled < 1.2 * peak
    assert after < 1.3 * before < peak


@linux_only
def test_memory_does_not_grow_over_a_thousand_calls() -> None:
    processes = [start(MANY_CALLS, TRAINED, precision) for precision in FILES]
    for early, late in map(numbers, processes):
        assert late < 1.05 * early


@linux_only
@both_precisions
def test_a_limit_is_held_to_by_mixed_texts_from_several_threads(precision: str) -> None:
    manifest = open_bundle(TRAINED).manifest  # with native kernels or without, whichever are installed
    limit = max(memory_model(manifest, precision, native).peak([3000]) for native in (False, True))
    (peak,) = numbers(start(LIMITED, TRAINED, precision, limit))
    assert peak < 1.1 * limit


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return open_bundle(TRAINED).manifest


@pytest.fixture(scope="module")
def tiny(manifest: Manifest) -> MemoryModel:
    return memory_model(manifest, "fp32")


LENGTHS = st.lists(st.integers(1, 8192), min_size=1, max_size=40)


@given(lengths=LENGTHS)
def test_a_batch_takes_no_less_than_any_of_its_texts(tiny: MemoryModel, lengths: Sequence[int]) -> None:
    assert tiny.peak(lengths) >= max(tiny.peak([length]) for length in lengths)
    assert tiny.peak(lengths) > tiny.resident()


def test_the_inner_width_is_found_from_the_size_of_the_files(manifest: Manifest) -> None:
    for precision in manifest.precisions:
        assert memory_model(manifest, precision).inner_size == pytest.approx(512, rel=0.2)  # its config.json: 512


def test_a_table_in_a_file_of_its_own_counts_as_its_tokens_come_up(manifest: Manifest) -> None:
    weights = manifest.files["onnx/model.onnx"]
    files = {**manifest.files, "onnx/model.onnx": FileRecord(0, ""), "onnx/model.onnx_data": weights}
    mapped = memory_model(
        replace(manifest, files=files, precisions={"fp32": ("onnx/model.onnx", "onnx/model.onnx_data")}), "fp32"
    )
    whole = memory_model(manifest, "fp32")
    assert mapped.mapped == manifest.model.vocab_size * manifest.model.hidden_size * 4
    assert mapped.resident() < mapped.settled().resident() == whole.resident()
    assert mapped.peak([8192]) < mapped.settled().peak([8192])
    assert mapped.peak([8192]) - mapped.peak([2048]) > whole.peak([8192]) - whole.peak([2048])


def test_a_limit_below_the_model_itself_is_refused_with_the_figure(tiny: MemoryModel) -> None:
    needed = tiny.peak([30])
    require_room(tiny, needed)
    with pytest.raises(MemoryLimitError, match=rf"takes {in_megabytes(needed)} before any work.*\(100MB\)"):
        require_room(tiny, 100_000_000)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("800MB", 800_000_000),
        ("1.5GB", 1_500_000_000),
        ("512MiB", 512 << 20),
        (" 2 gib ", 2 << 30),
        ("1tb", 10**12),
        ("64kB", 64_000),
        ("1000000", 1_000_000),
        ("7B", 7),
        (123, 123),
    ],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_memory(text) == size


@given(size=st.integers(1, 10**15))
def test_a_size_in_megabytes_reads_as_at_least_itself(size: int) -> None:
    assert size <= parse_memory(in_megabytes(size)) < size + 1_000_000


@pytest.mark.parametrize("text", ["", "MB", "800 apples", "-1GB", "1,5GB", "1e9", "0", 0, -5, "0.1B", "nan", "9" * 400])
def test_what_is_not_a_size_is_refused(text: str | int) -> None:
    with pytest.raises(InputError, match="is not a size"):
        parse_memory(text)


@pytest.mark.parametrize("value", [1.5, None, True, b"800MB"])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(InputTypeError, match="max_memory is"):
        parse_memory(value)  # type: ignore[arg-type]
