"""Texts and tokens a core-hour of `jinabert-onnx embed`, from a Parquet file to a Parquet file.

    python benchmarks/experiments/corpus_rate.py BUNDLE [--tokens 40000] [--ray PYTHON] > corpus_rate.json

Texts of 32, 128 and 512 tokens, made of the bundle's vocabulary with a seed, and real ones: the held-out sentences and
pairs of the tests, in both languages. Each corpus has `--tokens` tokens and is embedded by real commands: one process
with a thread a core, then by a process of one thread a core, each with its share. What the same commands take for a
single text is their start, and is taken off. `--ray` names a Python with the extra `ray`, whose commands embed four
times the real texts through Ray on this machine, because Ray takes long to start. Memory is the peak of the largest
process; with Ray that is the command, not its workers. The table goes to stderr, JSON to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bench.texts import TextMaker
from jinabert_onnx.engine.cpu import available_threads

HELD_OUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "tiny-de-en" / "heldout.json"
LENGTHS = (32, 128, 512)
PRECISIONS = ("fp32", "int8")
DISTINCT = 256  # texts that are made; longer corpora repeat them
LINE = "{:>6} {:>8} {:>9} {:>6} {:>16} {:>17} {:>8} {:>8} {:>9}"
COLUMNS = (
    *("texts", "tokens", "precision", "runs", "texts/core-hour", "tokens/core-hour", "start, s", "peak, MB"),
    "bytes/row",
)
RAY_TIMES = 4  # as many tokens through Ray, beside whose start they must be many
SHARDS = 8  # at least; so that workers of Ray have something to share


@dataclass(frozen=True)
class Corpus:
    """Texts under a name, and their tokens."""

    name: str
    texts: tuple[str, ...]
    tokens: int

    def times(self, count: int) -> Corpus:
        """The same, so many times over."""
        return Corpus(self.name, self.texts * count, self.tokens * count)


@dataclass(frozen=True)
class Spent:
    """What commands that ran side by side took, from the start of the first to the end of the last."""

    seconds: float
    cpu_seconds: float
    peak_megabytes: float  # of the largest


@dataclass(frozen=True)
class Rate:
    """A corpus in one precision, by one arrangement of processes."""

    texts: str
    precision: str
    engine: str
    processes: int
    threads: int
    rows: int
    tokens_a_text: float
    seconds: float
    start_seconds: float
    texts_per_core_hour: float
    tokens_per_core_hour: float
    cpu_seconds: float
    peak_megabytes: float
    output_bytes_a_row: float


def corpora(bundle: Path, tokens: int, lengths: Sequence[int]) -> list[Corpus]:
    """Made texts of each length, then real ones."""
    maker, generator = TextMaker(bundle), np.random.default_rng(0)
    found = []
    for length in lengths:
        count = max(SHARDS, tokens // length)
        made = [maker.make(length, generator) for _ in range(min(count, DISTINCT))]
        found.append(_corpus(str(length), maker, made, count * length))
    content = json.loads(HELD_OUT.read_text("utf-8"))
    real = [text for pair in content["pairs"] for text in (pair["en"], pair["de"])]
    real += [sentence["text"] for sentence in content["sentences"]]
    order = np.random.default_rng(1).permutation(len(real))
    return [*found, _corpus("real", maker, [real[index] for index in order], tokens)]


def _corpus(name: str, maker: TextMaker, texts: Sequence[str], tokens: int) -> Corpus:
    """`texts`, again and again, until there are as many tokens."""
    counts = maker.count(texts)
    taken: list[str] = []
    total = 0
    while total < tokens:
        total += counts[len(taken) % len(texts)]
        taken.append(texts[len(taken) % len(texts)])
    return Corpus(name, tuple(taken), total)


def spend(commands: Sequence[list[str]], log: Path) -> Spent:
    """Run commands side by side; what they tell goes to `log`.

    Raises:
        SystemExit: one failed; says what it told.
    """
    started = time.perf_counter()
    to_log = [(os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)]
    running = {os.posix_spawn(command[0], command, os.environ, file_actions=to_log) for command in commands}
    cpu_seconds, peak = 0.0, 0
    while running:
        process, status, usage = os.wait4(-1, 0)
        if process in running and status:
            raise SystemExit(f"error: {' '.join(commands[0])} failed:\n{log.read_text('utf-8', 'replace')}")
        running.discard(process)
        cpu_seconds += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
    return Spent(time.perf_counter() - started, cpu_seconds, peak / 1024)


class Bench:
    """Runs commands on one bundle in one folder, and remembers how long each arrangement takes to start."""

    def __init__(self, bundle: Path, folder: Path, cores: int) -> None:
        self._bundle, self._folder, self._cores = bundle, folder, cores
        self._starts: dict[tuple[str, str, int], float] = {}

    def measure(self, corpus: Corpus, precision: str, python: str, engine: str, processes: int) -> Rate:
        """The rate at which `processes` commands, together with a thread a core, embed `corpus`."""
        threads = self._cores if engine == "ray" else self._cores // processes
        if (precision, engine, processes) not in self._starts:
            one = [corpus.texts[:1]] * processes
            starts = [self._run(one, precision, python, engine, threads).seconds for _ in range(2)]
            self._starts[precision, engine, processes] = min(starts)
        start = self._starts[precision, engine, processes]
        spent = self._run([corpus.texts[n::processes] for n in range(processes)], precision, python, engine, threads)
        if spent.seconds <= start:
            raise SystemExit(f"error: {corpus.tokens} tokens take no longer than the start; give more --tokens")
        hours = (spent.seconds - start) * self._cores / 3600
        return Rate(
            texts=corpus.name,
            precision=precision,
            engine=engine,
            processes=processes,
            threads=threads,
            rows=len(corpus.texts),
            tokens_a_text=round(corpus.tokens / len(corpus.texts), 1),
            seconds=round(spent.seconds, 2),
            start_seconds=round(start, 2),
            texts_per_core_hour=round(len(corpus.texts) / hours),
            tokens_per_core_hour=round(corpus.tokens / hours),
            cpu_seconds=round(spent.cpu_seconds, 2),
            peak_megabytes=round(spent.peak_megabytes),
            output_bytes_a_row=round(self._output(0).stat().st_size / len(corpus.texts[::processes])),
        )

    def _run(self, shares: Sequence[Sequence[str]], precision: str, python: str, engine: str, threads: int) -> Spent:
        commands = []
        for number, texts in enumerate(shares):
            source = self._folder / f"texts-{number}.parquet"
            pq.write_table(pa.table({"text": list(texts)}), source)
            rows = -(-len(texts) // SHARDS)
            command = [python, "-m", "jinabert_onnx", "embed", str(self._bundle), "--input", str(source)]
            command += ["--output", str(self._output(number)), "--precision", precision, "--shard-rows", str(rows)]
            # Ray chooses threads by the cluster.
            command += ["--engine", "ray"] if engine == "ray" else ["--threads", str(threads)]
            commands.append(command)
        return spend(commands, self._folder / "log")

    def _output(self, number: int) -> Path:
        return self._folder / f"vectors-{number}.parquet"


def told(rate: Rate) -> str:
    """A line of the table."""
    how = "ray" if rate.engine == "ray" else f"{rate.processes} x {rate.threads}"
    cells = (rate.texts_per_core_hour, rate.tokens_per_core_hour, rate.start_seconds, rate.peak_megabytes)
    return LINE.format(
        rate.texts, rate.tokens_a_text, rate.precision, how, *(f"{cell:,}" for cell in cells), rate.output_bytes_a_row
    )


def main() -> None:
    """Measure, print the table to stderr and JSON to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tokens", type=int, default=40_000, help="of each corpus (default: %(default)s)")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="(default: both)")
    parser.add_argument(
        "--lengths", nargs="+", type=int, default=LENGTHS, help="tokens of a text (default: %(default)s)"
    )
    parser.add_argument("--ray", metavar="PYTHON", help="also through Ray, with this Python")
    arguments = parser.parse_args()
    cores = available_threads().threads
    print(LINE.format(*COLUMNS), file=sys.stderr)
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(arguments.bundle, Path(folder), cores)
        made = corpora(arguments.bundle, arguments.tokens, arguments.lengths)
        runs = [(corpus, sys.executable, "local", n) for corpus in made for n in sorted({1, cores})]
        if arguments.ray:
            runs.append((made[-1].times(RAY_TIMES), arguments.ray, "ray", 1))
        for corpus, python, engine, processes in runs:
            for precision in arguments.precision:
                rates.append(bench.measure(corpus, precision, python, engine, processes))
                print(told(rates[-1]), file=sys.stderr)
    results = {"cores": cores, "tokens": arguments.tokens, "rates": [asdict(rate) for rate in rates]}
    print(result_line("corpus_rate", results))


if __name__ == "__main__":
    main()
