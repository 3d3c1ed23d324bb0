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
from dataclasses import dataclass
from functools import cache
from itertools import cycle
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


@dataclass(frozen=True)
class Setting:
    """How commands run: so many side by side, with this Python, in one precision."""

    precision: str
    python: str
    engine: str
    processes: int
    cores: int

    @property
    def threads(self) -> int:
        """Threads of each command."""
        return self.cores // self.processes


def corpora(bundle: Path, tokens: int, lengths: Sequence[int]) -> list[Corpus]:
    """Return made texts of each length, then real ones."""
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
    taken, total = [], 0
    for text, count in cycle(zip(texts, maker.count(texts), strict=True)):
        if total >= tokens:
            break
        taken.append(text)
        total += count
    return Corpus(name, tuple(taken), total)


def measure(bundle: Path, folder: Path, corpus: Corpus, setting: Setting) -> dict[str, str | float]:
    """Return the rate of one corpus in one setting, the start of the commands taken off."""
    start = start_seconds(bundle, folder, setting)
    spent = run(bundle, folder, [corpus.texts[n :: setting.processes] for n in range(setting.processes)], setting)
    if spent["seconds"] <= start:
        raise SystemExit(f"error: {corpus.tokens} tokens take no longer than the start; give more --tokens")
    hours = (spent["seconds"] - start) * setting.cores / 3600
    return {
        "texts": corpus.name,
        "precision": setting.precision,
        "engine": setting.engine,
        "processes": setting.processes,
        "threads": setting.threads,
        "rows": len(corpus.texts),
        "tokens_a_text": round(corpus.tokens / len(corpus.texts), 1),
        "seconds": round(spent["seconds"], 2),
        "start_seconds": round(start, 2),
        "texts_per_core_hour": round(len(corpus.texts) / hours),
        "tokens_per_core_hour": round(corpus.tokens / hours),
        "cpu_seconds": round(spent["cpu_seconds"], 2),
        "peak_megabytes": round(spent["peak_megabytes"]),
        "output_bytes_a_row": round(_output(folder, 0).stat().st_size / len(corpus.texts[:: setting.processes])),
    }


@cache
def start_seconds(bundle: Path, folder: Path, setting: Setting) -> float:
    """Return what the commands take for a single text each: the quicker of two times."""
    return min(run(bundle, folder, [["One text."]] * setting.processes, setting)["seconds"] for _ in range(2))


def run(bundle: Path, folder: Path, shares: Sequence[Sequence[str]], setting: Setting) -> dict[str, float]:
    """Embed each share by a command of its own, side by side: seconds, seconds of CPU, and the largest one's memory.

    Raises:
        SystemExit: one failed; says what it told.
    """
    commands, log = [], folder / "log"
    for number, texts in enumerate(shares):
        source = folder / f"texts-{number}.parquet"
        pq.write_table(pa.table({"text": list(texts)}), source)
        command = [setting.python, "-m", "jinabert_onnx", "embed", str(bundle), "--input", str(source)]
        command += ["--output", str(_output(folder, number)), "--precision", setting.precision]
        command += ["--shard-rows", str(-(-len(texts) // SHARDS))]
        # Ray chooses threads by the cluster.
        command += ["--engine", "ray"] if setting.engine == "ray" else ["--threads", str(setting.threads)]
        commands.append(command)
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
    return {"seconds": time.perf_counter() - started, "cpu_seconds": cpu_seconds, "peak_megabytes": peak / 1024}


def _output(folder: Path, number: int) -> Path:
    return folder / f"vectors-{number}.parquet"


def told(rate: dict[str, str | float]) -> str:
    """Return a line of the table."""
    how = "ray" if rate["engine"] == "ray" else f"{rate['processes']} x {rate['threads']}"
    cells = [
        f"{rate[name]:,}" for name in ("texts_per_core_hour", "tokens_per_core_hour", "start_seconds", "peak_megabytes")
    ]
    return LINE.format(rate["texts"], rate["tokens_a_text"], rate["precision"], how, *cells, rate["output_bytes_a_row"])


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
    made = corpora(arguments.bundle, arguments.tokens, arguments.lengths)
    runs = [(corpus, sys.executable, "local", n) for corpus in made for n in sorted({1, cores})]
    if arguments.ray:
        real = made[-1]
        runs.append((Corpus(real.name, real.texts * RAY_TIMES, real.tokens * RAY_TIMES), arguments.ray, "ray", 1))
    print(LINE.format(*COLUMNS), file=sys.stderr)
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        for corpus, python, engine, processes in runs:
            for precision in arguments.precision:
                setting = Setting(precision, python, engine, processes, cores)
                rates.append(measure(arguments.bundle, Path(folder), corpus, setting))
                print(told(rates[-1]), file=sys.stderr)
    print(result_line("corpus_rate", {"cores": cores, "tokens": arguments.tokens, "rates": rates}))


if __name__ == "__main__":
    main()
